"""The operational numbers that Sightline counts, by their names; what a plug-in counts besides has its own names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NUMBERS: Mapping[str, str] = MappingProxyType(
    {
        "requests": "Requests that were answered; status 499: the caller left; method RPC: gRPC.",
        "request_seconds": "How long requests took.",
        "request_span_seconds": "Parts of the time of requests: queue, decode, inference, encode.",
        "websockets": "WebSockets that are open.",
        "request_log_rows": "Rows of the request log, written or lost.",
        "audit_lines": "Lines for the audit chain, bound or lost.",
        "deliveries": "Messages to the backend and to receivers in the settings, by outcome.",
        "jobs": "Jobs that ended, by state and kind of error.",
        "job_seconds": "How long jobs took from when they were taken up first to their end.",
        "jobs_waiting": "Jobs that wait for a worker.",
        "jobs_held": "Jobs that this worker works on.",
        "request_samples_lost": "Samples of requests that a sink did not get.",
        "models_open": "Models that are open.",
        "model_loads": "Openings of a model.",
        "model_memory_bytes": "Estimate of the memory that a model takes.",
        "model_queue_rows": "Rows that wait for a model.",
        "model_batch_rows": "Rows of each call of a model.",
        "model_seconds": "Time of each call of a model.",
        "predict_seconds": "Time of each predictor, with its waiting.",
        "frames": "Samples that were read.",
        "frames_processed": "Samples that were finished.",
        "frames_late": "Samples that were too late for their window.",
        "frames_dropped": "Samples that were left out, by reason.",
        "frames_rejected": "Samples that the stage validation refused, by reason.",
        "frames_failed": "Samples that were lost to an error, by predictor.",
        "frame_seconds": "Time of each sample from its queue to the sinks.",
        "source_live": "1 while a source is live, else 0.",
        "source_fps": "Samples that a source gives in a second.",
        "source_oddities": "What was odd in what a camera sent, by kind.",
        "captures": "Samples that were kept for retraining, by outcome.",
        "event_media": "Pictures and clips of events, by kind and outcome.",
        "webhook_events": "Events for receivers of webhooks, by outcome.",
        "mqtt_predictions": "Predictions for an MQTT broker, by outcome.",
    }
)
"""Name -> what it counts."""


def meaning(name: str) -> str:
    """Return what a number counts; of one that is not ours its name in words."""
    return NUMBERS.get(name) or f"{name.replace('_', ' ').capitalize()}."
