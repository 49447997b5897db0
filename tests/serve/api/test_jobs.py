"""Jobs over HTTP: submitted once, watched, ended, tried again; what they made; and what they may not reach."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from tests.serve.api.conftest import problem, soon
from tests.serve.api.texts import write_texts
from tests.servers import RunningServer, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    write_texts(folder)
    with serving(folder, jobs__workers=1, jobs__retry_s=0.1) as running:
        artifacts = running.platform.context.artifacts
        artifacts.put("uploads/a.txt", b"one\nfour")
        artifacts.put("uploads/bad.txt", b"a bad one")
        artifacts.put("uploads/b/1.txt", b"x")
        artifacts.put("runs/other/1/result.txt", b"secret")
        yield running


def submitted(http: httpx2.Client, object_: str = "uploads/a.txt", key: str | None = None, **more: Any) -> str:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = http.post("/runs", json={"case": "texts", "object": object_, **more}, headers=headers)
    assert answer.status_code == 202, answer.text
    run: str = answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/runs/{run}"
    return run


def ended(http: httpx2.Client, run: str) -> dict[str, Any]:
    soon(lambda: http.get(f"/runs/{run}").json()["state"] in ("completed", "failed", "cancelled"))
    shown: dict[str, Any] = http.get(f"/runs/{run}").json()
    return shown


def test_a_job_is_submitted_watched_and_its_files_are_fetched(http: httpx2.Client) -> None:
    wish: dict[str, Any] = {"parameters": {"factor": 2}, "tags": {"who": "me"}, "priority": 3, "deadline_s": 60}
    run = ended(http, submitted(http, output="results/first", **wish))
    assert (run["state"], run["kind"], run["attempts"], run["priority"]) == ("completed", "job", 1, 3)
    assert run["status"]["progress"] == 1.0
    steps = {step["name"]: step["state"] for step in run["status"]["steps"]}
    assert steps == {"reading": "done", "length": "done", "page": "done", "publishing": "done"}
    assert (run["metadata"], run["error_kind"], run["queue"]["position"]) == ({"who": "me"}, "", 0)
    assert run["deadline"] is not None
    files = http.get(f"/runs/{run['id']}/files").json()["items"]
    assert files == [{"word": "page", "key": "results/first.html", "num_bytes": 25, "media_type": "text/html"}]
    got = http.get(f"/runs/{run['id']}/files/page")
    assert (got.text, got.headers["content-type"]) == ("<script>alert(2)</script>", "text/html; charset=utf-8")
    assert got.headers["content-disposition"] == 'attachment; filename="first.html"'  # no page of ours
    assert "sandbox" in got.headers["content-security-policy"]
    part = http.get(f"/runs/{run['id']}/files/page", headers={"Range": "bytes=8-13"})
    assert (part.status_code, part.text) == (206, "alert(")
    assert http.get("/objects/results/first.html").text == got.text
    document = problem(http.get(f"/runs/{run['id']}/files/mask"), 404, "not_found")
    assert "page" in document["detail"]


def test_what_happened_to_a_job_is_told(http: httpx2.Client) -> None:
    run = ended(http, submitted(http, "uploads/bad.txt"))
    assert (run["state"], run["error_kind"], run["attempts"]) == ("failed", "validation", 1)
    assert "A bad word" in run["error"]
    assert "another object" in run["cure"]
    assert http.get(f"/runs/{run['id']}/files").json()["items"] == []
    events = http.get(f"/runs/{run['id']}/events", params={"limit": 2}).json()
    rest = http.get(f"/runs/{run['id']}/events", params={"after": events["next"]}).json()
    types = [each["type"].split(".", 2)[2] for each in events["items"] + rest["items"]]
    assert types == ["run.submitted.v1", "run.started.v1", "run.failed.v1"]
    lines = http.get(f"/runs/{run['id']}/logs").json()["items"]
    assert [line["what"] for line in lines] == ["run.submitted", "run.started", "step.done", "run.failed"]
    assert lines[2]["step"] == "reading"
    assert lines[2]["seconds"] >= 0
    again = http.post(f"/runs/{run['id']}/retry")
    assert (again.status_code, again.json()["state"]) == (202, "submitted")
    assert ended(http, run["id"])["state"] == "failed"
    problem(http.post(f"/runs/{run['id']}/restart"), 409, "conflict")


def test_a_job_that_waits_knows_its_place_and_is_cancelled(http: httpx2.Client) -> None:
    first = submitted(http, parameters={"pause_s": 60})
    soon(lambda: http.get(f"/runs/{first}").json()["status"]["message"].startswith("part "))
    second, third = submitted(http), submitted(http)
    assert http.get(f"/runs/{third}").json()["queue"]["position"] == 2
    assert http.get(f"/runs/{second}").json()["queue"]["position"] == 1
    shown = http.get(f"/runs/{first}").json()
    assert (shown["state"], shown["status"]["stage"]) == ("running", "length")
    assert 0.25 <= shown["status"]["progress"] < 0.5
    for run, word in ((third, "cancel"), (first, "stop")):
        assert http.post(f"/runs/{run}/{word}").status_code == 202
        assert ended(http, run)["state"] == "cancelled"
    assert http.post(f"/runs/{third}/cancel").json()["state"] == "cancelled"  # once more does no harm
    assert ended(http, second)["state"] == "completed"
    told = http.get(f"/runs/{third}/events").json()["items"]
    assert [each["type"].split(".", 2)[2] for each in told] == ["run.submitted.v1", "run.cancelled.v1"]
    problem(http.post(f"/runs/{second}/retry"), 409, "conflict")


def test_one_key_is_one_job(http: httpx2.Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        runs = [*threads.map(lambda _: submitted(http, key="same", tags={"n": "1"}), range(16))]
    assert len(set(runs)) == 1
    assert len(http.get("/runs", params={"tag": "n=1"}).json()["items"]) == 1
    wish = {"case": "texts", "object": "uploads/a.txt", "tags": {"n": "1"}}
    again = http.post("/runs", json=wish, headers={"Idempotency-Key": "same"})
    assert (again.headers["idempotent-replayed"], again.json()["key"]) == ("true", "same")
    other = http.post("/runs", json={**wish, "priority": 1}, headers={"Idempotency-Key": "same"})
    problem(other, 409, "conflict")
    stream = {"case": "dummy_offline", "sources": {}}
    problem(http.post("/runs", json=stream, headers={"Idempotency-Key": "s"}), 400, "invalid_input")
    problem(http.post("/runs", json=wish, headers={"Idempotency-Key": "two words"}), 400, "invalid_input")


def test_runs_are_found_by_kind_state_case_and_tag(http: httpx2.Client) -> None:
    made = [submitted(http, tags={"study": str(number % 2), "batch": "7"}) for number in range(4)]
    for run in made:
        ended(http, run)

    def found(**query: Any) -> list[str]:
        items = http.get("/runs", params={"kind": "job", "case": "texts", **query}).json()["items"]
        return [each["id"] for each in items]

    assert found(tag="batch=7") == made[::-1]
    assert found(tag=["batch", "study=1"], state="completed") == [made[3], made[1]]
    assert found(tag="batch=8") == []
    page = http.get("/runs", params={"tag": "batch", "limit": 3}).json()
    assert [each["id"] for each in page["items"]] == made[:0:-1]
    assert found(tag="batch", after=page["next"]) == made[:1]
    assert http.get("/runs", params={"kind": "stream"}).json()["items"] == []


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"case": "nobody"}, 404, "case_not_found"),
        ({"object": "uploads/nothing"}, 404, "not_found"),
        ({"object": "runs/other/1/result.txt"}, 400, "invalid_input"),
        ({"object": "uploads/../runs/other/1/result.txt"}, 400, "invalid_input"),
        ({"object": "uploads/"}, 400, "invalid_input"),
        ({"output": "models/mine/1/model.onnx"}, 400, "invalid_input"),
        ({"output": "uploads/a.txt"}, 400, "invalid_input"),
        ({"object": "uploads/b/", "output": "uploads/b/2"}, 400, "invalid_input"),
        ({"parameters": {"reference_object": "runs/other/1/result.txt"}}, 400, "invalid_input"),
        ({"parameters": {"colour": "red"}}, 400, "invalid_input"),
        ({"parameters": {"factor": "red"}}, 400, "invalid_input"),
        ({"deadline_s": 0}, 400, "invalid_input"),
        ({"priority": 10**9}, 400, "invalid_input"),
        ({"sources": {}}, 400, "invalid_input"),
    ],
)
def test_what_no_job_can_be_is_refused(http: httpx2.Client, wish: dict[str, Any], status: int, code: str) -> None:
    before = http.get("/runs", params={"kind": "job"}).json()["items"]
    problem(http.post("/runs", json={"case": "texts", "object": "uploads/a.txt", **wish}), status, code)
    assert http.get("/runs", params={"kind": "job"}).json()["items"] == before


def test_schedules_are_made_shown_and_taken_away(http: httpx2.Client) -> None:
    wish = {"case": "texts", "object": "uploads/a.txt", "cron": "30 3 * * mon-fri", "tags": {"who": "clock"}}
    made = http.put("/schedules/nightly", json=wish)
    assert made.status_code == 200, made.text
    assert (made.json()["due"][11:16], made.json()["tags"]) == ("03:30", {"who": "clock"})
    assert http.get("/schedules").json()["items"] == [made.json()]
    assert http.get("/schedules/nightly").json() == made.json()
    problem(http.put("/schedules/nightly", json={**wish, "cron": "often"}), 400, "invalid_input")
    problem(http.put("/schedules/nightly", json={**wish, "object": "runs/other/1/a"}), 400, "invalid_input")
    assert http.delete("/schedules/nightly").status_code == 204
    problem(http.delete("/schedules/nightly"), 404, "not_found")
    problem(http.get("/schedules/nightly"), 404, "not_found")
