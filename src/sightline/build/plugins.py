"""One plug-in from its name and fields: the class is found, the fields are validated, the errors say where."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from sightline.build.catalog import broken
from sightline.core.errors import ConfigError, SightlineError
from sightline.core.urls import redacted

_SECRET = re.compile(r"(?i)pass|pwd|secret|token|key|auth|credential")


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
        ConfigError: fields are unknown, missing or wrong; `all_of` gives all such problems.
        BrokenPlugin: the class is no dataclass of fields that can be validated, or raised something of its own.
    """
    try:
        return TypeAdapter(plugin).validate_python(dict(fields))
    except ValidationError as error:
        problems = [_explained(name, plugin, problem, locate) for problem in error.errors(include_url=False)]
        raise with_all(problems) from None
    except PydanticSchemaGenerationError as error:
        raise broken(f"The {kind} plug-in {name!r}", error, locate()) from error
    except ConfigError as error:
        # What a plug-in checks itself begins with the name of the field: "fps is -1; it must be above 0."
        subject = error.message.partition(" ")[0]
        error.location = error.location or locate(*[subject] if subject in field_names(plugin) else [])
        raise
    except (Exception, SystemExit) as error:
        raise broken(f"The {kind} plug-in {name!r}", error, locate()) from error


def with_all(problems: Sequence[SightlineError]) -> SightlineError:
    """Return the first of `problems`, which carries all of them in its attribute `problems`."""
    first = problems[0]
    first.problems = list(problems)  # type: ignore[attr-defined]
    return first


def all_of(error: SightlineError) -> list[SightlineError]:
    """Return the problems that `with_all` put together, or the error alone."""
    return list(getattr(error, "problems", [error]))


def field_names(plugin: type[Any]) -> list[str]:
    """Return the names of a plug-in's fields."""
    return [field.name for field in dataclasses.fields(plugin) if field.init]


def _explained(name: str, plugin: type[Any], problem: ErrorDetails, locate: Callable[..., str]) -> ConfigError:
    """Return a problem that pydantic found, in our words."""
    where = problem["loc"]
    path = ".".join(str(part) for part in where)
    names = field_names(plugin)
    location = locate(*where)
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        near = get_close_matches(path, names, n=1)
        known = f"It has: {', '.join(names)}." if names else "It has no fields."
        cure = f"Did you mean {near[0]!r}? {known}" if near else known
        return ConfigError(f"{name!r} has no field {path!r}.", cure=cure, location=location)
    if problem["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return ConfigError(f"{name!r} needs the field {path!r}.", cure=f"Add {path}: ...", location=location)
    cause = problem.get("ctx", {}).get("error") if problem["type"] == "value_error" else None
    text = str(cause if isinstance(cause, ValueError) else problem["msg"]).partition("\n")[0].removesuffix(".")
    shown = "what it is now is not shown" if _SECRET.search(path) else f"It is {_shown(problem['input'])} now"
    return ConfigError(
        f"{name!r}: {path}: {text}." if path else f"{name!r}: {text}.",
        cure=f"{shown[0].upper()}{shown[1:]}." if path else "Change its fields.",
        location=location,
    )


def _shown(value: Any) -> str:
    """Return a wrong value as a person may see it: short, and without a password."""
    if not isinstance(value, str | int | float | bool | None):
        return f"a {type(value).__name__}"
    text = repr(redacted(value) if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:60]}..."
