"""Manifests over HTTP: read as they are, checked while one types, written whole, and taken by requests and runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.api.conftest import problem, soon
from tests.servers import RunningServer

PHOTO = Path(__file__).parents[2] / "data/photos/castle.jpg"
TEXT = """\
# A door, watched.
title: A door.
source: {use: synthetic, fps: 20, realtime: true}
stages:
  analytics:
    light: {use: brightness}
"""
YAML = {"content-type": "text/yaml"}


@pytest.fixture
def folder(server: RunningServer) -> Path:
    return server.platform.context.loaded.folder / "cases"


@pytest.fixture
def door(http: httpx2.Client) -> Iterator[str]:
    """A case of one's own, made anew for each test."""
    name = f"door{time.monotonic_ns()}"
    made = http.post("/cases", json={"name": name, "manifest": TEXT})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"/api/v1/cases/{name}"
    yield name
    for run in http.get("/runs", params={"case": name}).json()["items"]:
        http.delete(f"/runs/{run['id']}")


def put(http: httpx2.Client, case: str, text: str | bytes, etag: str | None) -> httpx2.Response:
    seen = {} if etag is None else {"if-match": etag}
    return http.put(f"/cases/{case}/manifest", content=text, headers={**YAML, **seen})


def etag_of(http: httpx2.Client, case: str) -> str:
    return str(http.get(f"/cases/{case}/manifest").headers["etag"])


def test_a_manifest_is_read_as_it_is_and_changed_by_who_has_seen_it(
    http: httpx2.Client, door: str, folder: Path
) -> None:
    read = http.get(f"/cases/{door}/manifest")
    assert (read.status_code, read.text) == (200, TEXT)
    assert read.headers["content-type"] == "text/yaml; charset=utf-8"
    assert read.headers["x-manifest-writable"] == "yes"
    changed = TEXT.replace("A door.", "${SITE:-A gate}, ${USER_OF_CAMERA:-}")

    saved = put(http, door, changed, read.headers["etag"])

    assert saved.status_code == 200, saved.text
    assert (folder / door / "case.yaml").read_text() == changed
    assert saved.headers["etag"] == saved.json()["etag"] == etag_of(http, door) != read.headers["etag"]
    assert http.get(f"/cases/{door}/manifest").text == changed  # variables stay as they were written
    assert http.get(f"/cases/{door}").json()["manifest"]["title"].startswith("${SITE")


def test_of_two_who_edit_the_second_is_told_and_nothing_is_lost(http: httpx2.Client, door: str) -> None:
    seen = etag_of(http, door)
    texts = [TEXT.replace("A door.", f"By writer {number}.") for number in range(8)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda text: put(http, door, text, seen), texts))

    assert sorted(answer.status_code for answer in answers) == [200] + 7 * [412]
    [won] = [text for text, answer in zip(texts, answers, strict=True) if answer.status_code == 200]
    assert http.get(f"/cases/{door}/manifest").text == won
    problem(put(http, door, TEXT, seen), 412, "stale")
    problem(put(http, door, TEXT, None), 428, "unseen")
    assert http.get(f"/cases/{door}/manifest").text == won
    assert put(http, door, TEXT, "*").status_code == 200


