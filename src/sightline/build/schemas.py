"""JSON Schemas of plug-ins and of a manifest, for editors that make forms of them.

Types, defaults and choices are those of the fields, what they mean is told by the docstrings. `x-ref` of a field says
that its value is the key of an earlier predictor (`predictor`) or the reference of a model (`model`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from sightline.build.catalog import KINDS, Catalog, Listed
from sightline.build.manifest import KEYS
from sightline.core.case import PredictionStage
from sightline.core.errors import MissingExtra, SightlineError

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SECRET = re.compile(r"(?i)pass|pwd|secret|token|key|auth|credential")
_REFERENCES = {"of": "predictor", "model": "model"}
_ID = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"
Json = dict[str, Any]


class _Schemas(GenerateJsonSchema):
    """Makes schemas also of fields that no manifest can have: functions, for instance."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Json:  # noqa: ARG002 - pydantic's form
        """Return the schema of what is no JSON."""
        return {"x-not-json": True}


def plugin_schemas(catalog: Catalog, own: Mapping[str, type[Any]] | None = None) -> list[Json]:
    """Return all plug-ins of a manifest, each with its schema, those first that are installed.

    Args:
        catalog: the installed ones.
        own: those of a case's own plugins.py, by their names.

    Each has `kind name title description target package extra missing problem schema`; `schema` is null where the
    plug-in cannot be loaded: `missing` is then how to install its extra, or `problem` is what is wrong with it.
    """
    found = [_installed(catalog, listed) for kind in KINDS for listed in catalog.listed(kind)]
    for name, plugin in (own or {}).items():
        if name != plugin.__name__:  # the class name is a second name
            [kind] = [kind for kind, base in KINDS.items() if issubclass(plugin, base)]
            target = f"{plugin.__module__}:{plugin.__qualname__}"
            found.append(_told(Listed(kind=kind, name=name, target=target, package="the case"), plugin))
    return found


def manifest_schema(plugins: list[Json]) -> Json:
    """Return the schema of a whole manifest, given what `plugin_schemas` says."""
    definitions: Json = {}
    for kind in KINDS:
        entries = [each for each in plugins if each["kind"] == kind and each["schema"] is not None]
        for each in entries:
            definitions[f"{kind}.{each['name']}"] = _entry(each, definitions)
        short = [each["name"] for each in entries if not each["schema"].get("required")]
        forms: list[Json] = [{"type": "string", "enum": short, "description": "A name, where no field is needed."}]
        forms += [{"$ref": f"#/$defs/{kind}.{each['name']}"} for each in entries]
        definitions[kind] = {"oneOf": forms if short else forms[1:]} if entries else False
    predictors: Json = {
        "type": "object",
        "additionalProperties": {"$ref": "#/$defs/predictors"},
        "description": "Key of a predictor -> the predictor.",
    }
    known = [stage.value for stage in PredictionStage]
    properties: Mapping[str, Json] = {
        "name": {"type": "string"},
        "title": {"type": "string"},
        "source": {"$ref": "#/$defs/sources"},
        "sources": {
            "type": "object",
            "propertyNames": {"pattern": _ID},
            "additionalProperties": {"$ref": "#/$defs/sources"},
        },
        "input": {"type": "string", "x-ref": "source"},
        "collector": {"$ref": "#/$defs/collectors"},
        "stages": {
            "type": "object",
            "properties": dict.fromkeys(known, predictors),
            "additionalProperties": predictors,
        },
        "sinks": {"type": "array", "items": {"$ref": "#/$defs/sinks"}},
        "trainer": {"$ref": "#/$defs/trainers"},
        "on_error": {"type": "string", "enum": ["continue", "stop"], "default": "continue"},
        "metadata": {"type": "object"},
        "job": {
            "type": "object",
            "properties": {
                "concurrency": {"type": "integer", "minimum": 1},
                "rate_per_minute": {"type": "integer", "minimum": 1},
                "attempts": {"type": "integer", "minimum": 1},
                "deadline_s": {"type": "number", "exclusiveMinimum": 0},
                "parameters": {"type": "array", "items": {"type": "string"}},
            },
            "additionalProperties": False,
        },
    }
    return {
        "$schema": DIALECT,
        "title": "Manifest of a case",
        "type": "object",
        "properties": {key: {**properties[key], "description": text} for key, text in KEYS.items()},
        "additionalProperties": False,
        "not": {"required": ["source", "sources"]},
        "$defs": definitions,
    }


