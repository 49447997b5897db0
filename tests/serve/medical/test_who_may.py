"""Who may read what: objects, runs and schedules of a project, studies of the archive; and what is noted of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from tests.serve.api.conftest import soon
from tests.serve.medical.tiny import write_letters
from tests.servers import RunningServer, serving

from sightline.core.access import Caller, Scope
from sightline.core.audit import verify
from sightline.core.errors import Forbidden, InvalidInput
from sightline.serve.auth.keys import new_key
from sightline.serve.auth.reads import EVERY_S, Reads
from sightline.serve.rights import Rights, rights_of
from sightline.settings import AppSettings

STUDY = "dicomweb:1.2.826.0.1"
Ask = Callable[..., httpx2.Response]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("projects")
    write_letters(folder)
    folders = ["uploads/{project}/", "results/{project}/"]
    pacs = {"medical__dicomweb__url": "http://127.0.0.1:9/dicom-web", "medical__case": "letters"}
    with serving(folder, auth__mode="on", server__object_folders=folders, **pacs) as running:
        yield running


@pytest.fixture(scope="module")
def ask(server: RunningServer) -> Iterator[Ask]:
    """Ask as somebody: `north` and `south` may manage in projects of these names, `guest` infers and reads in north."""
    keys = {}
    people = {"north": [Scope.READ, Scope.INFER, Scope.MANAGE], "guest": [Scope.READ, Scope.INFER]}
    people |= {"south": people["north"], "admin": [Scope.ADMIN]}
    for name, scopes in people.items():
        project = {"guest": "north", "admin": "default"}.get(name, name)
        keys[name], made = new_key(name, scopes, project=project)
        server.platform.context.store.keys.add(made)
    server.platform.gate.refresh()
    with httpx2.Client(base_url=server.url, timeout=20) as client:

        def ask(who: str, method: str, path: str, **others: Any) -> httpx2.Response:
            headers = {"X-API-Key": keys[who], **others.pop("headers", {})}
            return client.request(method, path, headers=headers, **others)

        yield ask


def infer(ask: Ask, who: str, project: str, job: str) -> httpx2.Response:
    assert ask(who, "PUT", f"/api/v1/objects/uploads/{project}/scan.txt", content=b"abcd").status_code == 201
    return ask(who, "POST", "/infer", json={"job_uuid": job, "input_object": f"uploads/{project}/scan.txt"})


def test_the_objects_of_a_project_are_not_those_of_another(ask: Ask) -> None:
    north, south = "/api/v1/objects/uploads/north/a.txt", "/api/v1/objects/uploads/south/a.txt"
    assert ask("north", "PUT", north, content=b"n").status_code == 201
    assert ask("south", "PUT", south, content=b"s").status_code == 201
    assert ask("guest", "GET", north).text == "n"
    for who, method, path in (
        ("south", "GET", north), ("south", "DELETE", north), ("south", "PUT", north), ("guest", "GET", south),
        ("guest", "GET", "/api/v1/objects/uploads/a.txt"),
        ("guest", "GET", "/api/v1/objects/uploads/north/../south/a.txt"),
        ("guest", "GET", "/api/v1/objects/uploads/north%2f..%2fsouth/a.txt"),
        ("south", "GET", "/api/v1/objects?prefix=uploads/north/"),
    ):  # fmt: skip
        assert ask(who, method, path).status_code in (400, 404), (who, method, path)
    assert ask("admin", "GET", south).text == "s"

    def listed(who: str) -> set[str]:
        return {each["key"].split("/")[1] for each in ask(who, "GET", "/api/v1/objects?limit=500").json()["items"]}

    assert (listed("guest"), listed("south")) == ({"north"}, {"south"})
    assert listed("admin") == {"north", "south"}


def test_the_access_log_tells_a_hash_of_a_key_which_may_name_a_patient(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[str] = []
    monkeypatch.setattr("sightline.serve.platform.log_request", lambda _row, path, **_: paths.append(path))
    key = "uploads/north/mueller.dcm"
    ask("guest", "GET", f"/api/v1/objects/{key}")
    told = f"/api/v1/objects/sha256:{sha256(key.encode()).hexdigest()[:16]}"
    soon(lambda: told in paths)  # it is written behind the answer
    assert "mueller" not in str(paths)


def test_the_runs_of_a_project_are_not_there_for_another(ask: Ask) -> None:
    job = uuid4().hex
    told = infer(ask, "north", "north", job).json()
    assert told["output_object"] == f"results/north/analysis_{job[:8]}.nii.gz"
    run = f"/api/v1/runs/{told['run']}"
    assert ask("guest", "GET", f"{run}/files/mask").text == "mask fast_debug 0.5 : 4"
    paths = ["", "/files", "/files/mask", "/events", "/logs", "/sources"]
    asked = [("GET", run + path) for path in paths] + [
        ("POST", f"{run}/{word}") for word in ("cancel", "retry", "stop")
    ]
    for method, path in [*asked, ("DELETE", run), ("GET", f"{run}/sources/scan/picture")]:
        answer = ask("south", method, path)
        assert answer.status_code == 404, (method, path, answer.text)
        assert "letters" not in answer.text
    ids = {who: [each["id"] for each in ask(who, "GET", "/api/v1/runs").json()["items"]] for who in ("guest", "south")}
    assert told["run"] in ids["guest"]
    assert told["run"] not in ids["south"]
    assert told["run"] not in str(ask("south", "GET", f"/api/v1/runs?tag=job_uuid={job}").json())
    assert ask("admin", "GET", f"{run}/files/mask").status_code == 200
    theirs = infer(ask, "south", "south", job).json()  # the same id in another project is another job
    assert theirs["run"] != told["run"]
    refused = ask("south", "POST", "/infer", json={"job_uuid": "x", "input_object": "uploads/north/scan.txt"})
    assert refused.status_code == 400


def test_the_schedules_of_a_project_are_its_own(ask: Ask, server: RunningServer) -> None:
    wish = {"case": "letters", "object": "uploads/north/scan.txt", "cron": "0 3 * * *"}
    path = "/api/v1/schedules/nightly"
    assert ask("north", "PUT", path, json=wish).status_code == 200
    assert ask("south", "PUT", path, json={**wish, "object": "uploads/south/scan.txt"}).status_code == 409
    assert [ask("south", method, path).status_code for method in ("GET", "DELETE")] == [404, 404]
    assert ask("south", "GET", "/api/v1/schedules").json()["items"] == []
    [kept] = server.platform.context.store.schedules.list()
    assert kept.spec["project"] == "north"
    assert ask("admin", "DELETE", path).status_code == 204


def test_studies_of_the_archive_are_for_those_whom_the_setting_names(ask: Ask) -> None:
    later = {"Prefer": "respond-async"}
    for field in ("input_object", "reference_object"):
        wish = {"job_uuid": uuid4().hex, "input_object": "uploads/north/scan.txt", field: STUDY}
        refused = ask("guest", "POST", "/infer", json=wish, headers=later)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), refused.text
    wish = {"job_uuid": uuid4().hex, "input_object": STUDY}
    assert ask("north", "POST", "/infer", json=wish, headers=later).status_code == 202
    job = {"case": "letters", "object": STUDY}
    assert ask("north", "POST", "/api/v1/runs", json=job).status_code == 202


@pytest.mark.parametrize(
    ("callers", "may"),
    [
        (["manage"], {"manager", "boss"}),
        (["infer"], {"manager", "boss", "reader"}),
        (["admin"], {"boss"}),
        (["reader"], {"reader", "boss"}),
        ([], {"boss"}),
    ],
)
def test_scopes_ids_and_admins_may_read_studies(callers: list[str], may: set[str]) -> None:
    people = {"manager": {Scope.MANAGE, Scope.INFER}, "boss": {Scope.ADMIN}, "reader": {Scope.INFER, Scope.READ}}
    found = set()
    for name, scopes in people.items():
        try:
            Rights(caller=Caller(id=name, scopes=frozenset(scopes)), folders=[], archive=callers).check_read(STUDY)
        except Forbidden:
            continue
        found.add(name)
    assert found == may


def test_a_token_whose_subject_is_called_like_a_scope_is_nobody_special() -> None:
    with pytest.raises(Forbidden):
        Rights(caller=Caller(id="manage"), folders=[], archive=["manage"]).check_read(STUDY)


@pytest.mark.parametrize("project", ["../south", "a/b", "..", "", ".", "-", "a b", "a\n"])
def test_a_project_that_is_no_folder_has_none(project: str) -> None:
    settings = AppSettings.model_validate({"server": {"object_folders": ["uploads/{project}/"]}})
    rights = rights_of(Caller(project=project), settings)
    assert list(rights.folders) == []
    with pytest.raises(InvalidInput):
        rights.check_read(f"uploads/{project}/x")


def test_each_reading_of_an_object_or_a_result_leaves_one_line(ask: Ask, server: RunningServer) -> None:
    told = infer(ask, "north", "north", job := uuid4().hex).json()
    files, key = f"/api/v1/runs/{told['run']}/files/json", "/api/v1/objects/uploads/north/scan.txt"
    for part in range(4):
        for path in (files, key):
            headers = {"Range": f"bytes={part}-{part}"}
            assert ask("guest", "GET", path, headers=headers).status_code == 206
    assert ask("guest", "GET", "/api/v1/runs").status_code == 200
    assert ask("south", "GET", files).status_code == 404
    store = server.platform.context.store

    def lines() -> list[tuple[str, str, str, int]]:
        found = [line.entry for line in store.audit.list(limit=200)]
        return [(each.project, each.method, each.path, each.status) for each in reversed(found)]

    soon(lambda: ("south", "GET", files, 404) in lines())
    read = [line for line in lines() if line[1] == "GET" and line[0] == "north"]
    assert read.count(("north", "GET", files, 206)) == 1
    assert [line for line in read if "sha256" in line[2]].count(read[-1]) == 1
    assert ("north", "POST", f"/infer/{job}", 200) in lines()
    assert not any("scan.txt" in line[2] or (line[2] == "/api/v1/runs" and line[1] == "GET") for line in lines())
    assert verify(store.audit).broken is None


def test_a_reading_is_noted_again_after_a_while_by_others_and_when_it_is_refused() -> None:
    now_s = [0.0]
    reads = Reads(lambda: now_s[0])
    anna, ben = Caller(id="anna"), Caller(id="ben")
    path = "/api/v1/objects/uploads/a\nb.dcm"
    assert [reads.is_new(anna, path, status) for status in (206, 206, 304, 404, 401)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert reads.is_new(ben, path, 200)
    now_s[0] = EVERY_S
    assert [reads.is_new(anna, path, 206) for _ in range(2)] == [True, False]
    for other in ("/api/v1/runs", "/api/v1/runs/7", "/api/v1/runs/7/files", "/api/v1/objectsx/a", "/api/v1/models/x"):
        assert not reads.is_new(anna, other, 200)


def test_who_asks_for_many_things_takes_no_memory() -> None:
    reads = Reads()
    for number in range(10_000):
        assert reads.is_new(Caller(), f"/api/v1/objects/{number}", 404)
    assert len(reads._until) <= 4096
