"""Runs, models and cases of a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.client.conftest import Script, Scripted

import sightline
from sightline import Client
from sightline.core.errors import (
    CaseNotFound,
    Conflict,
    DeadlineExceeded,
    FileMissing,
    InvalidModel,
    ModelNotFound,
    NotFound,
    SightlineError,
)
from sightline.core.run import Run, RunKind, RunState

PACKAGE = Path(sightline.__file__).parent
STREET = PACKAGE / "cases/street_people/street.mp4"
NET = PACKAGE / "zoo/nanodet-m.onnx"
CLIP = {"use": "video", "url": str(STREET), "fps": 2.0}


def test_a_run_is_started_changed_and_stopped(client: Client) -> None:
    run = client.runs.start("street_people", sources={"one": CLIP}, metadata={"who": "a test"}, stands=True)
    assert (run.case, run.kind, run.metadata) == ("street_people", RunKind.STREAM, {"who": "a test"})
    assert run.created is not None

    client.runs.add_source(run.id, "two", CLIP)
    changed = client.runs.change_source(run.id, "two", {**CLIP, "fps": 1.0})
    assert changed["source"]["fps"] == 1.0
    assert [source["id"] for source in client.runs.sources(run.id)] == ["one", "two"]
    with pytest.raises(Conflict):
        client.runs.add_source(run.id, "two", CLIP)
    with pytest.raises(Conflict):
        client.runs.remove_source(run.id, "two", revision=run.revision)
    client.runs.remove_source(run.id, "two", revision=client.runs.get(run.id).revision)
    assert [source["id"] for source in client.runs.sources(run.id)] == ["one"]

    with pytest.raises(DeadlineExceeded, match="still goes on"):
        client.runs.wait(run.id, timeout_s=0.01)
    client.runs.stop(run.id)
    assert client.runs.wait(run.id, timeout_s=20, every_s=0.05).state is RunState.CANCELLED
    assert run.id in [each.id for each in client.runs.list(case="street_people", state="cancelled")]
    assert run.id not in [each.id for each in client.runs.list(kind="training")]

    told = client.recorded_events(case="street_people", types=["source.live"], since=run.created, oldest_first=True)
    assert "/cases/street_people/sources/one" in [event.source for event in told]


def test_unknown_runs_and_cases_are_told(client: Client) -> None:
    with pytest.raises(NotFound):
        client.runs.get("nothing")
    with pytest.raises(NotFound):
        client.runs.stop("a/b")
    with pytest.raises(CaseNotFound):
        client.runs.start("nothing")


def test_a_model_is_added_and_promoted(client: Client) -> None:
    first = client.models.add(NET, name="mine", title="Of mine", aliases=["production"])
    assert (first.ref, first.card.title, first.aliases) == ("mine@1", "Of mine", ("production",))
    assert (first.card.task, first.card.labels[0]) == ("object-detection", "person")

    second = client.models.add(NET.read_bytes(), name="mine", title="Of mine, too")
    assert client.models.promote("mine", second.version, expected=1)["version"] == "2"
    assert client.models.get("mine@production").version == "2"
    with pytest.raises(Conflict):
        client.models.promote("mine", 1, expected=1)
    with pytest.raises(ModelNotFound):
        client.models.promote("mine", 9)
    [line] = [line for line in client.models.list() if line["name"] == "mine"]
    assert line["aliases"] == {"production": "2"}


def test_a_model_is_loaded_and_unloaded(client: Client) -> None:
    assert client.models.load("echo-bytes")["unloaded"] is False
    assert client.models.unload("echo-bytes")["unloaded"] is True
    client.models.load("echo-bytes")


def test_what_is_no_model_is_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel):
        client.models.add(b"no model", name="mine")
    with pytest.raises(FileMissing, match=r"none\.onnx"):
        client.models.add(tmp_path / "none.onnx", name="mine")
    with pytest.raises(SightlineError, match="colour"):
        client.models.add(b"no model", name="mine", colour="red")


def test_cases_are_listed(client: Client) -> None:
    cases = {case["name"]: case for case in client.cases.list()}
    assert cases["street_people"]["served"] is True
    assert client.cases.get("street_people")["manifest"]["stages"]


def page(number: int, following: str) -> Scripted:
    return Scripted(body=b'{"items": [{"id": "s%d"}], "next": %s}' % (number, following.encode()))


def test_pages_are_asked_for_one_after_the_other(script: Script) -> None:
    script.answers = [page(1, '"c&1"'), page(2, "null")]
    with Client(script.url) as client:
        sources = client.runs.sources("r")
        assert next(sources) == {"id": "s1"}
        assert len(script.asked) == 1
        assert list(sources) == [{"id": "s2"}]
    assert script.asked[1][1] == "/api/v1/runs/r/sources?limit=200&after=c%261"


def test_members_of_a_newer_server_are_passed_over(script: Script) -> None:
    script.answers = [Scripted(body=b'{"id": "r", "case": "c", "kind": "job", "state": "running", "colour": 1}')]
    with Client(script.url) as client:
        assert client.runs.get("r") == Run(id="r", case="c", kind=RunKind.JOB, state=RunState.RUNNING)


@pytest.mark.parametrize("body", [b"{}", b'{"id": "r", "case": "c", "kind": "dance", "state": "running"}'])
def test_another_form_is_told(script: Script, body: bytes) -> None:
    script.answers = [Scripted(body=body)]
    with Client(script.url) as client, pytest.raises(SightlineError, match="does not know"):
        client.runs.get("r")
