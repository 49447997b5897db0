"""The forms that values of settings have: lists, addresses, words; and what all sections have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.config import JsonDict

from sightline.core.urls import redacted

ADDRESS: JsonDict = {"address": True}  # may carry a password: shown without it, may be given by *_FILE
"""Mark (`json_schema_extra`) of a setting that is an address."""


def default_data_root() -> Path:
    """Return where a user's programs keep their data on this system, for instance `~/.local/share/sightline`."""
    return Path(platformdirs.user_data_dir("sightline", appauthor=False))


def _split(value: Any) -> Any:
    """Split `a, b`, the form of lists in the environment; older systems wrote them as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise ValueError("it starts as a JSON list and is none") from None
    return [item.strip() for item in value.split(",") if item.strip()]


def _with_scheme(value: Any) -> Any:
    """Put `http://` before `minio:9000`, as the clients of MinIO do."""
    return f"http://{value}" if isinstance(value, str) and value and "://" not in value else value


def _file_name(value: Any) -> Any:
    if isinstance(value, str) and (not value or value in (".", "..") or "/" in value or "\\" in value):
        raise ValueError("it must be a file name without a folder")
    return value


def _on_off(value: Any) -> Any:
    """Take what YAML makes of `on` and `off`."""
    return ("on" if value else "off") if isinstance(value, bool) else _lower(value)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Endpoint = Annotated[str, BeforeValidator(_with_scheme)]
FileName = Annotated[str, BeforeValidator(_file_name)]
AuthMode = Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_off)]
Level = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)]


class Section(BaseModel):
    """Settings that belong together; frozen, unknown names are errors, its repr tells no password."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,  # `url: 0` is a webcam, `device: 0` a GPU
        validate_by_name=True,
        validate_by_alias=True,
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            field = type(self).model_fields.get(name or "")
            is_address = field is not None and field.json_schema_extra == ADDRESS
            yield name, redacted(value) if is_address and isinstance(value, str) else value
