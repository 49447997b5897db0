"""What messages of sensors say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.packs.sensors.payloads import BadPayload, reading_of

AT = datetime(2026, 11, 20, 12, 0, 41, 200_000, UTC)


def read(payload: str, **changes: Any) -> tuple[datetime | None, dict[str, float]]:
    time, values = reading_of(payload.encode(), **{"channel": "value", "time_field": "time", **changes})
    return time, dict(values)


@pytest.mark.parametrize("payload", ["21.5", " 21.5\n", "+21.5", "2.15e1"])
def test_a_bare_number_is_that_of_the_channel(payload: str) -> None:
    assert read(payload) == (None, {"value": 21.5})


def test_true_and_false_are_numbers() -> None:
    assert read("true") == (None, {"value": 1.0})
    assert read('{"open": false}') == (None, {"open": 0.0})


def test_objects_inside_have_points_in_their_names() -> None:
    assert read('{"air": {"t": 21, "unit": "C", "more": {"h": "40"}}}') == (None, {"air.t": 21.0, "air.more.h": 40.0})


@pytest.mark.parametrize(
    "time", ['"2026-11-20T12:00:41.2Z"', '"2026-11-20T14:00:41.2+02:00"', "1795176041.2", "1795176041200"]
)
def test_the_time_may_be_said_in_several_ways(time: str) -> None:
    assert read(f'{{"time": {time}, "t": 1}}') == (AT, {"t": 1.0})


def test_the_time_may_lie_inside_an_object_and_be_missing() -> None:
    assert read('{"meta": {"at": 1795176041.2}, "t": 1}', time_field="meta.at") == (AT, {"t": 1.0})
    assert read('{"t": 1, "time": null}') == (None, {"t": 1.0})


def test_only_the_named_fields_are_taken() -> None:
    assert read('{"t": 1, "rssi": -60}', fields=("t",)) == (None, {"t": 1.0})
    with pytest.raises(BadPayload, match="none of t"):
        read('{"rssi": -60}', fields=("t",))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reading_or_bad(payload: bytes) -> None:
    kind = ""
    try:
        _, values = reading_of(payload, channel="value", time_field="time")
        assert values
    except BadPayload as bad:
        kind = bad.kind
    assert kind in {"", "no_text", "no_json", "no_number", "bad_time", "too_many"}
