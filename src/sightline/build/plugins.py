"""One plug-in from its name and fields: the class is found, the fields are validated, the errors say where."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from sightline.build.catalog import broken
from sightline.core.errors import ConfigError
from sightline.core.urls import redacted


def build_plugin(
    kind: str,
    name: str,
    plugin: type[Any],
    fields: Mapping[str, Any],
    *,
    locate: Callable[..., str] = lambda *_: "",
) -> Any:
    """Return the plug-in with its fields validated.

    Args:
        kind: kind of plug-in, for messages.
        name: what the user calls it.
        plugin: its class.
        fields: its configuration.
        locate: path of a field -> where it stands.

    Raises:
        ConfigError: a field is unknown, missing or wrong.
        BrokenPlugin: the class is no dataclass of fields that can be validated, or raised something of its own.
    """
    try:
        return TypeAdapter(plugin).validate_python(dict(fields))
    except ValidationError as error:
        raise _explained(name, plugin, error, locate) from None
    except PydanticSchemaGenerationError as error:
        raise broken(f"{kind} plug-in {name!r}", error, locate()) from error
    except ConfigError as error:
        error.location = error.location or locate()
        raise
    except Exception as error:
        raise broken(f"{kind} plug-in {name!r}", error, locate()) from error


def field_names(plugin: type[Any]) -> list[str]:
    """Return the names of a plug-in's fields."""
    return [field.name for field in dataclasses.fields(plugin) if field.init]


def _explained(name: str, plugin: type[Any], error: ValidationError, locate: Callable[..., str]) -> ConfigError:
    """Return the first problem that pydantic found, in our words."""
    problem = error.errors(include_url=False)[0]
    where = problem["loc"]
    path = ".".join(str(part) for part in where)
    names = field_names(plugin)
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        near = get_close_matches(path, names, n=1)
        known = ", ".join(names)
        cure = f"Did you mean {near[0]!r}? It has: {known}." if near else f"It has: {known}."
        return ConfigError(f"{name!r} has no field {path!r}.", cure=cure, location=locate(*where))
    if problem["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return ConfigError(f"{name!r} needs the field {path!r}.", cure=f"Add {path}: ...", location=locate(*where))
    if problem["type"] == "value_error" and isinstance(cause := problem.get("ctx", {}).get("error"), ValueError):
        return ConfigError(f"{name!r}: {path}: {cause}", location=locate(*where))
    return ConfigError(
        f"{name!r}: {path}: {problem['msg']}.", cure=f"It is {_shown(problem['input'])} now.", location=locate(*where)
    )


def _shown(value: Any) -> str:
    """Return a wrong value as a person may see it: short, and without a password."""
    if not isinstance(value, str | int | float | bool | None):
        return f"a {type(value).__name__}"
    text = repr(redacted(value) if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:60]}..."
