"""Sightline: describe once what to do with pictures, streams and readings; run it anywhere.

Everything public is loaded on first use, so that `import sightline` costs milliseconds.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline.build import CaseBuildContext, load_case, load_model, run
    from sightline.build.opened_source import open_source
    from sightline.client import AsyncClient, Client
    from sightline.core.case import Case, PredictionStage
    from sightline.core.plugins import Collector, Context, Predictor, Sink, Source, Trainer
    from sightline.core.prediction import (
        Boxes,
        Finding,
        Findings,
        Generated,
        Labels,
        Mask,
        Prediction,
        Rejected,
        Scalar,
    )
    from sightline.core.sample import Clocks, Frame, Reading, Sample, Text, Volume, Window
    from sightline.settings import AppSettings

# ONNX Runtime looks here when somebody first imports it; else it keeps an id of the user and reports to its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ.get("ORT_DISABLE_TELEMETRY") or "1"

_HOMES = {
    "sightline.build": ("CaseBuildContext", "load_case", "load_model", "run"),
    "sightline.build.opened_source": ("open_source",),
    "sightline.client": ("AsyncClient", "Client"),
    "sightline.core.case": ("Case", "PredictionStage"),
    "sightline.core.plugins": ("Collector", "Context", "Predictor", "Sink", "Source", "Trainer"),
    "sightline.core.prediction": (
        "Boxes",
        "Finding",
        "Findings",
        "Generated",
        "Labels",
        "Mask",
        "Prediction",
        "Rejected",
        "Scalar",
    ),
    "sightline.core.sample": ("Clocks", "Frame", "Reading", "Sample", "Text", "Volume", "Window"),
    "sightline.settings": ("AppSettings",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AppSettings",
    "AsyncClient",
    "Boxes",
    "Case",
    "CaseBuildContext",
    "Client",
    "Clocks",
    "Collector",
    "Context",
    "Finding",
    "Findings",
    "Frame",
    "Generated",
    "Labels",
    "Mask",
    "Prediction",
    "PredictionStage",
    "Predictor",
    "Reading",
    "Rejected",
    "Sample",
    "Scalar",
    "Sink",
    "Source",
    "Text",
    "Trainer",
    "Volume",
    "Window",
    "load_case",
    "load_model",
    "open_source",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sightline")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'sightline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
