"""Where profiles lie: the folder `profiles` of a case, then that of the user, then what ships with a pack."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sightline.build.catalog import Catalog
from sightline.build.folders import CasePlace
from sightline.core.errors import SightlineError
from sightline.core.profiles import ProfileFile
from sightline.settings import AppSettings

KIND = "profiles"


def profile_folders(settings: AppSettings, case_folder: Path | None = None) -> tuple[Path, ...]:
    """Return the folders in which a profile is looked for, the first one first."""
    own = () if case_folder is None else (case_folder.absolute() / KIND,)
    return (*own, (settings.medical.profiles_root or settings.data_root / KIND).absolute())


def list_profiles(settings: AppSettings, catalog: Catalog, case_folder: Path | None = None) -> list[ProfileFile]:
    """Return the profiles that the jobs of a case may ask for, also those that others hide; without a case, of all.

    A pack that cannot be loaded has none; `sightline list --check` says why.
    """
    folders = profile_folders(settings, case_folder)
    found: list[ProfileFile] = []
    for name in catalog.names(KIND):
        try:
            found += catalog.load(KIND, name)().listed(folders)
        except SightlineError:
            continue
    return sorted(found, key=lambda each: (each.name, each.hidden_by is not None))


def all_profiles(settings: AppSettings, catalog: Catalog, places: Iterable[CasePlace]) -> list[tuple[ProfileFile, str]]:
    """Return every profile with its origin, in words: those of all cases, and those in the folders of cases."""
    found = [(each, origin_of(each, settings)) for each in list_profiles(settings, catalog)]
    for place in places:
        if place.folder is not None and not place.hidden_by and (place.folder / KIND).is_dir():
            own = list_profiles(settings, catalog, place.folder)
            found += [(each, f"case {place.name}") for each in own if origin_of(each, settings, place.folder) == "case"]
    return found


def origin_of(profile: ProfileFile, settings: AppSettings, case_folder: Path | None = None) -> str:
    """Return where a profile was found: `case`, `profiles_root` or `shipped`."""
    words = ("profiles_root",) if case_folder is None else ("case", "profiles_root")
    origins = dict(zip(profile_folders(settings, case_folder), words, strict=True))
    return origins.get(profile.path.parent, "shipped")
