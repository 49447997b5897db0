"""Whoever is in the zone when the camera goes has left: a killed camera, one that is removed, a run that ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.packs.vision.sources.conftest import RtspServer
from tests.servers import serving
from tests.walks.test_street_live import camera

pytestmark = [pytest.mark.alone, pytest.mark.service("rtsp")]

__all__ = ["camera"]  # a fixture
CASE = """
title: Who is in the street.
stages:
  analytics:
    found: {use: detector, model: nanodet-m, classes: [person], threshold: 0.2}
    people: {use: tracker, of: found}
    street:
      use: zone-counter
      of: people
      zones: {street: [[0, 0], [1, 0], [1, 1], [0, 1]]}
      unit: relative
      dwell_s: 1
      over: 0
sinks:
  - {use: event-recorder, types: [zone.*, count.*], pre_s: 1, post_s: 1}
"""


class Street:
    """A run of the case, and what is known of it through the API."""

    def __init__(self, http: httpx2.Client, camera: RtspServer) -> None:
        self._http = http
        self._source = {"use": "video", "url": camera.url(), "fps": 5, "retry_max_s": 0.5}
        answer = http.post("/runs", json={"case": "street", "sources": {"door": self._source}, "stands": True})
        assert answer.status_code == 201, answer.text
        self.run = answer.json()["id"]

    def add(self) -> None:
        wish = {"id": "door", "source": self._source}
        assert self._http.post(f"/runs/{self.run}/sources", json=wish).status_code == 201

    def remove(self) -> None:
        assert self._http.delete(f"/runs/{self.run}/sources/door").status_code < 300

    def end(self) -> None:
        assert self._http.delete(f"/runs/{self.run}").status_code < 300

    @property
    def events(self) -> list[dict[str, Any]]:
        """The alarms, the oldest first."""
        answer = self._http.get("/events", params={"type": "zone.*,count.*", "limit": 500, "order": "asc"})
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    @property
    def open(self) -> set[str]:
        """Ids of the visits and alarms that have no end."""
        begun = {key_of(event) for event in self.events if event["data"]["end"] is None}
        return begun - {key_of(event) for event in self.events if event["data"]["end"] is not None}


def key_of(event: dict[str, Any]) -> str:
    return str(event["data"].get("visit") or event["data"]["alarm"])


def until(true: Callable[[], object], within_s: float) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it does not come true"
        time.sleep(0.05)


def reasons(events: Sequence[dict[str, Any]]) -> set[str]:
    return {event["data"]["reason"] for event in events if "reason" in event["data"]}


@pytest.fixture
def street(tmp_path: Path, camera: RtspServer) -> Iterator[Street]:
    folder = tmp_path / "cases/street"
    folder.mkdir(parents=True)
    (folder / "case.yaml").write_text(CASE, "utf-8")
    with serving(tmp_path) as server, httpx2.Client(base_url=f"{server.url}/api/v1", timeout=20) as http:
        yield Street(http, camera)


def test_no_start_stays_without_an_end_whatever_takes_the_camera_away(street: Street, camera: RtspServer) -> None:
    def somebody_is_there() -> bool:
        return {"zone.dwell", "count.over"} <= {short(event) for event in street.events if key_of(event) in street.open}

    until(somebody_is_there, 30)
    camera.kill()
    until(lambda: not street.open, 5)  # while it is away
    [lost] = reasons(street.events)
    assert lost.startswith("the source was lost: ")

    camera.start()
    until(somebody_is_there, 30)
    street.remove()
    until(lambda: not street.open, 5)
    assert reasons(street.events) == {lost, "the source was removed"}

    street.add()
    until(somebody_is_there, 30)
    street.end()
    until(lambda: not street.open, 10)
    assert reasons(street.events) == {lost, "the source was removed", "the run was stopped"}

    for event in (each for each in street.events if "reason" in each["data"]):
        begun = next(each for each in street.events if key_of(each) == key_of(event))
        assert begun["data"]["start"] == event["data"]["start"] <= event["data"]["end"] <= event["time"]
        assert short(event) in {"zone.left", "count.over"}
    cut_off = [each for each in street.events if each["data"].get("reason") == lost and short(each) == "zone.left"]
    assert cut_off
    for event in cut_off:  # of a source that is gone nothing can be fetched any more, and that is told
        assert (event["media"]["lost"], bool(event["media"]["thumbnail"]), bool(event["media"]["clip"])) == (
            None,
            True,
            True,
        )


def short(event: dict[str, Any]) -> str:
    return str(event["type"]).removeprefix("io.sightline.").removesuffix(".v1")
