"""The Python of a case folder: `blueprint.py` and `plugins.py`, loaded as `sightline_cases.<name>`."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isabstract
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sightline.build.catalog import KINDS, broken
from sightline.build.folders import BLUEPRINT, CasePlace
from sightline.core.case import Case
from sightline.core.errors import BrokenPlugin
from sightline.core.prediction import JsonObject
from sightline.engine.pipeline import checked_stages

if TYPE_CHECKING:
    from sightline.build.context import CaseBuildContext

PLUGINS = "plugins.py"
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def local_plugins(place: CasePlace) -> dict[str, type[Any]]:
    """Return the plug-ins of a case's own `plugins.py` by the name that its manifest uses.

    A class `MeanPixel` is called `mean-pixel`; its own name works as well.

    Raises:
        BrokenPlugin: the file raised.
    """
    path = None if place.folder is None else place.folder / PLUGINS
    if path is None or not path.is_file():
        return {}
    module = _loaded(path, place.name)
    found: dict[str, type[Any]] = {}
    for name, value in vars(module).items():
        kinds = tuple(KINDS.values())
        is_plugin = isinstance(value, type) and issubclass(value, kinds) and value.__module__ == module.__name__
        if is_plugin and not isabstract(value):
            found[name] = found[_WORD.sub("-", name).lower()] = value
    return found


def make_from_blueprint(place: CasePlace, context: CaseBuildContext, manifest: JsonObject | None = None) -> Case:
    """Return what `make_blueprint(context)` of a case's blueprint gives; its name is that of the place.

    `context.manifest` holds the case's manifest, if it has one.

    Raises:
        BrokenPlugin: the blueprint cannot be imported, raises, or gives no Case.
    """
    where = place.module if place.folder is None else str(place.folder / BLUEPRINT)
    what = f"The blueprint of case {place.name!r}"
    before, context.manifest = context.manifest, manifest or {}
    try:
        if place.folder is None:
            module = import_module(place.module)
        else:
            module = _loaded(place.folder / BLUEPRINT, place.name)
        make = getattr(module, "make_blueprint", None)
        if not callable(make):
            raise BrokenPlugin(
                f"{what} has no function make_blueprint.",
                cure="Write: def make_blueprint(context: CaseBuildContext) -> Case",
                location=where,
            )
        case = make(context)
    except (Exception, SystemExit) as error:
        raise broken(what, error, where) from error
    finally:
        context.manifest = before
    if not isinstance(case, Case):
        raise BrokenPlugin(
            f"{what} gave a {type(case).__name__}.",
            cure="make_blueprint must return a Case.",
            location=where,
        )
    return replace(case, name=place.name, stages=checked_stages(case.stages), folder=place.folder)


def _loaded(path: Path, case: str) -> ModuleType:
    """Load a file of a case folder as `sightline_cases.<case>.<stem>`; always anew, so that edits count."""
    package = f"sightline_cases.{case}"
    sys.modules.setdefault("sightline_cases", _package("sightline_cases", []))
    if getattr(sys.modules.get(package), "__path__", None) != [str(path.parent)]:
        # A case of this name in another folder may have been here: nothing of it may be mistaken for this one.
        # The list is made at once: other threads import meanwhile.
        for name in [name for name in list(sys.modules) if name.startswith(f"{package}.")]:
            del sys.modules[name]
        sys.modules[package] = _package(package, [str(path.parent)])
    spec = spec_from_file_location(f"{package}.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BrokenPlugin(f"{path} cannot be loaded as Python.")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(spec.name, None)
        raise broken(f"{path.name} of case {case!r}", error, str(path)) from error
    return module


def _package(name: str, folders: list[str]) -> ModuleType:
    """Return an empty package, so that the files of a case can import one another."""
    package = ModuleType(name)
    package.__path__ = folders
    return package
