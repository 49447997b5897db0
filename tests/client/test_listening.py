"""Events as an iterator: taken apart in whatever parts they come, and gone on with after a break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.conftest import Script, Scripted, Waits
from tests.servers import RunningServer

from sightline import AsyncClient, Boxes, Client, Sample
from sightline.client import listening
from sightline.client.listening import SseReader, Told
from sightline.core.codec import encode_event, encode_sample, to_json
from sightline.core.errors import InvalidInput, Unauthenticated, Unavailable
from sightline.core.events import Event, make_event
from sightline.core.ports import Gap
from sightline.testing import START, make_frame

STREAM = (
    b"retry: 2000\n\n: still here\n\nid: 1\nevent: line.crossed\ndata: {\ndata: }\n\n"
    b'event: gap\r\ndata: {"num_lost":3}\r\n\r\nid:2\ndata:x\n\ndata: cut o'
)
TOLD = [
    Told("message", "", "", 2.0),
    Told("line.crossed", "{\n}", "1"),
    Told("gap", '{"num_lost":3}', "1"),
    Told("message", "x", "2"),
]
HEADERS = {"Content-Type": "text/event-stream"}


@given(st.lists(st.integers(0, len(STREAM)), max_size=9))
def test_parts_may_be_cut_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    reader = SseReader()
    told = [each for start, end in pairwise(places) for each in reader.read(STREAM[start:end])]
    assert told == TOLD


def test_an_event_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_MOST_BYTES", 100)
    reader = SseReader()
    assert not list(reader.read(b"data: " + b"x" * 80))
    with pytest.raises(Unavailable, match="longer than"):
        list(reader.read(b"x" * 80))


def told(number: int, *, known: bool = True) -> bytes:
    event = make_event("line.crossed", source="/cases/door/sources/main", time=START, data={"number": number})
    head = b"id: e%d\n" % number if known else b""
    return head + b"event: line.crossed\ndata: " + to_json(encode_event(event)) + b"\n\n"


def streams(*bodies: bytes) -> list[Scripted]:
    return [Scripted(headers=HEADERS, body=b"retry: 1500\n\n" + body) for body in bodies]


def numbers(found: Iterator[Event | Gap]) -> list[Any]:
    return [each.data["number"] if isinstance(each, Event) else each for each in found]


def test_a_break_is_gone_on_behind_the_last_event(script: Script, waits: Waits) -> None:
    busy = Scripted(status=503, body=b'{"code": "overloaded", "detail": "Later."}')
    script.answers = [*streams(told(1) + told(2)), Scripted(breaks_off=True), busy, *streams(told(3))]
    with Client(script.url) as client:
        assert numbers(islice(client.events(case="door", types=["line.*", "count.over"]), 3)) == [1, 2, 3]
    assert script.headers("last-event-id") == [None, "e2", "e2", "e2"]
    assert {path for _, path, _, _ in script.asked} == {"/stream?case=door&type=line.%2A%2Ccount.over"}
    assert waits[0] == 1.5  # as the server wants


def test_events_without_an_id_do_not_make_the_last_one_forgotten(script: Script, waits: Waits) -> None:
    script.answers = streams(told(1), told(2, known=False), told(3))
    with Client(script.url) as client:
        assert numbers(islice(client.events(), 3)) == [1, 2, 3]
    assert script.headers("last-event-id") == [None, "e1", "e1"]
    assert len(waits) == 2


def test_a_gap_is_told(script: Script) -> None:
    script.answers = streams(b'event: gap\ndata: {"num_lost": null}\n\n' + told(1))
    with Client(script.url) as client:
        assert numbers(islice(client.events(last_event_id="e0"), 2)) == [Gap(None), 1]
    assert script.headers("last-event-id") == ["e0"]


def test_a_break_with_nothing_to_go_on_behind_is_a_gap(script: Script, waits: Waits) -> None:
    script.answers = streams(told(1, known=False), told(2, known=False))
    with Client(script.url) as client:
        assert numbers(islice(client.events(), 3)) == [1, Gap(None), 2]
    assert waits == [1.5]


def test_a_server_that_does_not_come_back_is_given_up(script: Script, waits: Waits) -> None:
    script.answers = [*streams(told(1)), Scripted(breaks_off=True)]
    with Client(script.url, retries=0) as client:
        events = client.events(patience_s=0)
        assert numbers(islice(events, 1)) == [1]
        with pytest.raises(Unavailable, match="broke off"):
            next(events)
    assert waits == [1.5]


def test_a_server_that_is_not_there_is_told_at_once(waits: Waits) -> None:
    with Client("http://127.0.0.1:1", retries=0) as client, pytest.raises(Unavailable, match="cannot be reached"):
        next(client.events(patience_s=None))
    assert not waits


def test_a_refusal_ends_the_listening(script: Script, waits: Waits) -> None:
    refused = Scripted(status=401, body=b'{"code": "unauthenticated", "detail": "Who are you?"}')
    script.answers = [*streams(told(1)), refused]
    with Client(script.url) as client:
        events = client.events()
        next(events)
        with pytest.raises(Unauthenticated, match="Who are you"):
            next(events)
    assert len(waits) == 1


def test_predictions_are_samples(script: Script) -> None:
    wire = encode_sample(make_frame(seq=7, source="main"), "door")
    script.answers = streams(b"id: p\nevent: prediction\ndata: " + to_json(wire) + b"\n\n")
    with Client(script.url) as client:
        [sample] = islice(client.predictions(source=["main", "back"]), 1)
        [event] = islice(client.events(), 1)
    assert isinstance(sample, Sample)
    assert sample.id == "main/1/7"
    assert isinstance(event, Event)
    assert (event.id, event.short_type, event.source) == ("p", "prediction", "/cases/door/sources/main")
    assert event.data == json.loads(to_json(wire))
    assert script.asked[0][1] == "/stream?source=main%2Cback&type=prediction"


@pytest.mark.parametrize("data", [b"{}", b"[]", b"x", b'{"case": 3, "source": "a", "time": "z"}'])
@pytest.mark.parametrize("type_", [b"prediction", b"line.crossed", b"gap"])
def test_an_event_that_cannot_be_read_is_told(script: Script, data: bytes, type_: bytes) -> None:
    script.answers = streams(b"event: " + type_ + b"\ndata: " + data + b"\n\n")
    with Client(script.url) as client, pytest.raises(InvalidInput):
        next(client.predictions())


def test_a_listener_that_leaves_frees_its_connection(script: Script) -> None:
    script.answers = streams(told(1) + told(2))
    with Client(script.url) as client:
        events = client.events()
        next(events)
        events.close()
        pool: Any = client._carrier.http
        assert not [each for each in pool._pool.connections if not (each.is_idle() or each.is_closed())]


def test_a_running_case_is_listened_to(server: RunningServer) -> None:
    async def listen() -> list[Sample[None] | Gap]:
        async with AsyncClient(server.url) as client:
            found: list[Sample[None] | Gap] = []
            listened = client.predictions(case="street_people")
            waiting = asyncio.ensure_future(anext(listened))
            run = await client.runs.start("street_people")
            found.append(await waiting)
            async for sample in listened:
                found.append(sample)
                if len(found) == 5:
                    break
            await listened.aclose()
            await client.runs.stop(run.id)
            assert (await client.runs.wait(run.id, timeout_s=20)).state.is_final
            return found

    for sample in asyncio.run(listen()):
        assert isinstance(sample, Sample)
        assert isinstance(sample.predictions["people"], Boxes)
