from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from sightline.build.plugins import all_of, build_plugin, field_names
from sightline.core.errors import BrokenPlugin, ConfigError, SightlineError
from sightline.core.plugins import Predictor
from sightline.core.prediction import Prediction
from sightline.core.sample import Sample


@dataclass(kw_only=True)
class Thing(Predictor):
    url: str
    threshold: float = 0.5
    mode: Literal["fast", "good"] = "fast"
    password: str | None = None
    boxes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.threshold > 1:
            raise ConfigError(f"threshold is {self.threshold}; it must be at most 1.", cure="Lower it.")
        if self.threshold < 0:
            raise ValueError("threshold is below 0")
        if self.url == "crash":
            raise RuntimeError("oops")

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        return []


class Unknowable:
    pass


@dataclass(kw_only=True)
class Odd(Predictor):
    what: NoSuchType  # type: ignore[name-defined]  # noqa: F821

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        return []


def locate(*where: str | int) -> str:
    return ".".join(["case.yaml", *map(str, where)])


def wrong(**fields: Any) -> list[SightlineError]:
    with pytest.raises(ConfigError) as caught:
        build_plugin("predictors", "thing", Thing, fields, locate=locate)
    return all_of(caught.value)


def test_fields_are_validated_and_converted() -> None:
    thing = build_plugin("predictors", "thing", Thing, {"url": "a", "threshold": "0.25", "boxes": {"a": [1, 2]}})

    assert (thing.threshold, thing.boxes) == (0.25, {"a": (1, 2)})
    assert field_names(Thing) == ["url", "threshold", "mode", "password", "boxes"]


def test_an_unknown_field_is_told_with_the_nearest() -> None:
    [error] = wrong(url="a", treshold=1)

    assert str(error) == "case.yaml.treshold: 'thing' has no field 'treshold'."
    assert error.cure.startswith("Did you mean 'threshold'? It has: url, threshold")


def test_a_missing_field_is_told() -> None:
    [error] = wrong()

    assert error.message == "'thing' needs the field 'url'."
    assert error.cure == "Add url: ..."


def test_all_wrong_fields_are_told_at_once() -> None:
    errors = wrong(threshold="high", mode="best", boxes={"a": [1, "x"]})

    assert {error.location for error in errors} == {
        "case.yaml.url",
        "case.yaml.threshold",
        "case.yaml.mode",
        "case.yaml.boxes.a.1",
    }
    assert all(error.cure for error in errors)
    by_place = {error.location: error for error in errors}
    assert by_place["case.yaml.threshold"].cure == "It is 'high' now."
    assert "'fast' or 'good'" in by_place["case.yaml.mode"].message


def test_what_a_plugin_refuses_itself_is_told_where_the_field_stands() -> None:
    [error] = wrong(url="a", threshold=2)

    assert str(error) == "case.yaml.threshold: threshold is 2.0; it must be at most 1."
    assert error.cure == "Lower it."


def test_a_value_error_of_a_plugin_is_a_config_error() -> None:
    [error] = wrong(url="a", threshold=-1)

    assert str(error) == "case.yaml: 'thing': threshold is below 0."


def test_anything_else_that_a_plugin_raises_is_a_broken_plugin_with_its_line() -> None:
    [error] = wrong(url="crash")

    assert isinstance(error, BrokenPlugin)
    assert "RuntimeError: oops" in error.message
    assert error.location.partition(":")[0] == __file__


def test_a_class_that_pydantic_cannot_build_is_a_broken_plugin() -> None:
    with pytest.raises(BrokenPlugin, match="'odd' cannot be loaded") as caught:
        build_plugin("predictors", "odd", Odd, {"what": 1}, locate=locate)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "secret"),
    [
        ({"url": "a", "password": ["hunter2"]}, "hunter2"),
        ({"url": "a", "password": {"x": "hunter2"}}, "hunter2"),
        ({"url": "a", "mode": "rtsp://u:hunter2@camera/1"}, "hunter2"),
        ({"url": ["rtsp://u:hunter2@camera/1"]}, "hunter2"),
    ],
)
def test_no_message_shows_a_password(fields: dict[str, Any], secret: str) -> None:
    shown = " ".join(f"{error} {error.cure}" for error in wrong(**fields))

    assert secret not in shown


def test_a_long_value_is_cut() -> None:
    [error] = wrong(url="a", mode="x" * 1000)

    assert len(error.cure) < 100
