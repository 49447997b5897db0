"""What is written down, over HTTP: cases, events, keys, requests, sources."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.api.conftest import problem, soon
from tests.serve.conftest import write_case
from tests.servers import RunningServer, serving

from sightline.build.folders import SHIPPED
from sightline.core.access import Scope
from sightline.core.events import make_event, source_uri
from sightline.serve.auth.keys import new_key

STREET = SHIPPED / "street_people/street.mp4"
T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def told(server: RunningServer) -> list[str]:
    """Events of two cases whose names begin alike, told one second apart."""
    events = [
        make_event(
            "line.crossed" if number % 2 else "zone.entered",
            source=source_uri("door" if number % 3 else "doors", "main" if number % 2 else "side"),
            subject=f"track/{number % 2}",
            time=T0 + timedelta(seconds=number),
            data={"number": number},
        )
        for number in range(12)
    ]
    server.platform.context.store.events.append(events)
    return [event.id for event in events]


def numbers(http: httpx2.Client, **params: Any) -> list[int]:
    answer = http.get("/events", params={"until": "2026-02-01T00:00:00Z", **params})
    assert answer.status_code == 200, answer.text
    return [event["data"]["number"] for event in answer.json()["items"]]


@pytest.mark.usefixtures("told")
def test_events_are_filtered(http: httpx2.Client) -> None:
    assert numbers(http) == list(range(11, -1, -1))
    assert numbers(http, order="asc") == list(range(12))
    assert numbers(http, case="doors", order="asc") == [0, 3, 6, 9]
    assert numbers(http, case="door", order="asc", limit=3) == [1, 2, 4]
    assert numbers(http, case="door", source="main", order="asc") == [1, 5, 7, 11]
    assert numbers(http, type="line.crossed", order="asc") == [1, 3, 5, 7, 9, 11]
    assert numbers(http, type=["line.crossed", "zone.entered"]) == numbers(http, type="line.crossed,zone.entered")
    assert numbers(http, subject="track/0", order="asc") == [0, 2, 4, 6, 8, 10]
    assert numbers(http, since="2026-01-02T03:04:10Z", order="asc") == [5, 6, 7, 8, 9, 10, 11]
    assert numbers(http, until="2026-01-02T04:04:07+01:00", order="asc") == [0, 1]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_events_come_in_pages(http: httpx2.Client, order: str) -> None:
    seen: list[int] = []
    params: dict[str, Any] = {"case": "door", "order": order, "limit": 3, "until": "2026-02-01T00:00:00Z"}
    for _ in range(10):
        page = http.get("/events", params=params).json()
        seen += [event["data"]["number"] for event in page["items"]]
        if page["next"] is None:
            break
        params["after"] = page["next"]
    assert sorted(seen) == [1, 2, 4, 5, 7, 8, 10, 11]
    assert seen == sorted(seen, reverse=order == "desc")


@pytest.mark.parametrize(
    "params",
    [
        {"source": "main"},
        {"type": "Nonsense!"},
        {"since": "yesterday"},
        {"after": "????"},
        {"after": "LTE"},
        {"after": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"},
        {"limit": "many"},
        {"order": "up"},
        {"subject": "\0"},
        {"case": "\0"},
    ],
)
def test_wrong_filters_are_the_callers_mistake(http: httpx2.Client, params: dict[str, str]) -> None:
    problem(http.get("/events", params=params), 400, "invalid_input")


def test_a_key_is_made_shown_once_and_revoked(http: httpx2.Client) -> None:
    made = http.post("/keys", json={"name": "door", "scopes": ["read"], "expires": "2100-01-01T00:00:00Z"})
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    key, id_ = made.json()["key"], made.json()["id"]
    assert key.startswith(f"sl_{id_}_")
    listed = http.get("/keys")
    assert key not in listed.text
    [row] = [row for row in listed.json()["items"] if row["id"] == id_]
    assert (row["scopes"], row["state"], row["expires"]) == (["read"], "valid", "2100-01-01T00:00:00.000000Z")
    assert http.delete(f"/keys/{id_}").json()["state"] == "revoked"
    problem(http.delete("/keys/nowhere"), 404, "not_found")
    problem(http.post("/keys", json={"name": "x", "scopes": []}), 400, "invalid_input")
    problem(http.post("/keys", json={"name": "x", "expires": "2001-01-01T00:00:00Z"}), 400, "invalid_input")
    problem(http.post("/keys", json={"name": "x", "expires": "9999-12-31T23:59:59-23:00"}), 400, "invalid_input")


def test_answered_requests_are_listed(http: httpx2.Client) -> None:
    problem(http.get("/cases/unheard-of"), 404, "case_not_found")
    params: dict[str, Any] = {"route": "/api/v1/cases/{case}", "least_status": 400}
    soon(lambda: bool(http.get("/requests", params=params).json()["items"]))
    first = http.get("/requests", params={"limit": 2}).json()
    second = http.get("/requests", params={"limit": 2, "after": first["next"]}).json()
    assert len({row["id"] for row in first["items"] + second["items"]}) == 4
    assert first["items"][0]["time"].endswith("Z")
    problem(http.get("/requests", params={"least_status": 7}), 400, "invalid_input")


def test_an_address_is_probed(http: httpx2.Client) -> None:
    seen = http.post("/sources/probe", json={"url": str(STREET)}).json()
    assert (seen["width"], seen["height"], seen["codec"]) == (768, 576, "h264")
    problem(http.post("/sources/probe", json={"url": "rtsp://u:geheim@127.0.0.1:9/"}), 503, "source_unreachable")
    problem(http.post("/sources/probe", json={"url": "a\0b"}), 400, "invalid_input")
    problem(http.post("/sources/probe", json={"url": "/nowhere/at/all.mp4"}), 404, "file_missing")


BROKEN = "stages: {analytics: {light: {use: brightnes}}}\nsource: {use: synthetic}\n"
FINE = """\
title: Ours
sources:
  door: {use: video, url: "rtsp://ann:geheim@camera/door"}
