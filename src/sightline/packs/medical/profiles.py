"""Profiles: how carefully a volume is looked at, as data.

A profile is a YAML file. Three ship with Sightline; the folder of a case and one of the user's may hold more. Of two
that have one name the nearer one counts: that of the case, then the user's, then the shipped one. What is left out has
the value that the field says. An unknown key, a missing value and a value of a wrong type are errors with file and
line. `docs/reference/profiles.md` lists all fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from sightline.core.errors import ConfigError, InvalidInput
from sightline.core.plugins import Context, Plugin
from sightline.core.prediction import JsonObject
from sightline.core.profiles import ProfileFile, Profiles

SHIPPED = Path(__file__).parent / "profiles"
OUTPUTS = ("mask", "json", "xlsx", "seg", "sr", "previews", "uncertainty", "probability", "volume")
_AXES = ("x", "y", "z")
_CONNECTIVITIES = (6, 18, 26)
_WORDS = {"blend": ("gaussian", "constant"), "geometry": ("refuse", "repair", "accept")}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How a volume is looked at, and what comes out.

    Attributes:
        title: one line that tells what it is for.
        members: references of the models that look at the volume; several are an ensemble. Empty: the case's model.
        spacing_mm: millimetres between voxels, right, front and up, at which a model with `inference: sliding` looks at
            the volume; None: as the model's card says, else as it was taken.
        tile: voxels of the window of such a model, one number for each axis; None: as the card says.
        overlap: share of a window that the next one sees again, 0 to 0.9.
        blend: how windows are joined: `gaussian` (the middle counts more) or `constant`.
        flips: axes (letters of x, y, z: left-right, back-front, down-up) along which the volume is mirrored and looked
            at once more; `xy` mirrors along both. The answers are averaged.
        threshold: probability from which a voxel counts, 0 to 1.
        minimum_volume_mm3: smaller components are no findings, and leave the mask.
        connectivity: which voxels touch: 6 (faces), 18 (and edges) or 26 (and corners).
        geometry: what is done with a series whose geometry has problems: `refuse`, `repair` or `accept`.
        outputs: what is written: words among mask, json, xlsx, seg, sr, previews, uncertainty.
        memory_mb: most memory of the process that reads the files.
        deadline_s: seconds that the work on a job may take, waiting not counted; None: as long as it takes.
    """

    name: str
    title: str = ""
    members: tuple[str, ...] = ()
    spacing_mm: tuple[float, float, float] | None = None
    tile: tuple[int, int, int] | None = None
    overlap: float = 0.25
    blend: str = "gaussian"
    flips: tuple[str, ...] = ()
    threshold: float = 0.55
    minimum_volume_mm3: float = 0.0
    connectivity: int = 26
    geometry: str = "refuse"
    outputs: tuple[str, ...] = ("mask", "json", "xlsx")
    memory_mb: int = 2048
    deadline_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all fields, as the result of a job tells them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(kw_only=True)
class Profiled(Plugin):
    """A plug-in that does its work as a profile says.

    Attributes:
        profile: name of the profile: how carefully a volume is looked at, and what comes out.
        profiles: a folder of profiles that go before those of the case and of the user; empty: none.
    """

    profile: str = "fast_debug"
    profiles: str = ""

    def open(self, context: Context) -> None:
        """Read the profile.

        Raises:
            InvalidInput: there is no such profile.
            ConfigError: its file is wrong.
        """
        super().open(context)
        named = [Path(self.profiles)] if self.profiles else []
        self._profile = load_profile(self.profile, [*named, *context.folders.get("profiles", ())])
        if self._profile.deadline_s is not None:
            context.within(self._profile.deadline_s)


class MedicalProfiles(Profiles):
    """The profiles of volumes."""

    def listed(self, folders: Sequence[Path]) -> list[ProfileFile]:
        """Return the profiles in folders and the shipped ones; see `Profiles`."""
        taken: dict[str, Path] = {}
        found = []
        for path in _files(folders):
            hidden_by = taken.get(path.stem)
            taken.setdefault(path.stem, path)
            try:
                title, error = read_profile(path).title, None
            except ConfigError as wrong:
                title, error = "", wrong
            found.append(ProfileFile(name=path.stem, title=title, path=path, hidden_by=hidden_by, error=error))
        return found


def load_profile(name: str, folders: Sequence[Path] = ()) -> Profile:
    """Return the profile `name` of the first of `folders` that has it, else the shipped one.

    Raises:
        InvalidInput: there is no such profile; the message lists those that there are.
        ConfigError: the file has an unknown key or a wrong value.
    """
    known = profile_files(folders)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise InvalidInput(
            f"No profile is called {name!r}. Known: {', '.join(sorted(known))}.",
            cure=f"Did you mean {near[0]!r}?" if near else "Add yours: docs/reference/profiles.md",
        )
    return read_profile(known[name])