def test_a_wrong_text_is_told_whole_and_not_written(http: httpx2.Client, door: str) -> None:
    wrong = TEXT.replace("fps: 20", "fps: often").replace("brightness", "brightnes")
    document = problem(put(http, door, wrong, etag_of(http, door)), 422, "config")

    assert [(each["line"], each["loc"]) for each in document["errors"]] == [
        (3, "source.fps"),
        (6, "stages.analytics.light.use"),
    ]
    assert all(each["column"] and each["message"] and each["cure"] for each in document["errors"])
    assert http.get(f"/cases/{door}/manifest").text == TEXT


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"\xff\xfe", "text/yaml", 400),
        (b"# " + b"x" * (300 << 10), "text/yaml", 413),
        (b"{}", "application/json", 415),
        (b"", "text/yaml", 422),
        (b"a: &a [*a]", "text/yaml", 422),
        (b"x: " + b"[" * 5000, "text/yaml", 422),
        (b"a: !!python/object/apply:os.system ['true']", "text/yaml", 422),
    ],
)
def test_what_is_no_manifest_is_refused(http: httpx2.Client, door: str, body: bytes, kind: str, status: int) -> None:
    headers = {"content-type": kind, "if-match": "*"}
    answer = http.put(f"/cases/{door}/manifest", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert http.get(f"/cases/{door}/manifest").text == TEXT


def test_a_model_that_nobody_knows_yet_keeps_nothing_from_being_saved(http: httpx2.Client, door: str) -> None:
    text = TEXT + "    people: {use: detector, model: to-be-added}\n"
    saved = put(http, door, text, "*")
    assert saved.status_code == 200, saved.text
    assert [each["loc"] for each in saved.json()["warnings"]] == ["stages.analytics.people.model"]


def test_a_shipped_case_is_kept_as_a_copy_that_goes_first(http: httpx2.Client, folder: Path) -> None:
    read = http.get("/cases/threshold_alert/manifest")
    assert read.headers["x-manifest-writable"] == "copy"
    saved = put(http, "threshold_alert", read.text + "# mine\n", read.headers["etag"])
    assert saved.status_code == 200, saved.text
    assert saved.json()["origin"] == "./cases"
    assert (folder / "threshold_alert/plugins.py").is_file()
    again = http.get("/cases/threshold_alert/manifest")
    assert again.text.endswith("# mine\n")
    assert again.headers["x-manifest-writable"] == "yes"
    assert http.get("/cases/threshold_alert").json()["origin"] == "./cases"


def test_a_name_is_taken_once_and_is_no_path(http: httpx2.Client, door: str) -> None:
    problem(http.post("/cases", json={"name": door, "manifest": TEXT}), 409, "conflict")
    problem(http.post("/cases", json={"name": "street_people", "manifest": TEXT}), 409, "conflict")
    for name in ("../out", "a/b", ".hidden", "CON"):
        problem(http.post("/cases", json={"name": name, "manifest": TEXT}), 400, "invalid_input")
    refused = http.post("/cases", json={"name": "wrong", "manifest": "stages: 3\n"})
    assert problem(refused, 422, "config")["errors"]
    problem(http.get("/cases/wrong"), 404, "case_not_found")
    problem(put(http, "nowhere", TEXT, "*"), 404, "case_not_found")


def test_a_text_is_checked_without_being_saved(http: httpx2.Client, door: str) -> None:
    def checked(text: str, **more: Any) -> dict[str, Any]:
        answer = http.post("/cases/check", json={"manifest": text, **more})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    assert checked(TEXT) == checked(TEXT, case=door) == checked(TEXT, case="new-one") == {"ok": True, "problems": []}
    [found] = checked("stages: {analytics: {a: {use: nothing}}}", case=door)["problems"]
    assert (found["line"], found["column"], found["loc"]) == (1, 26, "stages.analytics.a.use")
    assert checked(TEXT + "    p: {use: detector, model: nobody}\n")["ok"] is True
    assert http.get(f"/cases/{door}/manifest").text == TEXT
    problem(http.post("/cases/check", json={"manifest": "x" * (300 << 10)}), 413, "too_large")
    problem(http.post("/cases/check", json={"manifest": 3}), 400, "invalid_input")


def test_a_check_answers_while_one_types(http: httpx2.Client) -> None:
    text = http.get("/cases/street_people/manifest").text
    seconds = []
    for _ in range(10):
        begin_s = time.process_time()  # the server is in this process; others on the machine do not count
        assert http.post("/cases/check", json={"manifest": text, "case": "street_people"}).json()["ok"]
        seconds.append(time.process_time() - begin_s)
    assert sorted(seconds)[5] < 0.1


def test_the_next_request_is_answered_by_what_was_saved(server: RunningServer, http: httpx2.Client, door: str) -> None:
    def keys() -> list[str]:
        answer = httpx2.post(
            f"{server.url}/predict", params={"case": door}, content=PHOTO.read_bytes(),
            headers={"content-type": "image/jpeg"}, timeout=20,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return list(answer.json()["predictions"])

    assert keys() == ["light"]
    assert put(http, door, TEXT.replace("light:", "shine:"), "*").status_code == 200
    assert keys() == ["shine"]


def test_a_run_takes_new_sources_one_by_one_and_tells_what_needs_a_restart(http: httpx2.Client, door: str) -> None:
    two = TEXT.replace(
        "source: {use: synthetic, fps: 20, realtime: true}", "sources:\n  a: {use: synthetic, fps: 20}\n"
    )
    two = two.replace("stages:", "  b: {use: synthetic, fps: 20}\nstages:")
    assert put(http, door, two, "*").status_code == 200
    run = http.post("/runs", json={"case": door, "stands": True}).json()["id"]

    def seen(source: str) -> dict[str, Any]:
        found: dict[str, Any] = http.get(f"/runs/{run}/sources/{source}").json().get("status") or {}
        return found

    soon(lambda: seen("a").get("processed", 0) > 3 and seen("b").get("processed", 0) > 3)
    http.post(f"/runs/{run}/sources", json={"id": "mine", "source": {"use": "synthetic", "fps": 3}})
    new = two.replace("  b: {use: synthetic, fps: 20}", "  b: {use: synthetic, fps: 11}\n  c: {use: synthetic}")

    saved = put(http, door, new, "*").json()

    assert saved["runs"] == [{"run": run, "sources": ["b", "c"], "needs_restart": "", "error": ""}]
    soon(lambda: seen("b").get("epoch") == 2 and seen("c").get("processed", 0) > 0)
    assert (seen("a")["epoch"], seen("mine")["state"]) == (1, "live")
    assert http.get(f"/runs/{run}/sources/b").json()["source"]["fps"] == 11

    saved = put(http, door, new.replace("light: {use: brightness}", "shine: {use: brightness}"), "*").json()
    [told] = saved["runs"]
    assert told["sources"] == []
    assert "stages" in told["needs_restart"]
    assert http.get(f"/runs/{run}").json()["needs_restart"] == told["needs_restart"]
    before = seen("a")["processed"]

    again = http.post(f"/runs/{run}/restart")

    assert again.status_code == 200, again.text
    assert (again.json()["id"], again.json()["needs_restart"]) == (run, "")
    soon(lambda: seen("a").get("epoch", 0) > 10_000 and seen("a")["processed"] > before)
    assert {each["id"] for each in http.get(f"/runs/{run}/sources").json()["items"]} == {"a", "b", "c", "mine"}
    http.post(f"/runs/{run}/stop")
    soon(lambda: http.get(f"/runs/{run}").json()["state"] == "cancelled")
    problem(http.post(f"/runs/{run}/restart"), 409, "conflict")


def test_a_run_with_sources_of_its_own_keeps_them(http: httpx2.Client, door: str) -> None:
    own = {"use": "synthetic", "fps": 7, "realtime": True}
    run = http.post("/runs", json={"case": door, "sources": {"yard": own}}).json()["id"]
    saved = put(http, door, TEXT.replace("fps: 20", "fps: 5"), "*").json()
    assert saved["runs"] == [{"run": run, "sources": [], "needs_restart": "", "error": ""}]
    assert [each["id"] for each in http.get(f"/runs/{run}/sources").json()["items"]] == ["yard"]


def test_a_restart_with_a_broken_case_leaves_the_run_as_it_was(http: httpx2.Client, door: str, folder: Path) -> None:
    run = http.post("/runs", json={"case": door}).json()["id"]
    (folder / door / "case.yaml").write_text("stages: 3\n")
    problem(http.post(f"/runs/{run}/restart"), 422, "config")
    found = http.get(f"/runs/{run}").json()
    assert (found["state"], found["here"]) == ("running", True)


def test_runs_tell_what_a_page_of_runs_needs(http: httpx2.Client, door: str) -> None:
    run = http.post("/runs", json={"case": door}).json()["id"]
    soon(lambda: http.get(f"/runs/{run}").json()["counts"]["processed"] > 2)
    found = http.get(f"/runs/{run}").json()
    assert found["counts"] | {"read": 0, "processed": 0} == {
        "sources": 1, "live": 1, "read": 0, "processed": 0, "reconnects": 0, "dropped": 0, "rejected": 0, "failed": 0,
    }  # fmt: skip
    assert found["duration_s"] > 0
    assert (found["restart"], found["error"], found["cure"], found["waiting"]) == ("always", None, "", "")
    gone = {"use": "video", "url": "/nowhere/at/all.mp4"}
    failed = http.post("/runs", json={"case": door, "sources": {"a": gone}}).json()["id"]
    soon(lambda: http.get(f"/runs/{failed}").json()["state"] == "failed")
    assert "all.mp4" in http.get(f"/runs/{failed}").json()["error"]
    assert http.get(f"/runs/{failed}").json()["cure"]
