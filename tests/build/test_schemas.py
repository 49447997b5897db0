"""Schemas of plug-ins and manifests: what they allow, the builder takes, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import jsonschema_rs
import pytest
import yaml

from sightline.build.catalog import KINDS, Catalog
from sightline.build.folders import SHIPPED
from sightline.build.schemas import manifest_schema, plugin_schemas
from sightline.core.plugins import Sink

CASES = sorted(folder.name for folder in SHIPPED.iterdir() if (folder / "case.yaml").is_file())


@pytest.fixture(scope="module")
def plugins() -> list[dict[str, Any]]:
    return plugin_schemas(Catalog())


def of(plugins: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    [found] = [each for each in plugins if (each["kind"], each["name"]) == (kind, name)]
    return found


def test_every_plug_in_has_a_title_and_every_field_says_what_it_is(plugins: list[dict[str, Any]]) -> None:
    assert {each["kind"] for each in plugins} >= set(KINDS) - {"trainers"}
    for each in plugins:
        assert each["title"].endswith("."), each
        assert each["schema"] is not None, each["problem"]
        for name, described in each["schema"]["properties"].items():
            assert described.get("description"), f"{each['name']}.{name}"


def test_a_schema_tells_types_defaults_choices_and_what_is_required(plugins: list[dict[str, Any]]) -> None:
    video = of(plugins, "sources", "video")["schema"]
    assert video["required"] == ["url"]
    assert video["additionalProperties"] is False
    assert video["properties"]["transport"]["enum"]
    synthetic = of(plugins, "sources", "synthetic")["schema"]["properties"]
    assert synthetic["seed"] == {"type": "integer", "default": 0, "description": "another number, another picture."}
    assert of(plugins, "predictors", "tracker")["schema"]["properties"]["of"]["x-ref"] == "predictor"
    assert of(plugins, "predictors", "detector")["schema"]["properties"]["model"]["x-ref"] == "model"
    assert of(plugins, "sources", "mqtt")["schema"]["properties"]["password"]["format"] == "password"


def test_the_schema_of_a_manifest_takes_every_shipped_case(plugins: list[dict[str, Any]]) -> None:
    from sightline.build.case_modules import local_plugins
    from sightline.build.folders import CasePlace

    for name in CASES:
        place = CasePlace(name=name, origin="shipped", folder=SHIPPED / name)
        all_plugins = [*plugins, *plugin_schemas(Catalog(lambda _: []), local_plugins(place))]
        validator = jsonschema_rs.validator_for(manifest_schema(all_plugins))
        manifest = yaml.safe_load((SHIPPED / name / "case.yaml").read_text("utf-8"))
        assert [str(error) for error in validator.iter_errors(manifest)] == [], name


@pytest.mark.parametrize(
    "wrong",
    [
        {"sink": []},
        {"source": {"use": "synthetic", "fsp": 3}},
        {"source": {"use": "video"}},
        {"source": "video"},
        {"source": {"use": "vidoe"}},
        {"source": {"use": "synthetic"}, "sources": {}},
        {"sources": {"a b": {"use": "synthetic"}}},
        {"stages": {"analytics": {"a": {"use": "detector", "threshold": "high"}}}},
        {"sinks": {"use": "bus"}},
        {"on_error": "ignore"},
    ],
)
def test_the_schema_of_a_manifest_refuses_what_the_builder_refuses(
    plugins: list[dict[str, Any]], wrong: dict[str, Any]
) -> None:
    assert not jsonschema_rs.validator_for(manifest_schema(plugins)).is_valid(wrong)


def test_a_name_alone_is_an_entry_where_no_field_is_needed(plugins: list[dict[str, Any]]) -> None:
    validator = jsonschema_rs.validator_for(manifest_schema(plugins))
    assert validator.is_valid({"source": "synthetic", "sinks": ["bus", {"use": "jsonl", "events": "e.jsonl"}]})


@dataclass(kw_only=True)
class Odd(Sink):
    """Takes a function, which no manifest has."""

    key: Any = field(default=len, repr=False)
    made_by: type[Any] = int

    def write(self, samples: Any) -> None:
        """Take samples."""


def test_what_cannot_be_loaded_is_told_and_the_others_are_there() -> None:
    points = {
        "sightline.sinks": [
            EntryPoint("gone", "no_such_module_of_ours:Sink", "sightline.sinks"),
            EntryPoint("odd", f"{__name__}:Odd", "sightline.sinks"),
        ]
    }
    found = {each["name"]: each for each in plugin_schemas(Catalog(lambda group: points.get(group, [])))}
    assert found["gone"]["schema"] is None
    assert "no_such_module_of_ours" in found["gone"]["problem"]
    assert found["odd"]["schema"]["properties"].keys() >= {"key", "made_by", "rejected"}
    assert manifest_schema(list(found.values()))["$defs"]["sources"] is False


def test_a_plug_in_whose_extra_is_missing_says_how_to_get_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more_of_it.py").write_text("import a_library_that_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("needy", "needs_more_of_it:Sink [nats]", "sightline.sinks")
    [found] = plugin_schemas(Catalog(lambda group: [point] if group == "sightline.sinks" else []))
    assert (found["extra"], found["schema"], found["problem"]) == ("nats", None, "")
    assert "[nats]" in found["missing"]
