"""Where cases are: folders with a manifest, and modules with a blueprint. Nothing is imported or parsed here.

A name that stands in several places means the first: `cases_root`, `./cases`, `./samples`, the shipped cases, then the
blueprint modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sightline.core.errors import CaseNotFound
from sightline.settings import LoadedSettings

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
    folder = Path(name).expanduser()
    if folder.is_dir() and (place := _place(folder, loaded.settings.manifest_name, "path")):
        return place
    if folder.is_file() and folder.name == loaded.settings.manifest_name:
        return CasePlace(name=folder.resolve().parent.name, origin="path", folder=folder.parent, manifest=folder)
    near = get_close_matches(name, places, n=1)
    raise CaseNotFound(
        f"No case is called {name!r}. Known: {', '.join(sorted(places)) or 'none'}.",
        cure=f"Did you mean {near[0]!r}?" if near else "A case is a folder with case.yaml; see sightline list.",
    )


def _places(loaded: LoadedSettings) -> Iterator[CasePlace]:
    settings = loaded.settings
    roots = [
        (settings.cases_root, "cases_root"),
        (Path("cases"), "./cases"),
        (Path("samples"), "./samples"),
        (SHIPPED, "shipped"),
    ]
    seen: set[Path] = set()
    for root, origin in roots:
        if root is None or not root.is_dir() or root.resolve() in seen:
            continue
        seen.add(root.resolve())
        for folder in sorted(root.iterdir()):
            if place := _place(folder, settings.manifest_name, origin):
                yield place
    for module in settings.blueprint_modules:
        yield CasePlace(name=module.rpartition(".")[2], origin="blueprint_modules", module=module)


def _place(folder: Path, manifest_name: str, origin: str) -> CasePlace | None:
    """Return the case in `folder`, or None when there is none."""
    manifest = folder / manifest_name
    if not manifest.is_file():
        if not (folder / BLUEPRINT).is_file():
            return None
        return CasePlace(name=folder.resolve().name, origin=origin, folder=folder)
    return CasePlace(name=folder.resolve().name, origin=origin, folder=folder, manifest=manifest)
