"""A server that is killed: the next one says of the clips that they are lost, and ends the visits that went on."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.conftest import write_case
from tests.serve.processes import ServerProcess, server_process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
STREET = Path(__file__).parents[2] / "src/sightline/cases/street_people/street.mp4"
CASE = f"""
source: {{use: video, url: "{STREET}", fps: 5, realtime: true, loop: true}}
stages:
  analytics:
    found: {{use: detector, model: nanodet-m, classes: [person], threshold: 0.2}}
    people: {{use: tracker, of: found}}
    pavement: {{use: line-counter, of: people, lines: {{pavement: [[588, 170], [616, 450]]}}}}
    street:
      use: zone-counter
      of: people
      zones: {{street: [[0, 0], [1, 0], [1, 1], [0, 1]]}}
      unit: relative
      over: 0
sinks:
  - {{use: event-recorder, types: [line.*], pre_s: 1, post_s: 30}}
"""


def alarms(server: ServerProcess, types: str = "line.*") -> list[dict[str, Any]]:
    answer = httpx2.get(f"{server.url}/api/v1/events?type={types}&order=asc&limit=500", timeout=60)
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def until(true: Any, seconds: float = 60) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, "it does not come true"
        time.sleep(0.05)


def test_clips_of_a_killed_server_are_told_as_lost_and_its_visits_end(tmp_path: Path) -> None:
    write_case(tmp_path, "street", CASE)
    with server_process(tmp_path, "street", "--run") as first:
        until(lambda: len(alarms(first)) >= 2 and all(each["media"] for each in alarms(first)))
        before = {each["id"] for each in alarms(first) if each["media"]}  # a picture, and a clip to come
        lasting = alarms(first, "zone.*,count.*")
        visits = {key_of(each) for each in lasting if each["data"]["end"] is None}
        assert visits - {key_of(each) for each in lasting if each["data"]["end"] is not None}  # somebody is there
        first.signal(signal.SIGKILL)
        first.wait(60)

    with server_process(tmp_path, "street", "--run") as second:
        until(lambda: all(each["media"]["lost"] for each in alarms(second) if each["id"] in before))
        for each in (each for each in alarms(second) if each["id"] in before):
            assert each["media"]["lost"] == "the process ended before it was made"
            assert each["media"]["clip"] is None
            picture = httpx2.get(second.url + each["media"]["thumbnail"], timeout=60)
            assert picture.headers["content-type"] == "image/jpeg"
            missing = httpx2.get(f"{second.url}/api/v1/events/{each['id']}/clip", timeout=60)
            assert missing.status_code == 404
            assert "the process ended" in missing.json()["detail"]
        ends = [each for each in alarms(second, "zone.*,count.*") if each["data"]["end"] is not None]
        assert visits <= {key_of(each) for each in ends}
        cut_off = [each for each in ends if each["data"].get("reason") == "the process was killed"]
        assert {each["type"].split(".", 2)[2] for each in cut_off} == {"zone.left.v1", "count.over.v1"}
        until(lambda: [each for each in alarms(second) if is_young(each)])
        for each in (each for each in alarms(second) if is_young(each)):  # those that it makes itself
            assert each["media"] is None or each["media"]["lost"] is None


def is_young(event: dict[str, Any]) -> bool:
    """True for an event of the second process, which began a new epoch."""
    return not event["data"]["sample"].startswith("main/1/")


def key_of(event: dict[str, Any]) -> str:
    return str(event["data"].get("visit") or event["data"]["alarm"])
