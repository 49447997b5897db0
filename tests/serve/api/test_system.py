"""The process as people look at it: what it takes, what it says, and what a manifest may hold."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from tests.serve.api.conftest import problem, soon
from tests.servers import RunningServer

from sightline.serve import logs
from sightline.serve.log_tail import TAIL, LogTail
from sightline.serve.logs import set_up_log

PHOTO = (Path(__file__).parents[2] / "data/photos/castle.jpg").read_bytes()


@pytest.fixture
def run(http: httpx2.Client) -> Iterator[str]:
    source = {"use": "synthetic", "fps": 10}
    begun = http.post("/runs", json={"case": "dummy_offline", "sources": {"door": source}, "stands": True}).json()
    yield begun["id"]
    http.delete(f"/runs/{begun['id']}")


@pytest.fixture
def logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    set_up_log("debug", as_json=True)
    yield
    structlog.reset_defaults()
    monkeypatch.setattr(logs, "_ACCESS_LOG", logs._AccessLog())


def test_the_process_tells_what_it_takes(server: RunningServer, http: httpx2.Client, run: str) -> None:
    def has_worked() -> bool:
        httpx2.post(f"{server.url}/predict", content=PHOTO, headers={"content-type": "image/jpeg"}, timeout=30)
        return any(each["batches"] >= 3 for each in http.get("/system").json()["models"])

    soon(has_worked)  # it counts anew when it was measured, in an idle moment, and goes on with other threads
    soon(lambda: any(point["cameras"].get(f"{run}/door") for point in http.get("/system").json()["history"]))
    soon(lambda: http.get("/system").json()["stores"] != [])
    told = http.get("/system").json()
    process = told["process"]
    assert process["rss_bytes"] > 30_000_000
    assert process["threads"] > 5
    assert process["cpu_share"] >= 0
    assert 0 < process["uptime_s"] < 1000
    [model] = [each for each in told["models"] if each["name"] == "efficientnet-lite0"]
    assert (model["loads"], model["is_open"]) == (1, True)
    assert model["batches"] >= 3
    assert 0 < model["p50_ms"] <= model["p95_ms"]
    assert model["batch_rows"] >= 1
    [camera] = [each for each in told["cameras"] if each["run"] == run]
    assert (camera["source"], camera["wanted_fps"]) == ("door", 10)
    stores = {each["name"]: each for each in told["stores"]}
    assert stores["database"]["bytes"] > 10_000
    assert stores["database"]["free_bytes"] > 0
    assert stores.keys() == {"artifacts", "database", "runs", "models"}
    assert told["versions"].keys() >= {"sightline", "python", "onnxruntime"}
    assert told["safe_mode"] == []
    assert told["machine"]["cores"] >= 1


def test_the_history_is_given_from_a_moment_on(server: RunningServer, http: httpx2.Client) -> None:
    for _ in range(3):
        server.platform.system.sample()
        time.sleep(0.01)
    history = http.get("/system").json()["history"]
    assert [point["time"] for point in history] == sorted(point["time"] for point in history)
    later = http.get("/system", params={"since": history[-2]["time"]}).json()["history"]
    assert [point["time"] for point in later][:1] == [history[-1]["time"]]
    problem(http.get("/system", params={"since": "yesterday"}), 400, "invalid_input")


def test_a_camera_that_works_costs_more_than_one_that_waits(server: RunningServer, http: httpx2.Client) -> None:
    busy = {"use": "synthetic", "fps": 60, "size": [1280, 720]}
    wish = {"case": "dummy_offline", "sources": {"busy": busy, "idle": {"use": "push"}}, "stands": True}
    run = http.post("/runs", json=wish).json()["id"]
    watch = server.platform.system
    soon(lambda: watch.cost_ms_per_s(run, "busy") is not None and watch.cost_ms_per_s(run, "idle") is not None)
    soon(lambda: (watch.cost_ms_per_s(run, "busy") or 0) > 10 * (watch.cost_ms_per_s(run, "idle") or 0) + 5)
    http.delete(f"/runs/{run}")


@pytest.mark.usefixtures("logging")
def test_the_tail_of_the_log_is_read_on_from_where_one_was(http: httpx2.Client) -> None:
    log: Any = structlog.get_logger()
    log.info("first of ours", source="door")
    log.warning("camera lost", url="rtsp://ann:geheim@camera/door", tries=3)
    log.debug("a small thing")

    page = http.get("/log", params={"limit": 1000}).json()

    ours = [line for line in page["items"] if line["message"] in ("first of ours", "camera lost", "a small thing")]
    assert [line["level"] for line in ours] == ["info", "warning", "debug"]
    assert ours[1]["fields"] == {"url": "rtsp://***@camera/door", "tries": 3}
    assert "geheim" not in http.get("/log").text
    assert page["lost"] == 0
    log.error("second of ours")
    news = http.get("/log", params={"after": page["next"]}).json()
    messages = [line["message"] for line in news["items"]]  # runs of other tests may end meanwhile
    assert "second of ours" in messages
    later = [line["message"] for line in http.get("/log", params={"after": news["next"]}).json()["items"]]
    assert "second of ours" not in later
    assert "request answered" not in messages + later  # to look at the log is no news
    errors = http.get("/log", params={"after": page["next"], "level": "error"}).json()["items"]
    assert [line["message"] for line in errors] == ["second of ours"]


@pytest.mark.usefixtures("logging")
def test_requests_that_went_well_are_asked_for_and_those_that_did_not_are_there(
    server: RunningServer, http: httpx2.Client
) -> None:
    seen = http.get("/log").json()["next"]
    http.get("/runs")
    server.platform.context.loaded  # noqa: B018 - the server is used
    soon(lambda: TAIL.number > 0)
    soon(lambda: "/api/v1/runs" in http.get("/log", params={"after": seen, "requests": 1}).text)
    assert "/api/v1/runs" not in http.get("/log", params={"after": seen}).text


def test_log_parameters_are_checked(http: httpx2.Client) -> None:
    for params in ({"level": "loud"}, {"limit": 0}, {"after": "zzz"}, {"after": "bm9uZQ"}):
        problem(http.get("/log", params=params), 400, "invalid_input")


def test_old_lines_make_room_and_that_is_told() -> None:
    tail = LogTail(most=3)
    for number in range(5):
        tail.keep({"event": f"line {number}", "level": "info"})
    lines, lost = tail.after(None, level="debug", limit=10)
    assert [line.event for line in lines] == ["line 2", "line 3", "line 4"]
    assert lost == 0
    lines, lost = tail.after(1, level="debug", limit=2)
    assert ([line.event for line in lines], lost) == (["line 2", "line 3"], 1)


def test_plug_ins_are_listed_with_schemas_of_which_a_form_can_be_made(http: httpx2.Client) -> None:
    found = http.get("/plugins", params={"kind": "predictors"}).json()
    assert found["next"] is None
    names = {each["name"]: each for each in found["items"]}
    assert names["line-counter"]["schema"]["required"] == ["of", "lines"]
    assert names["line-counter"]["title"]
    own = http.get("/plugins", params={"case": "threshold_alert"}).json()["items"]
    assert any(each["package"] == "the case" for each in own)
    assert http.get("/plugins").json()["items"]
    problem(http.get("/plugins", params={"case": "nowhere"}), 404, "case_not_found")


def test_the_schema_of_a_manifest_names_every_plug_in(http: httpx2.Client) -> None:
    schema = http.get("/cases/schema").json()
    assert schema["$schema"].startswith("https://json-schema.org/draft/2020-12")
    assert schema["properties"].keys() >= {"source", "sources", "stages", "sinks"}
    assert "predictors.detector" in schema["$defs"]
