"""The SDK for a running Sightline: `Client`, and `AsyncClient`. Imports core and httpx2 only."""

from __future__ import annotations

from sightline.client.clients import AsyncClient, Client
from sightline.client.inference import InferenceRequest, InferenceResult

__all__ = ["AsyncClient", "Client", "InferenceRequest", "InferenceResult"]