def field_descriptions(plugin: type[Any]) -> dict[str, str]:
    """Return what each field means, from the Attributes sections of the class and its bases."""
    found: dict[str, str] = {}
    for each in reversed(plugin.__mro__):
        name = ""
        for line in inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2].splitlines():
            if match := re.fullmatch(r"    (\w+): (.*)", line):
                name, found[match[1]] = match[1], match[2]
            elif line.startswith("        ") and name:
                found[name] += f" {line.strip()}"
            elif line.strip():
                break
    return found


def prose(plugin: type[Any]) -> list[str]:
    """Return the lines of the docstring of a class without its Attributes."""
    return inspect.cleandoc(plugin.__doc__ or "").partition("\nAttributes:")[0].strip().splitlines()


def _installed(catalog: Catalog, listed: Listed) -> Json:
    try:
        return _told(listed, catalog.load(listed.kind, listed.name))
    except MissingExtra as error:
        return _told(listed, None, missing=error.cure)
    except SightlineError as error:
        return _told(listed, None, problem=str(error))


def _told(listed: Listed, plugin: type[Any] | None, *, missing: str = "", problem: str = "") -> Json:
    lines = [] if plugin is None else prose(plugin)
    schema: Json | None = None
    if plugin is not None:
        try:
            schema = _schema(plugin)
        except Exception as error:  # noqa: BLE001 - fields of a plug-in may be anything; the others are told all the same
            problem = f"Its fields have no schema: {error}".partition("\n")[0]
    return {
        "kind": listed.kind,
        "name": listed.name,
        "title": lines[0] if lines else "",
        "description": "\n".join(lines[1:]).strip(),
        "target": listed.target,
        "package": listed.package,
        "extra": listed.extra,
        "missing": missing,
        "problem": problem,
        "schema": schema,
    }


def _schema(plugin: type[Any]) -> Json:
    """Return the schema of a plug-in's fields."""
    schema: Json = TypeAdapter(plugin).json_schema(schema_generator=_Schemas)
    texts = field_descriptions(plugin)
    for name, field in schema.get("properties", {}).items():
        field.pop("title", None)
        if name in texts:
            field["description"] = texts[name]
        if name in _REFERENCES:
            field["x-ref"] = _REFERENCES[name]
        if _SECRET.search(name) and "string" in str(field.get("type", field.get("anyOf", ""))):
            field["format"] = "password"
    schema.pop("description", None)  # the docstring, which is told as title and description
    return {**schema, "title": plugin.__name__, "additionalProperties": False}


def _entry(told: Json, definitions: Json) -> Json:
    """Return the schema of a plug-in as an entry of a manifest, its own definitions put beside the others."""
    schema: Json = dict(told["schema"])
    prefix = f"{told['kind']}.{told['name']}."
    inner: Json = schema.pop("$defs", {})
    definitions |= {prefix + name: _renamed(each, prefix) for name, each in inner.items()}
    fields: Json = _renamed(schema.pop("properties", {}), prefix)
    use: Json = {"const": told["name"], "type": "string"}
    required = ["use", *schema.pop("required", [])]
    return {**schema, "description": told["title"], "properties": {"use": use, **fields}, "required": required}


def _renamed(value: Any, prefix: str) -> Any:
    """Return a schema whose references point at definitions with a prefix."""
    if isinstance(value, dict):
        return {
            key: each.replace("#/$defs/", f"#/$defs/{prefix}")
            if key == "$ref" and isinstance(each, str)
            else _renamed(each, prefix)
            for key, each in value.items()
        }
    return [_renamed(each, prefix) for each in value] if isinstance(value, list) else value
