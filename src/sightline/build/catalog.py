"""Which plug-ins there are: entry points, seen without importing them, and loaded one by one when they are used."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from sysconfig import get_paths
from typing import Any

from sightline.core.errors import BrokenPlugin, ConfigError, MissingExtra, SightlineError, UnknownPlugin
from sightline.core.plugins import Collector, Predictor, Sink, Source, Trainer
from sightline.core.ports import ArtifactStore, EventBus, Meter, Runtime
from sightline.core.profiles import Profiles
from sightline.core.stores import MetadataStore

KINDS: Mapping[str, type] = {
    "sources": Source,
    "collectors": Collector,
    "predictors": Predictor,
    "sinks": Sink,
    "trainers": Trainer,
}
"""Kind of plug-in -> its base class; the entry-point group is `sightline.<kind>`."""

FILE_KINDS: Mapping[str, type] = {"profiles": Profiles}
"""Kind of files that packs know -> the base class of what finds them."""

PORT_KINDS: Mapping[str, type] = {
    "artifact_stores": ArtifactStore,
    "metadata_stores": MetadataStore,
    "event_buses": EventBus,
    "runtimes": Runtime,
    "meters": Meter,
}
"""Kind of port -> its base class."""


_STANDARD = "the standard library"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A plug-in as it is seen without importing it.

    Attributes:
        target: `package.module:Class`.
        package: distribution that brings it.
        extra: extra of that distribution that it needs; empty for none.
    """

    kind: str
    name: str
    target: str
    package: str
    extra: str = ""


class Catalog:
    """Finds plug-ins by kind and name.

    Args:
        found: the entry points of a group; the installed ones by default.
    """

    def __init__(self, found: Callable[[str], Iterable[EntryPoint]] | None = None) -> None:
        self._found = found or (lambda group: entry_points(group=group))
        self._groups: dict[str, dict[str, list[EntryPoint]]] = {}

    def listed(self, kind: str | None = None) -> list[Listed]:
        """Return what is installed, of one kind or of all five; nothing is imported."""
        kinds = KINDS if kind is None else (kind,)
        return [_listed(each, point) for each in kinds for points in self._group(each).values() for point in points]

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind."""
        return sorted(self._group(kind))

    def load(self, kind: str, name: str, *, location: str = "") -> type[Any]:
        """Import the plug-in called `name` and return its class; `package.module:Class` is taken as it is.

        Raises:
            UnknownPlugin: nothing has that name.
            MissingExtra: its optional dependency is not installed.
            BrokenPlugin: it cannot be imported, or is no plug-in of that kind.
            ConfigError: two packages bring a plug-in of that name.
        """
        if ":" in name:
            point = EntryPoint(name=name, value=name, group=f"sightline.{kind}")
            if EntryPoint.pattern.fullmatch(name) is None:
                raise ConfigError(f"{name!r} is no import path.", cure="Write package.module:Class.", location=location)
            return self._imported(kind, point, location)
        points = self._group(kind).get(name)
        if points is None:
            known = self.names(kind)
            near = get_close_matches(name, known, n=1)
            raise UnknownPlugin(
                f"No {kind} plug-in is called {name!r}. Known: {', '.join(known) or 'none'}.",
                cure=f"Did you mean {near[0]!r}?"
                if near
                else "See sightline list, or install the package that has it.",
                location=location,
            )
        if len(points) > 1:
            packages = " and ".join(sorted(_package(point) for point in points))
            raise ConfigError(
                f"Two {kind} plug-ins are called {name!r}: in {packages}.",
                cure=f"Uninstall one, or name the class: use: {points[0].value}",
                location=location,
            )
        return self._imported(kind, points[0], location)

    def _group(self, kind: str) -> dict[str, list[EntryPoint]]:
        if kind not in self._groups:
            group: dict[str, list[EntryPoint]] = {}
            for point in sorted(self._found(f"sightline.{kind}"), key=lambda point: (point.name, point.value)):
                others = group.setdefault(point.name, [])
                # An editable install beside a wheel shows the same entry point twice.
                if all(point.value != other.value for other in others):
                    others.append(point)
            self._groups[kind] = group
        return self._groups[kind]

    def _imported(self, kind: str, point: EntryPoint, location: str) -> type[Any]:
        found: Any
        try:
            found = import_module(point.module)
            for part in point.attr.split("."):
                found = getattr(found, part)
        except ModuleNotFoundError as error:
            # A module that is missing from the plug-in's own package is a fault; any other one is the extra's.
            if point.extras and (error.name or "").partition(".")[0] != point.module.partition(".")[0]:
                package, extra = _package(point), point.extras[0]
                raise MissingExtra(
                    f"{point.name!r} needs {error.name}, which is not installed.",
                    cure=f"pip install '{package}[{extra}]'",
                    location=location,
                ) from error
            raise broken(f"The {kind} plug-in {point.name!r}", error, location) from error
        except (Exception, SystemExit) as error:
            raise broken(f"The {kind} plug-in {point.name!r}", error, location) from error
        base = {**KINDS, **FILE_KINDS, **PORT_KINDS}.get(kind, object)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise BrokenPlugin(
                f"{point.value} is no {base.__name__}.",
                cure=f"It must be a class that inherits {base.__name__}.",
                location=location,
            )
        return found


def broken(what: str, error: BaseException, location: str = "") -> SightlineError:
    """Return a BrokenPlugin that says where `error` was raised; an error of ours stays as it is.

    Args:
        what: subject of the sentence.
        error: what was raised.
        location: said where no line of a plug-in is in the traceback.
    """
    place = _raised_at(error) or location
    if isinstance(error, SightlineError):
        error.location = error.location or place
        return error
    text = str(error).splitlines()
    said = f"{type(error).__name__}: {text[0]}" if text and text[0] else type(error).__name__
    return BrokenPlugin(
        f"{what} cannot be loaded: {said}",
        cure="Mend the file, or take it away; sightline list --check shows all such places.",
        location=place,
    )


def _raised_at(error: BaseException) -> str:
    """Return `file:line` of the innermost line that the plug-in's author can mend; empty where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and Path(frame.filename).parent != Path(__file__).parent
    ]
    # Code that is in no library is the author's; else the package that was entered first, if that is no tool of ours.
    packages = [_library(frame.filename) for frame in frames]
    for wanted in ("", next((package for package in packages if package != _STANDARD), "")):
        found = [frame for frame, package in zip(frames, packages, strict=True) if package == wanted]
        if found and not wanted.startswith("pydantic"):
            return f"{found[-1].filename}:{found[-1].lineno}"
    return ""


def _library(filename: str) -> str:
    """Return the installed package that a file belongs to; empty for a file outside all of them."""
    path, paths = Path(filename).resolve(), get_paths()
    for root in {Path(paths["purelib"]).resolve(), Path(paths["platlib"]).resolve()}:
        if path.is_relative_to(root):
            return path.relative_to(root).parts[0]
    return _STANDARD if path.is_relative_to(Path(paths["stdlib"]).resolve()) else ""


def _listed(kind: str, point: EntryPoint) -> Listed:
    extra = point.extras[0] if point.extras else ""
    target = point.value.partition("[")[0].strip()
    return Listed(kind=kind, name=point.name, target=target, package=_package(point), extra=extra)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "this project"
