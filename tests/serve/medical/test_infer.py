"""`POST /infer` as clients know it: its names and shapes, one job for one id, and what failures look like."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.packs.basic.receiver import until
from tests.serve.medical.tiny import asked, write_letters
from tests.servers import RunningServer, serving

from sightline.core.access import Caller
from sightline.core.errors import InvalidInput
from sightline.core.run import RunState
from sightline.serve.infer import check_keys, read_wish
from sightline.serve.rights import Rights


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("infer")
    write_letters(folder)
    with serving(folder, medical__case="letters", jobs__workers=2, jobs__retry_s=0.02, medical__wait_s=20) as running:
        for name, text in {"scan": "abcd", "broken": "broken", "mistake": "mistake", "slow": "sleep 3"}.items():
            running.platform.context.artifacts.put(f"uploads/{name}.txt", text.encode())
        yield running


def test_the_answer_has_the_names_of_the_contract(server: RunningServer) -> None:
    job = "0a1b2c3d-1111-4222-8333-444455556666"
    status, answer, _ = asked(server.url, {"job_uuid": job, "input_object": "uploads/scan.txt"})
    assert status == 200, answer
    assert list(answer)[:5] == ["job_uuid", "output_object", "file_size", "duration_seconds", "status"]
    assert answer["job_uuid"] == job
    assert answer["output_object"] == "results/analysis_0a1b2c3d.nii.gz"
    assert (answer["json_object"], answer["xlsx_object"]) == (
        "results/analysis_0a1b2c3d.json",
        "results/analysis_0a1b2c3d.xlsx",
    )
    assert answer["file_name"] == "analysis_0a1b2c3d.nii.gz"
    assert answer["status"] == "completed"
    assert 0 < answer["duration_seconds"] < 20
    with server.platform.context.artifacts.open(answer["output_object"]) as file:
        mask = file.read()
    assert answer["file_size"] == len(mask)
    assert mask == b"mask fast_debug 0.5 : 4"


def test_profile_threshold_reference_and_the_key_of_the_result_are_the_callers(server: RunningServer) -> None:
    wish = {
        "job_uuid": "chosen", "input_object": "uploads/scan.txt", "output_object": "results/of/today.nii.gz",
        "profile": "production", "threshold": 0.25, "reference_object": "uploads/truth.nii.gz",
    }  # fmt: skip
    _, answer, _ = asked(server.url, wish)
    assert (answer["output_object"], answer["xlsx_object"]) == ("results/of/today.nii.gz", "results/of/today.xlsx")
    with server.platform.context.artifacts.open("results/of/today.nii.gz") as file:
        assert file.read() == b"mask production 0.25 uploads/truth.nii.gz: 4"


def test_one_job_uuid_is_one_job_and_another_body_is_refused(server: RunningServer) -> None:
    wish = {"job_uuid": "twice", "input_object": "uploads/scan.txt"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: asked(server.url, wish), range(4)))
    assert {status for status, _, _ in answers} == {200}
    assert len({answer["run"] for _, answer, _ in answers}) == 1
    status, problem, _ = asked(server.url, {**wish, "threshold": 0.9})
    assert (status, problem["code"], problem["cure"]) == (409, "conflict", "Another request needs another job_uuid.")
    status, problem, _ = asked(server.url, {**wish, "threshold": 45})
    assert (status, problem["cure"]) == (400, "45 looks like a percentage: 0.45.")


def test_the_second_job_whose_id_begins_the_same_has_the_whole_id_in_its_name(server: RunningServer) -> None:
    for job, stem in (("samename-1", "samename"), ("samename-2", "samename-2")):
        _, answer, _ = asked(server.url, {"job_uuid": job, "input_object": "uploads/scan.txt"})
        assert answer["output_object"] == f"results/analysis_{stem}.nii.gz"


@pytest.mark.parametrize("prefer", ["respond-async", "wait=0", "respond-async, wait=0", "return=minimal; wait=0"])
def test_who_does_not_want_to_wait_is_told_where_the_run_is(server: RunningServer, prefer: str) -> None:
    wish = {"job_uuid": f"async{abs(hash(prefer))}", "input_object": "uploads/scan.txt"}
    status, answer, headers = asked(server.url, wish, prefer=prefer)
    assert status == 202
    assert answer["status"] in ("submitted", "running")
    assert headers["location"] == f"/api/v1/runs/{answer['run']}"
    with urllib.request.urlopen(server.url + headers["location"], timeout=30) as shown:
        assert json.load(shown)["metadata"] == {"job_uuid": wish["job_uuid"]}
    status, again, _ = asked(server.url, wish)
    assert (status, again["run"]) == (200, answer["run"])


def test_a_job_that_takes_longer_than_the_caller_waits_goes_on(server: RunningServer) -> None:
    begin = time.monotonic()
    status, answer, _ = asked(server.url, {"job_uuid": "slow", "input_object": "uploads/slow.txt"}, prefer="wait=1")
    assert status == 202
    assert time.monotonic() - begin > 0.9
    jobs = server.platform.jobs
    assert jobs.wait(answer["run"], 60).state is RunState.COMPLETED


def test_the_kind_of_a_failure_decides_the_status(server: RunningServer) -> None:
    for name, status, kind in (("broken", 422, "validation"), ("mistake", 500, None)):
        given, problem, headers = asked(server.url, {"job_uuid": name, "input_object": f"uploads/{name}.txt"})
        assert (given, problem["code"], problem["status"]) == (status, "job_failed", status), problem
        assert headers["content-type"] == "application/problem+json"
        assert problem["kind"] == kind or kind is None
        assert problem["job_uuid"] == name
        assert problem["detail"]
        assert "Traceback" not in json.dumps(problem)


def test_a_study_is_refused_at_once_where_there_is_no_archive(server: RunningServer) -> None:
    status, problem, _ = asked(server.url, {"job_uuid": "pacs", "input_object": "dicomweb:1.2.3"})
    assert (status, problem["detail"]) == (400, "The settings name no picture archive.")


def test_an_object_that_is_not_there_is_refused_at_once(server: RunningServer) -> None:
    status, problem, _ = asked(server.url, {"job_uuid": "nothing", "input_object": "uploads/absent.dcm"})
    assert (status, problem["code"]) == (404, "not_found")
    assert problem["detail"] == "Nothing is stored at 'uploads/absent.dcm'."  # and not where: that is a folder of ours


@pytest.mark.parametrize(("kind", "status"), [("storage", 502), ("model", 500), ("timeout", 504), ("cancelled", 409)])
def test_each_kind_has_its_status(server: RunningServer, kind: str, status: int) -> None:
    """The runs are ended by hand: what makes a store or a net fail stands in the tests of jobs."""
    store, jobs = server.platform.context.store, server.platform.jobs
    wish = {"job_uuid": f"kind-{kind}", "input_object": "uploads/slow.txt"}
    _, told, _ = asked(server.url, wish, prefer="respond-async")
    run = jobs.get(told["run"])
    while run.state is RunState.SUBMITTED:
        run = jobs.get(told["run"])
    state = RunState.CANCELLED if kind == "cancelled" else RunState.FAILED
    said = {"error_kind": kind}
    store.runs.finish(run.id, run.token, state, status=said, error=None if kind == "cancelled" else "It broke.")
    given, problem, _ = asked(server.url, wish)
    assert (given, problem["kind"]) == (status, kind)


GOOD: dict[str, Any] = {"job_uuid": "a", "input_object": "uploads/scan.txt"}
RIGHTS = Rights(caller=Caller(id="me"), folders=("uploads/", "results"), archive=["me"])


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "no JSON object"),
        ({}, "job_uuid is missing"),
        ({"job_uuid": "a"}, "input_object is missing"),
        ({**GOOD, "treshold": 0.5}, "Unknown field 'treshold'"),
        ({**GOOD, "job_uuid": 7}, "job_uuid is no text"),
        ({**GOOD, "job_uuid": ""}, "job_uuid is no text"),
        ({**GOOD, "job_uuid": "a b"}, "job_uuid has other characters"),
        ({**GOOD, "job_uuid": "../a"}, "job_uuid has other characters"),
        ({**GOOD, "job_uuid": ".."}, "job_uuid has other characters"),
        ({**GOOD, "job_uuid": "a\n"}, "job_uuid has other characters"),
        ({**GOOD, "job_uuid": "é"}, "job_uuid has other characters"),
        ({**GOOD, "job_uuid": "a" * 129}, "more than 128"),
        ({**GOOD, "input_object": "/etc/passwd"}, "Not a store key"),
        ({**GOOD, "input_object": "a/../b"}, "Not a store key"),
        ({**GOOD, "reference_object": "../x"}, "Not a store key"),
        ({**GOOD, "output_object": "results/mask.exe"}, r"end with \.nii\.gz"),
        ({**GOOD, "output_object": "results/.nii.gz"}, "Not a store key"),
        ({**GOOD, "input_object": "secrets/scan.nii"}, "not below uploads/"),
        ({**GOOD, "reference_object": "runs/1/mask.nii.gz"}, "not below uploads/"),
        ({**GOOD, "output_object": "models/net/1.nii.gz"}, "not below uploads/"),
        ({**GOOD, "input_object": "uploads/a.nii.gz", "output_object": "uploads/a.nii.gz"}, "what the job reads"),
        ({**GOOD, "input_object": "uploads/a/", "output_object": "uploads/a/b.nii.gz"}, "what the job reads"),
        ({**GOOD, "profile": "no profile"}, "no name of a profile"),
        ({**GOOD, "profile": "../x"}, "no name of a profile"),
        ({**GOOD, "threshold": 1.5}, "number from 0 to 1"),
        ({**GOOD, "threshold": True}, "number from 0 to 1"),
        ({**GOOD, "threshold": float("nan")}, "number from 0 to 1"),
        ({**GOOD, "threshold": "0.5"}, "number from 0 to 1"),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_its_field(body: Any, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        check_keys(read_wish(body), RIGHTS)


def test_null_is_as_good_as_nothing_and_every_safe_character_is_taken() -> None:
    whole = "aZ09-._~" * 16
    wish = read_wish({**GOOD, "job_uuid": whole, "output_object": None, "profile": None, "threshold": None})
    assert wish.names()[:2] == [f"results/analysis_{whole[:8]}", f"results/analysis_{whole}"]
    assert read_wish({**GOOD, "threshold": 0}).threshold == 0.0
    check_keys(read_wish({**GOOD, "input_object": "uploads/series/"}), RIGHTS)
    check_keys(read_wish({**GOOD, "input_object": "uploads/a", "output_object": "uploads/ab.nii.gz"}), RIGHTS)
    check_keys(read_wish({**GOOD, "input_object": "dicomweb:1.2/1.3"}), RIGHTS)


def test_health_has_the_names_of_the_contract(server: RunningServer) -> None:
    with urllib.request.urlopen(f"{server.url}/health", timeout=30) as answer:
        health = json.load(answer)
    assert health["status"] == "healthy"
    assert isinstance(health["model_loaded"], bool)
    assert isinstance(health["version"], str)
    assert health["uptime"] > 0
    assert health["memory_usage"] > 1 << 20


def test_the_settings_are_the_defaults_of_a_request(tmp_path: Path) -> None:
    write_letters(tmp_path)
    settings: dict[str, Any] = {"default_profile": "research", "decision_threshold": 0.75}
    given = {f"medical__{name}": value for name, value in settings.items()}
    with serving(tmp_path, medical__case="letters", **given) as running:
        artifacts = running.platform.context.artifacts
        artifacts.put("uploads/scan.txt", b"abcde")
        _, answer, _ = asked(running.url, GOOD)
        with artifacts.open(answer["output_object"]) as file:
            assert file.read() == b"mask research 0.75 : 5"


def test_a_server_that_knows_no_such_case_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, medical__case="nowhere") as running:
        status, problem, _ = asked(running.url, GOOD)
    assert (status, problem["code"]) == (404, "case_not_found")


def test_who_left_does_not_end_the_job(server: RunningServer) -> None:
    import socket

    body = json.dumps({"job_uuid": "left", "input_object": "uploads/slow.txt"}).encode()
    head = f"POST /infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(head + body)
        store = server.platform.context.store.runs
        until(lambda: any(run.metadata.get("job_uuid") == "left" for run in store.list()))
    status, answer, _ = asked(server.url, json.loads(body))
    assert (status, answer["status"]) == (200, "completed")
    run = server.platform.jobs.get(answer["run"])
    assert run.finished is not None
    assert run.created is not None
    assert run.finished - run.created >= timedelta(seconds=1.5)
