"""Which plug-ins there are: entry points, seen without importing them, and loaded one by one when they are used."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from sightline.core.errors import BrokenPlugin, ConfigError, MissingExtra, SightlineError, UnknownPlugin
from sightline.core.plugins import Collector, Predictor, Sink, Source, Trainer
from sightline.core.ports import ArtifactStore, EventBus, MetadataStore, Meter, Runtime

KINDS: Mapping[str, type] = {
    "sources": Source,
    "collectors": Collector,
    "predictors": Predictor,
    "sinks": Sink,
    "trainers": Trainer,
}
"""Kind of plug-in -> its base class; the entry-point group is `sightline.<kind>`."""

PORT_KINDS: Mapping[str, type] = {
    "artifact_stores": ArtifactStore,
    "metadata_stores": MetadataStore,
    "event_buses": EventBus,
    "runtimes": Runtime,
    "meters": Meter,
}
"""Kind of port -> its base class."""


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
            if point.extras:
                package, extra = _package(point), point.extras[0]
                raise MissingExtra(
                    f"{point.name!r} needs {error.name}, which is not installed.",
                    cure=f"pip install '{package}[{extra}]'",
                    location=location,
                ) from error
            raise broken(f"{kind} plug-in {point.name!r}", error, location) from error
        except Exception as error:
            raise broken(f"{kind} plug-in {point.name!r}", error, location) from error
        base = {**KINDS, **PORT_KINDS}.get(kind, object)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise BrokenPlugin(
                f"{point.value} is no {base.__name__}.", cure=f"It must be a class that inherits {base.__name__}."
            )
        return found


def broken(what: str, error: BaseException, location: str = "") -> SightlineError:
    """Return a BrokenPlugin that says where `error` was raised; an error of ours stays as it is."""
    if isinstance(error, SightlineError):
        return error
    where = location
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_plugin_code(frame.filename)]
        if frames:
            where = f"{frames[-1].filename}:{frames[-1].lineno}"
    text = str(error).splitlines()
    return BrokenPlugin(
        f"{what} cannot be loaded: {type(error).__name__}: {text[0] if text else ''}",
        cure="Mend the file, or take it away; sightline list --check shows all such places.",
        location=where,
    )


def _is_plugin_code(filename: str) -> bool:
    """True for lines that a plug-in's author can mend: not the import machinery, not this package's loader."""
    return (
        not filename.startswith("<") and "importlib" not in filename and Path(filename).parent != Path(__file__).parent
    )


def _listed(kind: str, point: EntryPoint) -> Listed:
    extra = point.extras[0] if point.extras else ""
    target = point.value.partition("[")[0].strip()
    return Listed(kind=kind, name=point.name, target=target, package=_package(point), extra=extra)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "this project"
