"""What a setting may be called: its path, its name in the environment, and the names of older systems.

Knows names only, no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from sightline.settings.forms import ADDRESS, Section
from sightline.settings.model import AppSettings

PREFIX = "SIGHTLINE_"
CONFIG_NAME = "SIGHTLINE_CONFIG"
"""Names the settings file; no setting itself."""

OTHER_NAMES = frozenset(
    {CONFIG_NAME, "SIGHTLINE_URL", "SIGHTLINE_API_KEY", "SIGHTLINE_REQUIRE_SERVICES", "SIGHTLINE_TEST_POSTGRES"}
)
"""Environment names of this prefix that are no settings: the file, those of the client, and that of the tests."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One leaf of the tree.

    Attributes:
        path: `camera.url`; what people write.
        keys: attribute names from the root, which differ from the path where a field has an alias.
        section: title of its part of the tree; empty at the top.
    """

    path: str
    keys: tuple[str, ...]
    section: str
    field: FieldInfo

    @property
    def env_name(self) -> str:
        """`SIGHTLINE_CAMERA__URL`."""
        return PREFIX + self.path.upper().replace(".", "__")

    @property
    def types(self) -> tuple[Any, ...]:
        """The types that it takes, without None."""
        annotation = self.field.annotation
        parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        plain = (get_args(part)[0] if get_origin(part) is Annotated else part for part in parts)
        return tuple(part for part in plain if part is not type(None))

    @property
    def is_secret(self) -> bool:
        """True when the value is never shown."""
        return SecretStr in self.types

    @property
    def is_address(self) -> bool:
        """True when the value is shown without a password that it may carry."""
        return self.field.json_schema_extra == ADDRESS

    @property
    def is_path(self) -> bool:
        """True when a relative value counts from the folder in which it was given."""
        return Path in self.types

    @property
    def may_be_file(self) -> bool:
        """True when `<name>_FILE` may name a file that holds the value."""
        return self.is_secret or self.is_address


def _leaves(section: type[Section], prefix: str = "", keys: tuple[str, ...] = ()) -> Iterator[Setting]:
    for key, field in section.model_fields.items():
        path = prefix + (field.alias or key)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _leaves(kind, f"{path}.", (*keys, key))
        else:
            title = (section.__doc__ or "") if keys else ""
            yield Setting(path=path, keys=(*keys, key), section=title, field=field)


SETTINGS: Mapping[str, Setting] = {setting.path: setting for setting in _leaves(AppSettings)}
"""Every setting by its path, in the order of the tree."""

SECTIONS = frozenset(path[:at] for path in SETTINGS for at, letter in enumerate(path) if letter == ".")
"""What stands before a dot in a path: `camera`, `medical.dicomweb`."""


@dataclass(frozen=True)
class Alias:
    """A name that users of older systems have in their `.env` or YAML.

    Attributes:
        weak: it counts only where nothing else sets the value.
    """

    name: str
    path: str
    weak: bool = False


ALIASES: tuple[Alias, ...] = (
    Alias("SIGHTLINE_DATABASE_URL", "database.url"),
    Alias("SIGHTLINE_AUTH", "auth.mode"),
    Alias("MMLA_CASES_ROOT", "cases_root"),
    Alias("MMLA_MODELS_ROOT", "models_root"),
    Alias("MMLA_ARTIFACTS_ROOT", "artifacts_root"),
    Alias("MMLA_DATA_ROOT", "data_root"),
    Alias("MMLA_DATABASE_PATH", "database.path"),
    Alias("MMLA_MANIFEST_NAME", "manifest_name"),
    Alias("BLUEPRINT_MODULES", "blueprint_modules"),
    Alias("APP_RTSP_URL", "camera.url"),
    Alias("APP_MODEL_NAME", "camera.model"),
    Alias("APP_DEVICE", "device"),
    Alias("APP_FRAME_WIDTH", "camera.width"),
    Alias("APP_FRAME_HEIGHT", "camera.height"),
    Alias("APP_FRAME_SAMPLE_FPS", "camera.fps"),
    Alias("MINIO_ENDPOINT", "s3.endpoint"),
    Alias("MINIO_ACCESS_KEY", "s3.access_key"),
    Alias("MINIO_SECRET_KEY", "s3.secret_key"),
    Alias("MINIO_BUCKET", "s3.bucket"),
    Alias("ML_SERVICE_TOKEN", "auth.service_token"),
    Alias("BACKEND_URL", "backend.url", weak=True),
    Alias("ML_DEFAULT_PROFILE", "medical.default_profile", weak=True),
    Alias("ML_DECISION_THRESHOLD", "medical.decision_threshold", weak=True),
    Alias("MODEL_PATH", "model_path", weak=True),
    Alias("MODEL_NAME", "model_name", weak=True),
)


@dataclass(frozen=True)
class Target:
    """What a name means: the value of a setting, or with `is_file` the file that holds it."""

    setting: Setting
    weak: bool = False
    is_file: bool = False


def _targets(names: Iterable[tuple[str, str, bool]], suffix: str) -> dict[str, Target]:
    found: dict[str, Target] = {}
    for name, path, weak in names:
        setting = SETTINGS[path]
        found[name] = Target(setting, weak)
        if setting.may_be_file:
            found[name + suffix] = Target(setting, weak, is_file=True)
    return found


_CLUSTER_NAME = re.compile(r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")
_APP = "APP_"
_OWN_NAMES = _targets(((setting.env_name, path, False) for path, setting in SETTINGS.items()), "_FILE")
_OLD_NAMES = _targets(((alias.name, alias.path, alias.weak) for alias in ALIASES), "_FILE")
_OWN_KEYS = _targets(((path, path, False) for path in SETTINGS), "_file")
_APP_KEYS = {name.removeprefix(_APP).lower(): target for name, target in _OLD_NAMES.items() if name.startswith(_APP)}


def by_env_name(name: str) -> Target | None:
    """Return what an environment name means; upper and lower case are one."""
    return _OWN_NAMES.get(name.upper()) or _OLD_NAMES.get(name.upper())


def by_path(path: str) -> Target | None:
    """Return what a dotted path means, as on the command line."""
    return _OWN_KEYS.get(path)


def by_yaml_key(path: str) -> tuple[Target, ...]:
    """Return what a key of `sightline.yaml` means; keys of a section come with its name, `camera.url`.

    `model_name` means two things in older systems: it is the setting of that name, and also the camera's model where
    nothing else sets that.
    """
    head, _, rest = path.partition(".")
    if rest and head.lower() == "app":
        app = _APP_KEYS.get(rest.lower())
        return (app,) if app else ()
    if path == "model_name":
        return _OWN_KEYS[path], Target(SETTINGS["camera.model"], weak=True)
    target = _OWN_KEYS.get(path) or (None if rest else _OLD_NAMES.get(path.upper()) or _APP_KEYS.get(path))
    return (target,) if target else ()


def is_section(key: str) -> bool:
    """True when a key of YAML, with those above it before a dot, holds further keys."""
    return key in SECTIONS or key.lower() == "app"


def is_cluster_name(name: str, value: str) -> bool:
    """True for what Kubernetes puts into every container beside a service called `sightline` or `sightline-...`."""
    if name.endswith("_PORT") and "://" in value:
        return True
    return _CLUSTER_NAME.fullmatch(name) is not None


def cure_for_env_name(name: str) -> str:
    """Return what to do about an unknown environment name."""
    return _cure(name.upper(), [*_OWN_NAMES, CONFIG_NAME])


def cure_for_path(path: str) -> str:
    """Return what to do about an unknown dotted path or YAML key."""
    if path.upper() in _OWN_NAMES:
        return f"Did you mean {_OWN_NAMES[path.upper()].setting.path}?"
    head, _, rest = path.partition(".")
    if rest and head.lower() == "app":
        return _cure(path, [f"{head}.{key}" for key in _APP_KEYS])
    same_leaf = [known for known in _OWN_KEYS if known.rpartition(".")[2] == path.rpartition(".")[2]]
    return _cure(path.lower(), [*_OWN_KEYS, *(name.lower() for name in _OLD_NAMES)], same_leaf)


def _cure(name: str, known: list[str], otherwise: list[str] | None = None) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.7) or otherwise
    return f"Did you mean {near[0]}?" if near else "Remove it; `sightline config show` lists every setting."
