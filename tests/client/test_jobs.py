"""Jobs by the SDK, against a real server: submitted from a file, waited for with progress, fetched, tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import Script, Scripted, Waits
from tests.serve.api.texts import write_texts
from tests.servers import RunningServer, serving

from sightline import AsyncClient, Client
from sightline.client.objects import StoredObject
from sightline.core.errors import CaseNotFound, Conflict, FileMissing, InvalidInput, NotFound, Unavailable
from sightline.core.jobs import Queue
from sightline.core.run import Run, RunState


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Serve the case `texts`, with one worker."""
    folder = tmp_path_factory.mktemp("texts")
    write_texts(folder)
    with serving(folder, jobs__workers=1) as running:
        yield running


@pytest.fixture
def client(texts: RunningServer) -> Iterator[Client]:
    with Client(texts.url, timeout_s=60) as made:
        yield made


def test_a_file_is_submitted_waited_for_and_its_result_fetched(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("one\nfour")
    shares: list[float] = []

    def seen(run: Run) -> None:
        shares.append(run.status["progress"])

    run = client.submit(
        "texts", tmp_path / "a b.txt", parameters={"pause_s": 0.2}, output="results/sdk", tags={"who": "sdk"},
        priority=4, key="one", wait=True, seen=seen,
    )  # fmt: skip
    assert (run.state, run.metadata, run.priority, run.attempts) == (RunState.COMPLETED, {"who": "sdk"}, 4, 1)
    assert (shares == sorted(shares), shares[-1]) == (True, 1.0)
    assert run.spec["object"].startswith("uploads/")
    assert run.spec["object"].endswith("/a b.txt")
    [file] = client.runs.files(run.id)
    assert (file.word, file.key, file.num_bytes) == ("page", "results/sdk.html", 25)
    assert client.runs.download(run.id, "page", tmp_path / "page.html") == tmp_path / "page.html"
    assert (tmp_path / "page.html").read_text() == "<script>alert(2)</script>"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b.txt", "page.html"]
    assert client.run(run.id) == run
    assert [each.id for each in client.runs.list(kind="job", tag="who=sdk")] == [run.id]
    assert [event.short_type for event in client.runs.history(run.id)][-1] == "run.completed"
    assert [line["what"] for line in client.runs.logs(run.id)][-1] == "run.completed"
    again = client.submit(
        "texts", tmp_path / "a b.txt", parameters={"pause_s": 0.2}, output="results/sdk", tags={"who": "sdk"},
        priority=4, key="one",
    )  # fmt: skip
    assert again.id == run.id
    with pytest.raises(Conflict):
        client.submit("texts", run.spec["object"], key="one")


def test_a_job_is_cancelled_and_tried_again(client: Client) -> None:
    client.objects.put("uploads/one.txt", b"one")
    first = client.submit("texts", "uploads/one.txt", parameters={"pause_s": 60})
    second = client.submit("texts", "uploads/one.txt")
    assert client.runs.queue(second.id).position >= 1
    assert client.runs.cancel(second.id).state is RunState.CANCELLED
    client.runs.cancel(first.id)
    assert client.runs.wait(first.id, timeout_s=60).state is RunState.CANCELLED
    assert client.runs.retry(second.id).state is RunState.SUBMITTED
    assert client.runs.wait(second.id, timeout_s=60).state is RunState.COMPLETED
    assert client.runs.queue(second.id) == Queue(position=0)
    with pytest.raises(Conflict):
        client.runs.retry(second.id)
    with pytest.raises(NotFound, match="page"):
        client.runs.download(second.id, "mask", "mask.nii.gz")


def test_a_schedule_is_added_listed_and_taken_away(client: Client, texts: RunningServer) -> None:
    client.objects.put("uploads/nightly.txt", b"one")
    wish: dict[str, Any] = {"parameters": {"factor": 2.0}, "output": "results/nightly", "deadline_s": 60.0}
    made = client.schedules.add(
        "nightly", "texts", "uploads/nightly.txt", "30 3 * * mon-fri", priority=2, tags={"who": "sdk"}, **wish
    )
    assert made == client.schedules.get("nightly")
    assert made.spec == {"object": "uploads/nightly.txt", **wish}
    assert (made.case, made.cron, made.metadata, made.priority) == ("texts", "30 3 * * mon-fri", {"who": "sdk"}, 2)
    assert made.due is not None
    assert (made.due.hour, made.due.minute) == (3, 30)
    changed = client.schedules.add("nightly", "texts", "uploads/nightly.txt", "@hourly")
    assert changed.due is not None
    assert changed.due - datetime.now(UTC) <= timedelta(hours=1)

    async def names() -> list[str]:
        async with AsyncClient(texts.url, timeout_s=60) as other:
            await other.schedules.add("a", "texts", "uploads/nightly.txt", "@daily")
            listed = [each.name async for each in other.schedules.list()]
            await other.schedules.remove("a")
            return listed

    assert asyncio.run(names()) == ["a", "nightly"]
    assert list(client.schedules.list()) == [changed]
    client.schedules.remove("nightly")
    assert list(client.schedules.list()) == []
    with pytest.raises(NotFound, match="nightly"):
        client.schedules.get("nightly")
    with pytest.raises(InvalidInput, match="cron"):
        client.schedules.add("b", "texts", "uploads/nightly.txt", "60 * * * *")
    with pytest.raises(CaseNotFound):
        client.schedules.add("b", "nothing", "uploads/nightly.txt", "@daily")


def test_files_and_folders_are_uploaded_once(client: Client, tmp_path: Path) -> None:
    (tmp_path / "study/series").mkdir(parents=True)
    for name in ("study/series/1.dcm", "study/2.dcm", "study/.hidden"):
        (tmp_path / name).write_text(name)
    folder = client.upload(tmp_path / "study")
    assert [each.key.removeprefix(folder) for each in client.objects.list(folder)] == ["2.dcm", "series/1.dcm"]
    before = {each.key: each.modified for each in client.objects.list(folder)}
    assert client.upload(str(tmp_path / "study")) == folder
    assert {each.key: each.modified for each in client.objects.list(folder)} == before
    assert client.upload(tmp_path / "study/2.dcm", "results/two.dcm") == "results/two.dcm"
    assert client.objects.get("results/two.dcm") == b"study/2.dcm"
    [stored] = client.objects.list("results/two")
    assert stored == StoredObject(
        key="results/two.dcm", num_bytes=11, media_type="application/dicom", modified=stored.modified
    )
    client.objects.delete("results/two.dcm")
    with pytest.raises(NotFound):
        client.objects.download("results/two.dcm", tmp_path / "two.dcm")
    assert not (tmp_path / "two.dcm.part").exists()
    with pytest.raises(FileMissing):
        client.upload(tmp_path / "nothing")
    with pytest.raises(InvalidInput, match="is not below"):
        client.upload(tmp_path / "study/2.dcm", "models/two.dcm")
    with pytest.raises(InvalidInput, match="no key of one"):
        client.upload(tmp_path / "study", "uploads/study")


def test_the_async_client_does_the_same(texts: RunningServer, tmp_path: Path) -> None:
    async def work() -> tuple[Run, list[str]]:
        (tmp_path / "b.txt").write_text("two words")
        async with AsyncClient(texts.url, timeout_s=60) as client:
            run = await client.submit("texts", tmp_path / "b.txt", wait=True)
            await client.runs.download(run.id, "page", tmp_path / "b.html")
            return run, [file.word async for file in client.runs.files(run.id)]

    run, words = asyncio.run(work())
    assert (run.state, words) == (RunState.COMPLETED, ["page"])
    assert (tmp_path / "b.html").read_text() == "<script>alert(1)</script>"


def test_a_download_that_breaks_off_goes_on_where_it_was(script: Script, waits: Waits, tmp_path: Path) -> None:
    tag = {"ETag": '"v1"', "Content-Type": "application/octet-stream"}
    torn = Scripted(headers={**tag, "Transfer-Encoding": "chunked"}, body=b"4\r\nhalf\r\n", is_torn=True)
    rest = Scripted(status=206, headers=tag, body=b"and the rest")
    script.answers = [torn, rest]
    with Client(script.url, timeout_s=20) as client:
        client.objects.download("uploads/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"halfand the rest"
    assert (script.headers("range"), script.headers("if-range")) == ([None, "bytes=4-"], [None, '"v1"'])
    script.answers, script.asked = [torn], []
    with Client(script.url, timeout_s=20) as client, pytest.raises(Unavailable, match="again and again"):
        client.objects.download("uploads/a", tmp_path / "b")
    assert len(script.asked) == 6
    assert waits[:3] == [0.2, 0.2, 0.4]
    assert not (tmp_path / "b").exists()
