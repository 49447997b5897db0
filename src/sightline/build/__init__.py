"""The composition root: settings, plug-ins and case folders become ports, cases and runs.

The only place that names adapters. `load_case`, `run` and `load_model` are what scripts use.
"""

from sightline.build.context import CaseBuildContext
from sightline.build.loaded_model import LoadedModel, load_model
from sightline.build.manifest import load_case
from sightline.build.running import run, stream_run

__all__ = ["CaseBuildContext", "LoadedModel", "load_case", "load_model", "run", "stream_run"]
