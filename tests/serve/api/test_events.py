"""Events with their pictures and clips: lists that go both ways, files in parts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from tests.serve.api.conftest import problem
from tests.servers import RunningServer, serving

from sightline.core.access import Scope
from sightline.core.events import Event, make_event, media_key, source_uri
from sightline.core.media import removal_events
from sightline.core.ports import Stored
from sightline.serve.auth.keys import new_key

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
CLIP = bytes(range(256)) * 4096  # a megabyte
PICTURE = b"\xff\xd8 a picture"


def alarm(number: int, *, case: str = "gate", kind: str = "line.crossed", time: datetime | None = None) -> Event:
    moment = time or NOON + timedelta(seconds=number)
    return make_event(kind, source=source_uri(case, "door"), time=moment, data={"number": number})


def record(event: Event, **facts: Any) -> Event:
    """Return what is told when the media of an event are stored."""
    keys = {"thumbnail": media_key(event.time, event.id, ".jpg"), "clip": media_key(event.time, event.id, ".mp4")}
    data = {"event": event.id, **keys, "start": None, "end": None, "bytes": 5, "lost": None, **facts}
    return make_event("capture.stored", source=event.source, time=event.time, subject=event.id, data=data)


def tell(server: RunningServer, *events: Event) -> None:
    server.platform.context.store.events.append(list(events))


@pytest.fixture(scope="module")
def filmed(server: RunningServer) -> Event:
    """An event with a picture and a clip."""
    event = alarm(1, case="filmed")
    artifacts = server.platform.context.artifacts
    artifacts.put(media_key(event.time, event.id, ".jpg"), PICTURE)
    artifacts.put(media_key(event.time, event.id, ".mp4"), CLIP)
    tell(server, event, record(event, start="2026-03-04T11:59:56Z", end="2026-03-04T12:00:06Z"))
    return event


def media(http: httpx2.Client, event: Event) -> dict[str, Any] | None:
    answer = http.get(f"/events/{event.id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert (found["id"], found["type"]) == (event.id, event.type)
    listed = http.get("/events", params={"case": event.source.split("/")[2], "type": event.short_type}).json()["items"]
    assert found in listed
    shown: dict[str, Any] | None = found["media"]
    return shown


def test_an_event_says_where_its_media_are(http: httpx2.Client, filmed: Event) -> None:
    assert media(http, filmed) == {
        "thumbnail": f"/api/v1/events/{filmed.id}/thumbnail",
        "clip": f"/api/v1/events/{filmed.id}/clip",
        "start": "2026-03-04T11:59:56Z",
        "end": "2026-03-04T12:00:06Z",
        "bytes": 5,
        "lost": None,
        "removed": None,
    }
    picture = http.get(f"/events/{filmed.id}/thumbnail")
    assert (picture.content, picture.headers["content-type"]) == (PICTURE, "image/jpeg")


def test_what_is_missing_of_the_media_is_said(server: RunningServer, http: httpx2.Client) -> None:
    event, other = alarm(2, case="lost"), alarm(3, case="none")
    tell(server, event, other, record(event, clip=None, lost="the storage is full"))
    shown = media(http, event)
    assert shown is not None
    assert (shown["clip"], shown["lost"]) == (None, "the storage is full")
    assert media(http, other) is None
    assert "the storage is full" in problem(http.get(f"/events/{event.id}/clip"), 404, "not_found")["detail"]
    problem(http.get(f"/events/{other.id}/thumbnail"), 404, "not_found")
    problem(http.get("/events/nobody"), 404, "not_found")
    problem(http.get("/events/nobody/clip"), 404, "not_found")


def test_media_that_were_removed_are_not_offered(server: RunningServer, http: httpx2.Client) -> None:
    event = alarm(4, case="old")
    entry = Stored(key=media_key(event.time, event.id, ".mp4"), num_bytes=5, modified=None)
    tell(server, event, record(event), *removal_events([entry], NOON, "older than 30 days"))
    shown = media(http, event)
    assert shown is not None
    assert (shown["thumbnail"], shown["clip"], shown["removed"]) == (None, None, "older than 30 days")
    assert "older than 30 days" in problem(http.get(f"/events/{event.id}/clip"), 404, "not_found")["detail"]


def test_a_picture_is_offered_before_the_clip_is_there(server: RunningServer, http: httpx2.Client) -> None:
    event = alarm(5, case="young", time=datetime.now(UTC))
    tell(server, event)
    assert media(http, event) is None
    server.platform.context.artifacts.put(media_key(event.time, event.id, ".jpg"), PICTURE)
    shown = media(http, event)
    assert shown is not None
    assert (shown["thumbnail"], shown["clip"]) == (f"/api/v1/events/{event.id}/thumbnail", None)


def test_a_clip_comes_whole_with_all_that_a_player_needs(http: httpx2.Client, filmed: Event) -> None:
    answer = http.get(f"/events/{filmed.id}/clip")
    assert (answer.status_code, answer.content == CLIP) == (200, True)
    headers = answer.headers
    assert (headers["content-type"], headers["accept-ranges"]) == ("video/mp4", "bytes")
    assert headers["content-length"] == str(len(CLIP))
    assert headers["content-disposition"] == f'inline; filename="{filmed.id}.mp4"'
    head = http.head(f"/events/{filmed.id}/clip")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CLIP)))


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 1048576),
        ("bytes=1000-300999", 1000, 301000),
        ("bytes=1048575-", 1048575, 1048576),
        ("bytes=1048000-9999999", 1048000, 1048576),
        ("bytes=-500", 1048076, 1048576),
        ("bytes=-99999999", 0, 1048576),
        ("Bytes = 5 - 9", 5, 10),
    ],
)
def test_a_part_of_a_clip_is_sent(http: httpx2.Client, filmed: Event, asked: str, begin: int, end: int) -> None:
    answer = http.get(f"/events/{filmed.id}/clip", headers={"range": asked})
    assert (answer.status_code, answer.content == CLIP[begin:end]) == (206, True)
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/1048576"
    assert answer.headers["content-length"] == str(end - begin)


@pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=-", "bytes=a-b", "lines=0-5", "bytes=0-1,5-9", "5", ""])
def test_what_is_no_part_is_as_if_it_were_not_there(http: httpx2.Client, filmed: Event, asked: str) -> None:
    answer = http.get(f"/events/{filmed.id}/clip", headers={"range": asked})
    assert (answer.status_code, len(answer.content)) == (200, len(CLIP))


@pytest.mark.parametrize("asked", ["bytes=1048576-", "bytes=99999999-999999999", "bytes=-0"])
def test_a_part_behind_the_end_is_refused_with_the_size(http: httpx2.Client, filmed: Event, asked: str) -> None:
    answer = http.get(f"/events/{filmed.id}/clip", headers={"range": asked})
    problem(answer, 416, "wrong_range")
    assert answer.headers["content-range"] == "bytes */1048576"


def test_conditions_are_heeded(http: httpx2.Client, filmed: Event) -> None:
    path, part = f"/events/{filmed.id}/clip", {"range": "bytes=0-9"}
    etag = http.get(path, headers=part).headers["etag"]

    def status(**headers: str) -> int:
        return http.get(path, headers={name.replace("_", "-"): text for name, text in headers.items()}).status_code

    assert status(**part, if_range=etag) == 206
    assert status(**part, if_range='"another"') == 200
    assert status(**part, if_range="Wed, 04 Mar 2026 12:00:00 GMT") == 200
    assert status(if_none_match=etag) == 304
    assert status(if_none_match=f'"x", W/{etag}') == 304
    assert status(if_none_match='"x"') == 200
    assert status(if_none_match="*") == 304


def test_a_caller_who_leaves_in_the_middle_harms_nobody(http: httpx2.Client, filmed: Event) -> None:
    for _ in range(20):
        with http.stream("GET", f"/events/{filmed.id}/clip") as answer:
            next(answer.iter_bytes(1000))
    assert http.get(f"/events/{filmed.id}/clip").content == CLIP


@pytest.fixture(scope="module")
def many(server: RunningServer) -> Sequence[Event]:
    kinds = ("line.crossed", "zone.left", "zone.entered", "count.over")
    events = [alarm(number, case="gate" if number % 5 else "gates", kind=kinds[number % 4]) for number in range(40)]
    tell(server, *events)
    return events


def numbers(page: dict[str, Any]) -> list[int]:
    return [item["data"]["number"] for item in page["items"]]


def test_families_of_types_are_found(http: httpx2.Client, many: Sequence[Event]) -> None:
    def found(**query: Any) -> list[int]:
        return numbers(http.get("/events", params={"case": "gate", "order": "asc", "limit": 500, **query}).json())

    gate = [event for event in many if event.source.startswith("/cases/gate/")]
    zones = [event.data["number"] for event in gate if event.short_type.startswith("zone.")]
    assert found(type="zone.*") == zones
    assert found(type=["zone.*", "zone.left"]) == zones
    assert found(type="zone.*,count.over") == [
        event.data["number"] for event in gate if event.short_type != "line.crossed"
    ]
    problem(http.get("/events", params={"type": "*"}), 400, "invalid_input")
    problem(http.get("/events", params={"type": "zo*"}), 400, "invalid_input")


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_pages_lead_on_and_back(http: httpx2.Client, many: Sequence[Event], order: str) -> None:
    query: dict[str, Any] = {"case": "gate", "order": order, "limit": 7}

    def page(after: str | None = None) -> dict[str, Any]:
        answer = http.get("/events", params=query | ({} if after is None else {"after": after}))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    everything = [n for n in range(len(many)) if n % 5]
    everything = everything if order == "asc" else everything[::-1]
    pages = [page()]
    while pages[-1]["next"]:
        pages.append(page(pages[-1]["next"]))
    assert [number for each in pages for number in numbers(each)] == everything

    seen = pages[-1]
    for expected in reversed(pages[:-1]):
        seen = page(seen["previous"])
        assert numbers(seen) == numbers(expected)
        assert numbers(page(seen["next"])) == numbers(pages[pages.index(expected) + 1])
    empty = page(seen["previous"])
    assert (empty["items"], empty["previous"]) == ([], seen["previous"])


def test_the_page_before_the_first_is_what_has_come_since(server: RunningServer, http: httpx2.Client) -> None:
    tell(server, alarm(1, case="news"))
    first = http.get("/events", params={"case": "news"}).json()
    query = {"case": "news", "after": first["previous"]}
    assert http.get("/events", params=query).json()["items"] == []
    tell(server, alarm(2, case="news"), alarm(3, case="news"))
    assert numbers(http.get("/events", params=query).json()) == [3, 2]


def test_media_need_the_scope_read(tmp_path: Any) -> None:
    event = alarm(1)
    with serving(tmp_path, auth__mode="on") as server:
        tell(server, event)
        server.platform.context.artifacts.put(media_key(event.time, event.id, ".mp4"), CLIP)
        key, kept = new_key("reader", [Scope.READ])
        server.platform.context.store.keys.add(kept)
        for path in (f"/api/v1/events/{event.id}", f"/api/v1/events/{event.id}/clip"):
            problem(httpx2.get(f"{server.url}{path}", timeout=30), 401, "unauthenticated")
            problem(httpx2.get(f"{server.url}{path}", params={"access_token": key}, timeout=30), 401, "unauthenticated")
            assert httpx2.get(f"{server.url}{path}", headers={"x-api-key": key}, timeout=30).status_code == 200
