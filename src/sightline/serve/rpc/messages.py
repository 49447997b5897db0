"""The messages of the gRPC doors.

They live in a pool of their own: protobuf allows a name once in a pool, and a program that also has the classes of
another client of the same protocol (tritonclient, for one) has put those names into the default pool. They are made
at import from `protos/protos.binpb`, which `tools/generate_protos.py` writes.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INFERENCE = "inference.GRPCInferenceService"
MODELS = "sightline.v1.ModelService"
HEALTH = "grpc.health.v1.Health"


def _pool() -> descriptor_pool.DescriptorPool:
    found = descriptor_pb2.FileDescriptorSet.FromString((files(__package__) / "protos/protos.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in found.file:  # in the order of their imports
        pool.Add(file)
    return pool


POOL = _pool()


def message(name: str) -> Any:
    """Return the class of a message by its full name, for instance `inference.ModelInferRequest`."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def methods(service: str) -> dict[str, Any]:
    """Return the descriptor of each method of a service by its name."""
    return dict(POOL.FindServiceByName(service).methods_by_name)
