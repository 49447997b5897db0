"""Sources of all runs with honest numbers, their newest pictures, and frames pushed to them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image
from tests.serve.api.conftest import problem, soon

PHOTO = (Path(__file__).parents[2] / "data/photos/castle.jpg").read_bytes()
JPEG = {"content-type": "image/jpeg"}


def begun(http: httpx2.Client, **sources: Any) -> str:
    answer = http.post("/runs", json={"case": "dummy_offline", "sources": sources, "stands": True})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def run(http: httpx2.Client) -> Iterator[str]:
    drawn = {"use": "synthetic", "fps": 10, "size": [320, 240]}
    name = begun(http, door=drawn, phone={"use": "push"})
    soon(lambda: row(http, "phone")["state"] != "connecting" or http.get("/sources").json()["items"][0]["read"] > 0)
    yield name
    http.delete(f"/runs/{name}")
    soon(lambda: http.get("/sources").json()["items"] == [])


def row(http: httpx2.Client, source: str) -> dict[str, Any]:
    [found] = [each for each in http.get("/sources").json()["items"] if each["source"] == source]
    return dict(found)


def test_a_source_tells_all_that_a_tile_shows(http: httpx2.Client, run: str) -> None:
    soon(lambda: (row(http, "door")["fps"] or 0) > 5 and row(http, "door")["cpu_ms_per_s"] is not None)
    door = row(http, "door")
    assert (door["run"], door["case"], door["state"], door["epoch"]) == (run, "dummy_offline", "live", 1)
    assert door["since"].endswith("Z")
    assert (door["wanted_fps"], door["size"], door["is_live"]) == (10, [320, 240], True)
    assert 0 < door["fps"] < 15
    assert 0 <= door["age_s"] < 20
    assert door["cpu_ms_per_s"] > 0
    assert door["inference_ms"] > 0
    assert (door["reconnects"], door["stuck"]) == (0, 0)
    assert door["dropped"].keys() <= {"superseded"}  # by reason
    phone = row(http, "phone")
    assert (phone["wanted_fps"], phone["size"], phone["inference_ms"]) == (None, None, None)


def test_the_newest_picture_is_given_plain_drawn_and_narrow(http: httpx2.Client, run: str) -> None:
    soon(lambda: row(http, "door")["processed"] > 0)

    def shown(**params: Any) -> Image.Image:
        answer = http.get(f"/runs/{run}/sources/door/picture", params=params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-frame-time"].endswith("Z")
        assert answer.headers["cache-control"] == "no-store"
        return Image.open(io.BytesIO(answer.content))

    assert shown().size == (320, 240)
    assert shown(drawn=1).size == (320, 240)
    assert shown(width=160).size == (160, 120)
    assert shown(width=4000, drawn=1).size == (320, 240)
    problem(http.get(f"/runs/{run}/sources/door/picture", params={"width": 1}), 400, "invalid_input")


def test_where_there_is_no_picture_is_said_why(http: httpx2.Client, run: str) -> None:
    found = problem(http.get(f"/runs/{run}/sources/phone/picture"), 404, "not_found")
    assert "no picture yet" in found["detail"]
    assert "phone" in problem(http.get(f"/runs/{run}/sources/roof/picture"), 404, "not_found")["detail"]
    problem(http.get("/runs/nobody/sources/door/picture"), 404, "not_found")


def test_a_frame_is_pushed_and_is_the_newest_picture(http: httpx2.Client, run: str) -> None:
    headers = {**JPEG, "x-frame-time": "2026-11-20T12:00:00+03:00"}
    answer = http.post("/sources/phone/frames", content=PHOTO, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"run": run, "case": "dummy_offline", "source": "phone", "bytes": len(PHOTO)}
    soon(lambda: row(http, "phone")["processed"] == 1)
    soon(lambda: http.get(f"/runs/{run}/sources/phone/picture").status_code == 200)  # shown a moment after it counts
    picture = http.get(f"/runs/{run}/sources/phone/picture")
    assert picture.headers["x-frame-time"] == "2026-11-20T09:00:00.000000Z"
    assert Image.open(io.BytesIO(picture.content)).size == Image.open(io.BytesIO(PHOTO)).size


@pytest.mark.usefixtures("run")
def test_what_is_no_frame_is_refused_at_once(http: httpx2.Client) -> None:
    def pushed(body: bytes, **headers: str) -> httpx2.Response:
        return http.post("/sources/phone/frames", content=body, headers={**JPEG, **headers})

    problem(pushed(b""), 400, "invalid_input")
    problem(pushed(b"no picture"), 415, "wrong_media_type")
    problem(pushed(PHOTO[:1000]), 400, "invalid_media")
    problem(pushed(b"x" * (17 << 20)), 413, "too_large")
    problem(pushed(PHOTO, **{"x-frame-time": "yesterday"}), 400, "invalid_input")
    problem(http.post("/sources/door/frames", content=PHOTO, headers=JPEG), 400, "invalid_input")
    assert "phone" in problem(http.post("/sources/gone/frames", content=PHOTO), 404, "not_found")["detail"]
    assert row(http, "phone")["read"] == 0


def test_where_several_runs_have_a_source_one_must_be_named(http: httpx2.Client, run: str) -> None:
    other = begun(http, phone={"use": "push"})
    found = problem(http.post("/sources/phone/frames", content=PHOTO, headers=JPEG), 409, "conflict")
    assert run in found["detail"]
    assert other in found["detail"]
    taken = http.post("/sources/phone/frames", params={"run": other}, content=PHOTO, headers=JPEG)
    assert (taken.status_code, taken.json()["run"]) == (202, other)
    problem(http.post("/sources/phone/frames", params={"case": "dummy_offline"}, content=PHOTO), 409, "conflict")
    http.delete(f"/runs/{other}")


def test_a_camera_that_is_away_tells_when_it_is_tried_again_and_is_tried_at_once_when_asked(
    http: httpx2.Client,
) -> None:
    away = {"use": "video", "url": "rtsp://127.0.0.1:9/away", "timeout_s": 1, "retry_max_s": 600}
    name = begun(http, gate=away, door={"use": "synthetic", "fps": 2, "size": [64, 48]})
    soon(lambda: row(http, "gate")["tries"] > 0)
    gate = row(http, "gate")
    assert gate["lost_since"].endswith("Z")
    tries = gate["tries"]
    assert http.post(f"/runs/{name}/sources/gate/reconnect").status_code == 204
    soon(lambda: row(http, "gate")["tries"] > tries)
    refused = http.post(f"/runs/{name}/sources/door/reconnect")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")
    assert http.post(f"/runs/{name}/sources/none/reconnect").status_code == 404
    http.delete(f"/runs/{name}")
    soon(lambda: http.get("/sources").json()["items"] == [])
