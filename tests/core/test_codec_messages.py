"""Events, times and binary messages on the wire."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.strategies import damaged, json_objects, json_values

from sightline.core.codec import (
    decode_event,
    decode_time,
    encode_event,
    encode_time,
    from_json,
    pack,
    to_json,
    unpack,
)
from sightline.core.errors import InvalidInput
from sightline.core.events import make_event

NOON = datetime(2026, 11, 20, 12, 0, 41, 200_000, UTC)


def make_wire_event() -> dict[str, Any]:
    return encode_event(
        make_event("line.crossed", source="/cases/street/sources/door", time=NOON, data={"n": 1}, subject="track/7")
    )


@given(damaged(st.builds(make_wire_event)) | json_values)
def test_no_damage_to_an_event_raises_anything_else(wire: Any) -> None:
    try:
        decode_event(wire)
    except InvalidInput:
        return


def test_an_event_is_cloudevents_structured_json() -> None:
    wire = make_wire_event()
    assert len(wire.pop("id")) == 32
    assert wire == {
        "specversion": "1.0",
        "source": "/cases/street/sources/door",
        "type": "io.sightline.line.crossed.v1",
        "time": "2026-11-20T12:00:41.200000Z",
        "subject": "track/7",
        "datacontenttype": "application/json",
        "data": {"n": 1},
    }


def test_an_event_survives_the_wire_and_without_a_subject_has_none() -> None:
    wire = make_wire_event()
    event = decode_event(wire)
    assert encode_event(event) == wire
    del wire["subject"]
    assert decode_event(wire).subject is None
    assert "subject" not in encode_event(decode_event(wire))


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type", "time"])
def test_an_event_that_lacks_what_cloudevents_requires_is_refused(missing: str) -> None:
    wire = make_wire_event()
    del wire[missing]
    with pytest.raises(InvalidInput, match=missing):
        decode_event(wire)


@given(st.datetimes(timezones=st.just(timezone(timedelta(hours=3)))))
def test_times_are_utc_with_microseconds_in_every_year(time: datetime) -> None:
    try:
        time.astimezone(UTC)
    except OverflowError:
        return
    text = encode_time(time)
    assert len(text) == len("2026-11-20T12:00:41.200000Z")
    assert text.endswith("Z")
    assert decode_time(text) == time


def test_a_time_without_a_zone_is_utc() -> None:
    assert decode_time("2026-11-20T12:00:41.2") == NOON
    assert decode_time("2026-11-20T14:00:41.2+02:00") == NOON


@given(json_objects, st.binary(max_size=40))
def test_a_packed_message_comes_back(header: dict[str, Any], body: bytes) -> None:
    message = pack(header, body)
    back, rest = unpack(message)
    assert back == json.loads(to_json(header))
    assert bytes(rest) == body


def test_a_message_cut_in_its_header_is_refused_wherever_it_is_cut() -> None:
    header = {"mime": "image/jpeg", "id": "door/1/412"}
    message = pack(header, b"body")
    for cut in range(len(message) - len(b"body")):
        with pytest.raises(InvalidInput):
            unpack(message[:cut])
    assert bytes(unpack(message[:-4])[1]) == b""


@given(st.binary(max_size=60))
def test_no_bytes_make_unpack_raise_anything_else(message: bytes) -> None:
    try:
        unpack(message)
    except InvalidInput:
        return


@pytest.mark.parametrize("header", [b"[]", b"7", b"{", b"\xff\xff"])
def test_a_header_that_is_no_object_is_refused(header: bytes) -> None:
    with pytest.raises(InvalidInput):
        unpack(len(header).to_bytes(4, "big") + header)


def test_what_is_no_json_is_refused() -> None:
    for text in ("{", b"\xff", "", "NaN", "[" * 100_000):
        with pytest.raises(InvalidInput, match="Not JSON"):
            from_json(text)
