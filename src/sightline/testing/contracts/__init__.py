"""The contracts of the ports as tests: inherit one, provide its fixture, and run pytest."""

from sightline.testing.contracts.artifact_store import ArtifactStoreContract
from sightline.testing.contracts.event_bus import EventBusContract
from sightline.testing.contracts.metadata_store import MetadataStoreContract
from sightline.testing.contracts.meter import MeterContract
from sightline.testing.contracts.runtime import RuntimeContract

__all__ = [
    "ArtifactStoreContract",
    "EventBusContract",
    "MetadataStoreContract",
    "MeterContract",
    "RuntimeContract",
]
