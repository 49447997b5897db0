"""Where cases are: folders with a manifest, and modules with a blueprint. Nothing is imported or parsed here.

A name that stands in several places means the first: `cases_root`, `./cases`, `./samples`, the shipped cases, then the
blueprint modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import structlog

from sightline.core.errors import CaseNotFound
from sightline.settings import LoadedSettings

log = structlog.get_logger()
SHIPPED = Path(__file__).parent.parent / "cases"
BLUEPRINT = "blueprint.py"


@dataclass(frozen=True, kw_only=True)
class CasePlace:
    """A case as it is seen without opening it.

    Attributes:
        folder: its folder; None for a module.
        manifest: its manifest; None where there is only a blueprint.
        module: import path of its blueprint module; empty for a folder.
        origin: where it was found, in words.
        hidden_by: the place that has the same name and comes first.
    """

    name: str
    origin: str
    folder: Path | None = None
    manifest: Path | None = None
    module: str = ""
    hidden_by: str = ""

    @property
    def shown(self) -> str:
        """Where to look for it."""
        return str(self.folder) if self.folder is not None else self.module

    def state(self) -> object:
        """Return what is another one when a file of the case has changed."""
        if self.folder is None:
            return None
        try:
            return sorted((path.name, path.stat().st_mtime_ns) for path in self.folder.iterdir() if path.is_file())
        except OSError:
            return object()


def list_cases(loaded: LoadedSettings) -> list[CasePlace]:
    """Return every case that is seen, also those that another one of the same name hides."""
    first: dict[str, CasePlace] = {}
    places: list[CasePlace] = []
    for place in _places(loaded):
        if (other := first.setdefault(place.name, place)) is not place:
            place = CasePlace(**{**vars(place), "hidden_by": other.shown})  # noqa: PLW2901 - the same place, marked
        places.append(place)
    return places


def find_case(loaded: LoadedSettings, name: str) -> CasePlace:
    """Return the case called `name`, or in the folder `name`.

    Raises:
        CaseNotFound: there is none; the message lists those that are.
    """
    places = {place.name: place for place in list_cases(loaded) if not place.hidden_by}
    if name in places:
        return places[name]
    manifest_name = loaded.settings.manifest_name
    if (folder := _folder(name, manifest_name)) is not None:
        if place := _place(folder, manifest_name, "path"):
            return place
        raise CaseNotFound(
            f"The folder {name} holds no case.", cure=f"A case is a folder with {manifest_name} or {BLUEPRINT}."
        )
    near = get_close_matches(name, places, n=1)
    raise CaseNotFound(
        f"No case is called {name!r}. Known: {', '.join(sorted(places)) or 'none'}.",
        cure=f"Did you mean {near[0]!r}?" if near else f"A case is a folder with {manifest_name}; see sightline list.",
    )


def _folder(name: str, manifest_name: str) -> Path | None:
    """Return the folder that `name` is, or whose manifest it is; None when it is no path."""
    try:
        path = Path(name).expanduser()
        if path.name == manifest_name and path.is_file():
            return path.parent
        return path if path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a zero byte
        return None


def _places(loaded: LoadedSettings) -> Iterator[CasePlace]:
    settings = loaded.settings
    here = Path() if loaded.folder == Path.cwd() else loaded.folder  # short in messages, where it can be
    roots = [
        (settings.cases_root, "cases_root"),
        (here / "cases", "./cases"),
        (here / "samples", "./samples"),
        (SHIPPED, "shipped"),
    ]
    seen: set[Path] = set()
    for root, origin in roots:
        if root is None or not root.is_dir() or root.resolve() in seen:
            continue
        seen.add(root.resolve())
        for folder in _below(root):
            if place := _place(folder, settings.manifest_name, origin):
                yield place
    for module in settings.blueprint_modules:
        yield CasePlace(name=module.rpartition(".")[2], origin="blueprint_modules", module=module)


def _below(root: Path) -> list[Path]:
    """Return what is in a folder, by name; nothing when it may not be read, which must not hide the other roots."""
    try:
        return sorted(root.iterdir())
    except OSError as error:
        log.warning("cases cannot be listed", folder=str(root), reason=error.strerror)
        return []


def _place(folder: Path, manifest_name: str, origin: str) -> CasePlace | None:
    """Return the case in `folder`, or None when there is none."""
    manifest = folder / manifest_name
    name = folder.resolve().name if folder.name in ("", "..") else folder.name
    try:
        if manifest.is_file():
            return CasePlace(name=name, origin=origin, folder=folder, manifest=manifest)
        if (folder / BLUEPRINT).is_file():
            return CasePlace(name=name, origin=origin, folder=folder)
    except PermissionError:
        return CasePlace(name=name, origin=origin, folder=folder, manifest=manifest)  # opening it tells the reason
    return None