def profile_files(folders: Sequence[Path] = ()) -> dict[str, Path]:
    """Return the files of all profiles by their names; those of the first folder win, the shipped ones come last."""
    found: dict[str, Path] = {}
    for path in _files(folders):
        found.setdefault(path.stem, path)
    return found


def read_profile(path: Path) -> Profile:
    """Return the profile of a file; its name is the file's.

    Raises:
        ConfigError: it is no YAML, or has an unknown or repeated key, or a wrong value; with file and line.
    """
    values, lines = _entries(path)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{path}:{lines[key]}"
        if key not in _CHECKS:
            near = get_close_matches(key, _CHECKS, n=1)
            raise ConfigError(
                f"A profile has no field {key!r}. Known: {', '.join(_CHECKS)}.",
                cure=f"Did you mean {near[0]!r}?" if near else "Remove it.",
                location=where,
            )
        wanted, check = _CHECKS[key]
        try:
            checked[key] = check(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{key} is {value!r}; it must be {wanted}.", location=where) from None
    return Profile(name=path.stem, **checked)


def resolved(profile: Profile, **changes: Any) -> JsonObject:
    """Return the fields of a profile with what a request changed; `None` changes nothing."""
    return profile.to_json() | {key: value for key, value in changes.items() if value is not None}


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of profiles, those of the first folder first; a folder that is not there holds none."""
    for folder in (*folders, SHIPPED):
        if folder.is_dir():
            yield from sorted(path for path in folder.glob("*.yaml") if path.is_file())


def _entries(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the values of a YAML mapping, and the line of each key."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
        root = loader.get_single_node()
        if root is None:
            return {}, {}
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError("A profile holds `name: value` lines.", location=f"{path}:{root.start_mark.line + 1}")
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, node in root.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in values:
                raise ConfigError(f"{key} is given twice.", cure="Remove one of them.", location=f"{path}:{line}")
            values[key], lines[key] = loader.construct_object(node, deep=True), line
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The profile {path} cannot be read: {error}.", cure="Save it as UTF-8 text.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        fault = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            f"Not valid YAML: {fault}.", cure="Check this line and the one above.", location=place
        ) from None
    return values, lines


def _number(low: float, high: float) -> Any:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(value)
        return float(value)

    return check


def _integer(low: int, high: int) -> Any:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(value)
        return value

    return check


def _three(one: Any) -> Any:
    """Check one value for all axes, or three."""

    def check(value: Any) -> Any:
        values = value if isinstance(value, list) else [value] * 3
        if len(values) != 3:
            raise ValueError(value)
        return tuple(one(each) for each in values)

    return check


def _optional(check: Any) -> Any:
    return lambda value: None if value is None else check(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(set(value)) != len(value):
        raise TypeError(value)
    return tuple(_text(each) for each in value)


def _among(known: Sequence[Any]) -> Any:
    def check(value: Any) -> Any:
        if isinstance(value, bool) or value not in known:
            raise ValueError(value)
        return value

    return check


def _outputs(value: Any) -> tuple[str, ...]:
    words = _words(value)
    if not set(words) <= set(OUTPUTS):
        raise ValueError(value)
    return words


def _flips(value: Any) -> tuple[str, ...]:
    words = _words(value)
    for word in words:
        if not word or len(set(word)) != len(word) or not set(word) <= set(_AXES):
            raise ValueError(value)
    return words


_CHECKS: dict[str, tuple[str, Any]] = {
    "title": ("a text", _text),
    "members": ("a list of model references", _words),
    "spacing_mm": ("a number of 0.05 to 20, or three", _optional(_three(_number(0.05, 20)))),
    "tile": ("a whole number of 8 to 512, or three", _optional(_three(_integer(8, 512)))),
    "overlap": ("a number of 0 to 0.9", _number(0, 0.9)),
    "blend": ("gaussian or constant", _among(_WORDS["blend"])),
    "flips": ("a list of axes such as [x, y, xy]", _flips),
    "threshold": ("a number of 0 to 1", _number(0, 1)),
    "minimum_volume_mm3": ("a number of at least 0", _number(0, 1e9)),
    "connectivity": ("6, 18 or 26", _among(_CONNECTIVITIES)),
    "geometry": ("refuse, repair or accept", _among(_WORDS["geometry"])),
    "outputs": (f"a list of words among {', '.join(OUTPUTS)}", _outputs),
    "memory_mb": ("a whole number of 64 to 1048576", _integer(64, 1 << 20)),
    "deadline_s": ("a number above 0, or null", _optional(_number(1e-3, 1e7))),
}

if set(_CHECKS) != {each.name for each in fields(Profile)} - {"name"}:  # pragma: no cover
    raise AssertionError("every field of a profile is checked")
