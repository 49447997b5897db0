"""Runs over HTTP: started, listed, stopped, and their sources changed one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.serve.api.conftest import problem, soon
from tests.serve.conftest import STREET
from tests.servers import RunningServer

from sightline.core.run import Run, RunState

DRAWN = {"use": "synthetic", "fps": 20, "realtime": True}


@pytest.fixture
def run(http: httpx2.Client) -> Iterator[str]:
    """A run of one source that does not end."""
    answer = http.post("/runs", json={"case": "dummy_offline", "sources": {"door": DRAWN}, "stands": True})
    assert answer.status_code == 201, answer.text
    yield answer.json()["id"]
    http.delete(f"/runs/{answer.json()['id']}")


def read(http: httpx2.Client, run: str, source: str) -> dict[str, Any]:
    status: dict[str, Any] = http.get(f"/runs/{run}/sources/{source}").json()["status"] or {}
    return status


def test_a_run_is_started_seen_and_stopped(http: httpx2.Client) -> None:
    wish = {"case": "dummy_offline", "sources": {"door": DRAWN}, "metadata": {"site": "lab"}, "stands": True}
    begun = http.post("/runs", json=wish)
    assert begun.status_code == 201, begun.text
    where = begun.headers["location"]
    run = where.rpartition("/")[2]
    assert where == f"/api/v1/runs/{run}"
    assert begun.headers["etag"] == '"1"'
    assert begun.json()["metadata"] == {"site": "lab"}
    soon(lambda: http.get(f"/runs/{run}").json()["status"]["sources"]["door"]["processed"] > 3)
    assert http.get(f"/runs/{run}").json()["here"] is True
    stopped = http.post(f"/runs/{run}/stop")
    assert (stopped.status_code, stopped.json()["cancelling"]) == (202, True)
    soon(lambda: http.get(f"/runs/{run}").json()["state"] == "cancelled")
    assert http.get(f"/runs/{run}").json()["here"] is False
    again = http.delete(f"/runs/{run}")
    assert (again.status_code, again.json()["state"]) == (202, "cancelled")


def test_a_run_ends_by_itself_when_its_time_is_over(http: httpx2.Client) -> None:
    run = http.post("/runs", json={"case": "dummy_offline", "sources": {"a": DRAWN}, "duration_s": 0.3}).json()["id"]
    soon(lambda: http.get(f"/runs/{run}").json()["state"] == "completed")


def test_a_run_of_a_file_ends_with_it_and_one_without_sources_stands(http: httpx2.Client) -> None:
    short = {"use": "synthetic", "num_frames": 3}
    file = http.post("/runs", json={"case": "dummy_offline", "sources": {"a": short}}).json()["id"]
    empty = http.post("/runs", json={"case": "dummy_offline", "sources": {}}).json()["id"]
    soon(lambda: http.get(f"/runs/{file}").json()["state"] == "completed")
    assert http.get(f"/runs/{empty}").json()["state"] == "running"
    assert [http.get(f"/runs/{each}").json()["stands"] for each in (file, empty)] == [False, True]
    assert http.post(f"/runs/{empty}/sources", json={"id": "late", "source": DRAWN}).status_code == 201
    soon(lambda: read(http, empty, "late").get("processed", 0) > 1)
    http.delete(f"/runs/{empty}")


def test_one_source_is_added_changed_and_removed_and_the_other_goes_on(http: httpx2.Client, run: str) -> None:
    soon(lambda: read(http, run, "door").get("processed", 0) > 2)
    added = http.post(f"/runs/{run}/sources", json={"id": "yard", "source": {**DRAWN, "fps": 5}})
    assert added.status_code == 201, added.text
    assert added.headers["location"] == f"/api/v1/runs/{run}/sources/yard"
    soon(lambda: read(http, run, "yard").get("processed", 0) > 0)
    changed = http.put(f"/runs/{run}/sources/yard", json={"source": {**DRAWN, "fps": 11}})
    assert changed.json()["source"]["fps"] == 11
    assert changed.json()["status"] == {"state": "connecting"}
    soon(lambda: read(http, run, "yard").get("epoch", 0) == 2)
    listed = http.get(f"/runs/{run}/sources").json()
    assert [each["id"] for each in listed["items"]] == ["door", "yard"]
    rows = http.get("/sources", params={"run": run}).json()["items"]
    assert {(row["source"], row["case"]) for row in rows} == {("door", "dummy_offline"), ("yard", "dummy_offline")}
    removed = http.delete(f"/runs/{run}/sources/yard")
    assert (removed.status_code, removed.content) == (204, b"")
    assert int(removed.headers["etag"].strip('"')) == int(added.headers["etag"].strip('"')) + 2
    problem(http.get(f"/runs/{run}/sources/yard"), 404, "not_found")
    before = read(http, run, "door")
    assert (before["epoch"], before["reconnects"], before["state"]) == (1, 0, "live")
    soon(lambda: read(http, run, "door")["processed"] > before["processed"])


def test_who_has_seen_an_old_revision_changes_nothing(http: httpx2.Client, run: str) -> None:
    seen = http.get(f"/runs/{run}/sources").headers["etag"]
    new = {"id": "yard", "source": DRAWN}
    first = http.post(f"/runs/{run}/sources", json=new, headers={"if-match": seen})
    assert first.status_code == 201
    for answer in (
        http.put(f"/runs/{run}/sources/yard", json={"source": DRAWN}, headers={"if-match": seen}),
        http.delete(f"/runs/{run}/sources/yard", headers={"if-match": seen}),
        http.post(f"/runs/{run}/sources", json={**new, "id": "roof"}, headers={"if-match": '"nonsense"'}),
    ):
        problem(answer, 412, "stale")
    assert [each["id"] for each in http.get(f"/runs/{run}/sources").json()["items"]] == ["door", "yard"]
    newest = {"if-match": f'W/"7", {first.headers["etag"]}'}
    assert http.delete(f"/runs/{run}/sources/yard", headers=newest).status_code == 204


def test_passwords_are_not_shown_again(http: httpx2.Client, run: str) -> None:
    secret = {"use": "video", "url": "rtsp://ann:geheim@127.0.0.1:9/door"}
    added = http.post(f"/runs/{run}/sources", json={"id": "far", "source": secret})
    assert added.status_code == 201, added.text
    shown = [added.text, http.get(f"/runs/{run}").text, http.get(f"/runs/{run}/sources").text]
    shown += [http.get("/sources").text, http.get("/runs").text, http.get("/events", params={"limit": 1000}).text]
    assert all("geheim" not in text for text in shown)
    assert added.json()["source"]["url"] == "rtsp://***@127.0.0.1:9/door"
    hidden = http.put(f"/runs/{run}/sources/far", json={"source": added.json()["source"]})
    assert "hidden" in problem(hidden, 422, "config")["detail"]


def test_the_one_source_of_a_case_is_replaced_by_an_entry_as_in_a_manifest(http: httpx2.Client) -> None:
    begun = http.post("/runs", json={"case": "dummy_offline", "source": {**DRAWN, "num_frames": 3}})
    assert begun.status_code == 201, begun.text
    assert begun.json()["spec"]["sources"]["main"]["num_frames"] == 3
    soon(lambda: http.get(f"/runs/{begun.json()['id']}").json()["state"] == "completed")


def test_a_run_that_stands_plays_files_in_real_time_again_and_again(http: httpx2.Client) -> None:
    wish = {"case": "street_people", "source": str(STREET), "stands": True}
    standing = http.post("/runs", json=wish).json()
    added = http.post(f"/runs/{standing['id']}/sources", json={"id": "yard", "source": str(STREET)}).json()
    http.delete(f"/runs/{standing['id']}")
    for source in (standing["spec"]["sources"]["main"], added["source"]):
        assert (source["loop"], source["realtime"]) == (True, True)


def test_what_a_run_does_not_have_is_told_with_where_to_look(http: httpx2.Client, run: str) -> None:
    assert "/api/v1/runs" in problem(http.get("/runs/nowhere"), 404, "not_found")["cure"]
    for answer in (http.get(f"/runs/{run}/sources/roof"), http.delete(f"/runs/{run}/sources/roof")):
        assert "Add" not in problem(answer, 404, "not_found")["cure"]
    assert "POST" in problem(http.put(f"/runs/{run}/sources/roof", json={"source": DRAWN}), 404, "not_found")["cure"]


def test_what_cannot_be_started_is_told(http: httpx2.Client) -> None:
    def refused(status: int, code: str, **wish: Any) -> str:
        detail: str = problem(http.post("/runs", json={"case": "dummy_offline", **wish}), status, code)["detail"]
        return detail

    assert "'nowhere'" in refused(404, "case_not_found", case="nowhere")
    nearly = problem(http.post("/runs", json={"case": "dummy_ofline"}), 404, "case_not_found")
    assert nearly["cure"] == "Did you mean 'dummy_offline'?"
    assert refused(404, "case_not_found", case="src/sightline/cases/dummy_offline")
    assert "vidoe" in refused(422, "unknown_plugin", sources={"a": {"use": "vidoe"}})
    assert "fsp" in refused(422, "config", sources={"a": {"use": "synthetic", "fsp": 3}})
    assert "both" in refused(400, "invalid_input", source="x.mp4", sources={"a": "y.mp4"})
    assert "id of a source" in refused(400, "invalid_input", sources={"../a": DRAWN})
    assert "duration_s" in refused(400, "invalid_input", duration_s=-1)
    soon(lambda: http.get("/runs", params={"state": "running"}).json()["items"] == [])


def test_a_wrong_body_is_told_part_by_part(http: httpx2.Client) -> None:
    document = problem(http.post("/runs", json={"case": 7, "metadata": [], "cas": ""}), 400, "invalid_input")
    assert {tuple(error["loc"]) for error in document["errors"]} == {
        ("body", "case"),
        ("body", "metadata"),
        ("body", "cas"),
    }
    assert all(error["message"] for error in document["errors"])


def test_a_place_in_a_body_is_told_in_the_words_of_the_body(http: httpx2.Client) -> None:
    document = problem(http.post("/runs", json={"case": "dummy_offline", "source": 7}), 400, "invalid_input")
    assert {tuple(error["loc"]) for error in document["errors"]} == {("body", "source")}
    assert document["detail"].startswith("body.source: ")
    wrong = problem(http.post("/runs", json={"case": "dummy_offline", "sources": {"a": 7}}), 400, "invalid_input")
    assert {tuple(error["loc"]) for error in wrong["errors"]} == {("body", "sources", "a")}
    missing = problem(http.post("/runs", json={}), 400, "invalid_input")
    assert [error["loc"] for error in missing["errors"]] == [["body", "case"]]
    labels = problem(http.post("/models", json={"labels": [7]}), 400, "invalid_input")
    assert ["body", "labels", 0] in [error["loc"] for error in labels["errors"]]


def test_a_body_without_a_type_is_json_and_one_of_another_type_is_refused(http: httpx2.Client) -> None:
    body = b'{"case": "nowhere"}'
    problem(http.post("/runs", content=body), 404, "case_not_found")
    form = {"content-type": "application/x-www-form-urlencoded"}
    refused = problem(http.post("/runs", content=body, headers=form), 415, "wrong_media_type")
    assert "application/json" in refused["cure"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b'{"case":"\xff"}',
        b"[" * 100_000,
        b'{"case":' + b"9" * 5000 + b"}",
        b'{"case":"\\ud800"}',
    ],
)
def test_damaged_json_is_the_callers_mistake(http: httpx2.Client, body: bytes) -> None:
    answer = http.post("/runs", content=body, headers={"content-type": "application/json"})
    problem(answer, 400, "invalid_input")


def test_runs_are_listed_in_pages_with_filters(http: httpx2.Client) -> None:
    short = {"use": "synthetic", "num_frames": 1}
    made = [http.post("/runs", json={"case": "dummy_offline", "sources": {"a": short}}).json()["id"] for _ in range(5)]
    soon(lambda: http.get("/runs", params={"state": "running"}).json()["items"] == [])
    seen: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = http.get("/runs", params={"case": "dummy_offline", "kind": "stream", "limit": 2, **after}).json()
        assert len(page["items"]) <= 2
        seen += [run["id"] for run in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen[:5] == made[::-1]
    assert len(set(seen)) == len(seen)
    assert http.get("/runs", params={"case": "other"}).json() == {"items": [], "next": None}
    for params in ({"after": "zzz"}, {"after": "bm9uZQ"}, {"limit": 0}, {"limit": 10**30}, {"state": "gone"}):
        problem(http.get("/runs", params=params), 400, "invalid_input")


def test_a_run_of_another_process_is_ended_and_changed_by_its_record(
    server: RunningServer, http: httpx2.Client
) -> None:
    store = server.platform.context.store.runs
    record = Run(case="dummy_offline", spec={"sources": {"door": {"use": "synthetic"}}})
    store.create(record, worker="elsewhere")
    added = http.post(f"/runs/{record.id}/sources", json={"id": "yard", "source": DRAWN}, headers={"if-match": '"1"'})
    assert added.status_code == 201, added.text
    assert store.get(record.id).spec["sources"].keys() == {"door", "yard"}
    secret = {"id": "far", "source": "rtsp://ann:geheim@camera/door"}
    problem(http.post(f"/runs/{record.id}/sources", json=secret), 409, "conflict")
    assert http.delete(f"/runs/{record.id}/sources/door").status_code == 204
    assert store.get(record.id).spec["sources"].keys() == {"yard"}
    assert http.delete(f"/runs/{record.id}").status_code == 202
    assert store.get(record.id).cancelling
    store.finish(record.id, 1, RunState.CANCELLED, status={})
    problem(http.post(f"/runs/{record.id}/sources", json={"id": "new", "source": DRAWN}), 409, "conflict")


@pytest.mark.parametrize("name", ["%00", "..%2f..", "a" * 200, "%F0%9F%98%80", "-", "nowhere"])
@pytest.mark.parametrize("path", ["/runs/{}", "/runs/{}/sources", "/runs/{}/sources/x", "/cases/{}", "/models/{}"])
def test_names_that_nothing_has_are_not_found(http: httpx2.Client, path: str, name: str) -> None:
    answer = http.get(path.format(name))
    assert answer.status_code in (400, 404), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_method_that_is_not_taken_says_which_are(http: httpx2.Client) -> None:
    answer = http.patch("/runs")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"