stages: {analytics: {light: {use: brightness}}}
"""


@pytest.mark.parametrize("wanted", [(), ("dummy_offline",)])
def test_cases_are_listed_with_what_is_wrong_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path, "broken", BROKEN)
    folder = write_case(tmp_path, "fine", FINE)
    with serving(tmp_path, wanted) as server, httpx2.Client(base_url=f"{server.url}/api/v1", timeout=20) as http:
        page = http.get("/cases", params={"limit": 3}).json()
        rest = http.get("/cases", params={"after": page["next"]}).json()
        cases = {case["name"]: case for case in page["items"] + rest["items"]}
        assert list(cases) == sorted(cases)
        assert {"broken", "fine", "street_people", "dummy_offline"} <= cases.keys()
        assert [each["code"] for each in cases["broken"]["problems"]] == ["unknown_plugin"]
        assert "case.yaml:1" in cases["broken"]["problems"][0]["message"]
        fine = cases["fine"]
        assert (fine["title"], fine["sources"], fine["stages"]) == ("Ours", ["door"], {"analytics": ["light"]})
        assert fine["problems"] == []
        assert {name for name, case in cases.items() if case["served"]} == (set(wanted) or cases.keys())
        assert {name for name, case in cases.items() if not case["streams"]} == {"brain_segmentation"} & cases.keys()
        shown = http.get("/cases/fine")
        assert "geheim" not in shown.text
        assert shown.json()["manifest"]["sources"]["door"] == {"use": "video", "url": "rtsp://***@camera/door"}
        (folder / "case.yaml").write_text(BROKEN)
        assert http.get("/cases/fine").json()["problems"]  # an edit counts at once


def test_keys_and_scopes_decide(tmp_path: Path) -> None:
    with serving(tmp_path, auth__mode="on") as server:
        keys = {}
        for scope in Scope:
            keys[scope], kept = new_key(scope.value, [scope], project="ours")
            server.platform.context.store.keys.add(kept)

        def asked(method: str, path: str, scope: Scope | None = None, **how: Any) -> httpx2.Response:
            headers = {"x-api-key": keys[scope]} if scope else {}
            return httpx2.request(method, f"{server.url}{path}", headers=headers, **how)

        soon(lambda: asked("GET", "/api/v1/runs", Scope.READ).status_code == 200)
        problem(asked("GET", "/api/v1/runs"), 401, "unauthenticated")
        problem(asked("GET", "/api/v1/keys", Scope.MANAGE), 403, "forbidden")
        assert asked("GET", "/api/v1/keys", Scope.ADMIN).status_code == 200
        problem(asked("POST", "/api/v1/runs", Scope.READ, json={"case": "dummy_offline"}), 403, "forbidden")
        for page in ("/docs", "/openapi.json", "/docs/errors"):
            assert asked("GET", page).status_code == 200

        path = {"name": "here", "file": {"path": str(SHIPPED.parent / "zoo/nanodet-m.onnx")}}
        problem(asked("POST", "/api/v1/models", Scope.MANAGE, json=path), 403, "forbidden")
        assert asked("POST", "/api/v1/models", Scope.ADMIN, json=path).status_code == 201

        foreign = {"case": "dummy_offline", "sources": {"a": {"use": "this:that"}}}
        problem(asked("POST", "/api/v1/runs", Scope.MANAGE, json=foreign), 403, "forbidden")
        server.platform.context.artifacts.put("uploads/a.jpg", b"x")
        job: dict[str, Any] = {"case": "resnet50_classification", "object": "uploads/a.jpg"}
        theirs = {**job, "parameters": {"on_error": "continue"}}  # of a sink
        problem(asked("POST", "/api/v1/runs", Scope.MANAGE, json=theirs), 403, "forbidden")
        assert asked("POST", "/api/v1/runs", Scope.ADMIN, json=theirs).status_code == 202
        ours = {**job, "parameters": {"top_k": 2}}
        assert asked("POST", "/api/v1/runs", Scope.MANAGE, json=ours).status_code == 202

        wish = {"case": "dummy_offline", "sources": {"a": {"use": "synthetic", "num_frames": 1}}}
        assert asked("POST", "/api/v1/runs", Scope.MANAGE, json=wish).json()["project"] == "ours"
