"""Jobs in a real browser: sent by dropping a file, watched while they are worked on, ended, and tried again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.live.browser import Page
from tests.serve.live.conftest import Served, until
from tests.serve.processes import ServerProcess, server_process
from tests.web.conftest import Shoot, enter, press, resize
from tests.web.hands import drag_in, drop, fill, limit_uploads, push, shows

from sightline.core.run import Run, RunKind, RunState

pytestmark = pytest.mark.service("Chromium")
ROWS = "[...document.querySelectorAll('.runs-list tbody tr')].map((row) => row.innerText)"
PANEL = "(document.querySelector('.runs-one, dialog.side')?.innerText ?? '')"
STEPS = ("reading", "segment", "findings", "publishing")
PLUGINS = '''
from dataclasses import dataclass

from sightline.core.errors import InvalidInput
from sightline.core.plugins import Predictor, Source
from sightline.core.prediction import Scalar
from sightline.core.sample import Clocks, Sample, Text


@dataclass(kw_only=True)
class Words(Source):
    """A sample a file, and one of a folder."""

    def load(self, file, name, media_type):
        yield self.told(file.read())

    def load_many(self, files, name):
        yield self.told(b" ".join(file.read() for _, file in files))

    def told(self, data):
        clocks = Clocks(pts_s=None, monotonic_s=0.0, wall=self.context.now())
        return Sample(payload=Text(data.decode()), source="words", seq=0, clocks=clocks)


@dataclass(kw_only=True)
class Length(Predictor):
    """Length of a text."""

    profile: str = "fast_debug"
    wait_s: float = 0.0

    def predict(self, samples):
        self.context.stopping.wait(self.wait_s)
        if any("bad" in sample.payload.text for sample in samples):
            raise InvalidInput("A bad word.")
        return [Scalar(name=self.profile, value=len(sample.payload.text)) for sample in samples]
'''
CASE = """\
sources: {words: {use: Words}}
input: words
stages: {analytics: {length: {use: Length}}}
"""


def running(served: Served, num_done: int, progress: float, **tags: str) -> Run:
    """Record a job that somebody else is working on."""
    store = served.context.store
    run = store.runs.create(
        Run(case="brain", kind=RunKind.JOB, spec={"object": "uploads/scan.nii.gz", "parameters": {}}, metadata=tags),
        worker="elsewhere",
    )
    state = ["done"] * num_done + ["running"] + ["waiting"] * len(STEPS)
    steps = [
        {"name": name, "state": each, "seconds": 1.5 if each == "done" else None}
        for name, each in zip(STEPS, state, strict=False)
    ]
    told = {"progress": progress, "stage": STEPS[num_done], "message": "tile 12 of 30", "attempt": 2, "steps": steps}
    store.runs.report(run.id, run.token, told)
    return run


def test_how_far_a_job_is_stands_in_its_row_and_beside_it(served: Served, page: Page, shoot: Shoot) -> None:
    run = running(served, 1, 0.46, study="7")
    resize(page, 1440, 900)
    enter(page, served, f"#/runs/{run.id}")
    page.until(f"{PANEL}.includes('tile 12 of 30')")
    shown = page.value(PANEL).replace("\u00a0", " ")
    for words in ("46 %", "segment", "attempt 2", "uploads/scan.nii.gz", "study=7", "Cancel", "1.50 s"):
        assert words in shown, shown
    assert page.value("document.querySelector('.run-panel [role=progressbar]').ariaValueNow") == "46"
    page.until(f"{ROWS}.some((row) => row.includes('{run.id[:8]}') && row.includes('46'))")
    shoot("running")
    told = {"progress": 0.75, "stage": "findings", "message": "", "attempt": 2, "steps": []}
    served.context.store.runs.report(run.id, run.token, told)
    page.until(f"{PANEL}.includes('75\u00a0%')")
    error = "The file is no NIfTI file."
    served.context.store.runs.finish(run.id, run.token, RunState.FAILED, status=told, error=error)
    page.until(f"{PANEL}.includes({json.dumps(error)}) && {PANEL}.includes('Try again')")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server, as users start it, with a case that works on texts, and has profiles."""
    folder = tmp_path_factory.mktemp("jobs")
    case = folder / "cases/texts"
    case.mkdir(parents=True)
    (case / "plugins.py").write_text(PLUGINS)
    (case / "case.yaml").write_text(CASE)
    (case / "profiles").mkdir()
    (case / "profiles" / "careful.yaml").write_text("title: With care\n")
    with server_process(folder, env={"SIGHTLINE_SERVER__MAX_UPLOAD_MB": "1"}) as started:
        yield started


def jobs(server: ServerProcess) -> list[dict[str, Any]]:
    """Return the jobs that the server knows, the newest first."""
    items: list[dict[str, Any]] = httpx2.get(f"{server.url}/api/v1/runs?kind=job", timeout=20).json()["items"]
    return items


def stored(server: ServerProcess, key: str, data: bytes) -> None:
    httpx2.put(f"{server.url}/api/v1/objects/{key}", content=data, timeout=20).raise_for_status()


def submitted(server: ServerProcess, key: str, number: str = "", **parameters: Any) -> str:
    """Submit a job and return its id."""
    body = {"case": "texts", "object": key, "parameters": parameters}
    headers = {"Idempotency-Key": f"{key}:{number}"}
    answer = httpx2.post(f"{server.url}/api/v1/runs", json=body, headers=headers, timeout=20)
    assert answer.status_code == 202, answer.text
    run: str = answer.json()["id"]
    return run


def test_a_file_that_is_dropped_becomes_a_job_that_is_done(
    server: ServerProcess, page: Page, shoot: Shoot, tmp_path: Path
) -> None:
    sent = tmp_path / "report 7.txt"
    sent.write_text("all is well " * 50_000)
    enter(page, server, "#/runs")
    resize(page, 1440, 900)
    page.until(shows("Submit a job"))
    drop(page, sent, "text/plain")
    page.until("document.querySelector('dialog[open] .drop b') !== null")
    assert sent.name in page.value("document.querySelector('dialog .drop').innerText")
    page.until("document.querySelector('dialog select')?.options.length > 0")
    fill(page, "dialog select", "texts")
    page.until("!!document.querySelector('dialog [data-field=profile]')")
    found = httpx2.get(f"{server.url}/api/v1/profiles?case=texts", timeout=20).json()["items"]
    names = json.dumps([each["name"] for each in found], separators=(",", ":"))  # none where no pack has profiles
    options = "[...document.querySelectorAll('dialog datalist option')].map((each) => each.value)"
    page.until(f"JSON.stringify({options}) === {json.dumps(names)}")
    fill(page, "dialog [data-field=profile]", "research")
    fill(page, "dialog [data-field=tags]", "ward=3")
    shoot("submit")
    push(page, "Send and submit", "dialog")
    page.until("!document.querySelector('dialog[open]')")
    until(lambda: bool(jobs(server)) and jobs(server)[0]["state"] == "completed", timeout_s=30)
    job = jobs(server)[0]
    assert job["metadata"] == {"ward": "3"}
    assert job["spec"]["parameters"] == {"profile": "research"}
    assert job["spec"]["object"].endswith("/report_7.txt")
    page.until(f"{PANEL}.includes('done')")
    kept = httpx2.get(f"{server.url}/api/v1/objects/{job['spec']['object']}", timeout=20)
    assert kept.content == sent.read_bytes()
    shoot("done")


def chosen(page: Page) -> str:
    """Return what the form says that it would send."""
    told: str = page.value("document.querySelector('dialog .drop').innerText")
    return told.replace("\u00a0", " ")


def test_a_folder_that_is_dropped_is_one_job(server: ServerProcess, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "series 1"
    (folder / "more").mkdir(parents=True)
    texts = {"a.txt": "one", "b.txt": "three", "more/c.txt": "seven"}
    for name, told in texts.items():
        (folder / name).write_text(told)
    enter(page, server, "#/runs")
    page.until(shows("Submit a job"))
    drag_in(page, folder)
    assert chosen(page).split("\n")[0] == "3 files"
    page.until("document.querySelector('dialog select')?.options.length > 0")
    fill(page, "dialog select", "texts")
    push(page, "Send and submit", "dialog")
    page.until("!document.querySelector('dialog[open]')")
    key = jobs(server)[0]["spec"]["object"]
    assert key.startswith("uploads/")
    assert key.endswith("/")
    kept = httpx2.get(f"{server.url}/api/v1/objects?prefix={key}", timeout=20).json()["items"]
    names = {each["key"].removeprefix(f"{key}series_1/"): each["num_bytes"] for each in kept}
    assert names == {name: len(told) for name, told in texts.items()}
    until(lambda: jobs(server)[0]["state"] == "completed", timeout_s=30)


def test_what_is_sent_shows_how_far_it_is_and_can_be_left(
    server: ServerProcess, page: Page, shoot: Shoot, tmp_path: Path
) -> None:
    sent = tmp_path / "slow.txt"
    sent.write_text("all is well " * 50_000)
    num_jobs = len(jobs(server))
    enter(page, server, "#/runs")
    page.until(shows("Submit a job"))
    drag_in(page, sent)
    assert chosen(page) == "slow.txt\n600 kB"
    page.until("document.querySelector('dialog select')?.options.length > 0")
    fill(page, "dialog select", "texts")
    limit_uploads(page, 30_000)  # a busy machine has 20 s to look and to press
    push(page, "Send and submit", "dialog")
    now = "Number(document.querySelector('dialog [role=progressbar]')?.ariaValueNow)"
    page.until(f"{now} > 0 && {now} < 100")
    told = page.value("document.querySelector('dialog [data-sent] p').innerText").replace("\u00a0", " ")
    assert re.fullmatch(r"\d+ %\s*[\d.]+ kB / 600 kB", told)
    shoot("sending")
    push(page, "Cancel", "dialog")
    page.until("document.querySelector('dialog [role=progressbar]') === null")
    assert chosen(page).startswith("slow.txt")  # it can be sent again
    limit_uploads(page, -1)
    assert len(jobs(server)) == num_jobs
    stored = httpx2.get(f"{server.url}/api/v1/objects?prefix=uploads/&limit=200", timeout=20).json()["items"]
    assert not [each for each in stored if each["key"].endswith("/slow.txt")]
    push(page, "Send and submit", "dialog")
    page.until("!document.querySelector('dialog[open]')")
    assert len(jobs(server)) == num_jobs + 1


def test_a_file_that_is_too_large_is_refused_with_what_to_do(
    server: ServerProcess, page: Page, shoot: Shoot, tmp_path: Path
) -> None:
    large = tmp_path / "large.txt"
    large.write_bytes(bytes(3 << 20))
    num_jobs = len(jobs(server))
    enter(page, server, "#/runs")
    page.until(shows("Submit a job"))
    drag_in(page, large)
    assert chosen(page).startswith("large.txt")
    page.until("document.querySelector('dialog select')?.options.length > 0")
    limit_uploads(page, 1_000_000)  # it is not all sent by the time at which the server has refused it
    push(page, "Send and submit", "dialog")
    page.until("document.querySelector('dialog [role=alert]') !== null")
    said = page.value("document.querySelector('dialog [role=alert]').innerText")
    assert "1 MiB" in said
    assert "server.max_upload_mb" in said
    shoot("too-large")
    assert len(jobs(server)) == num_jobs
    page.problems[:] = [each for each in page.problems if "413" not in each]  # the browser says so too
    fill(page, "dialog [data-field=tags]", "no tag")
    page.until("document.querySelector('dialog [type=submit]').disabled")
    assert "A tag is name=value." in page.value("document.querySelector('dialog').innerText")


def test_a_job_that_failed_says_why_and_is_tried_again(server: ServerProcess, page: Page, shoot: Shoot) -> None:
    stored(server, "uploads/bad.txt", b"a bad one")
    run = submitted(server, "uploads/bad.txt")
    enter(page, server, f"#/runs/{run}")
    resize(page, 1440, 900)
    page.until(f"{PANEL}.includes('failed')", 30)
    push(page, "Try again", ".runs-one")
    ends = f"{server.url}/api/v1/events?type=run.failed&case=texts"
    until(lambda: httpx2.get(ends, timeout=20).text.count(f'"run":"{run}"') == 2, timeout_s=30)
    page.until(f"{PANEL}.includes('failed')", 30)
    assert "A bad word." in page.value(PANEL)
    push(page, "Log", ".runs-one")
    page.until(f"{PANEL}.includes('run.submitted') && {PANEL}.includes('run.failed')")
    press(page, "n")
    page.until("document.querySelector('dialog[open] .drop') !== null")
    shoot("empty-form")


def test_a_job_that_waits_says_behind_how_many_and_is_cancelled(
    server: ServerProcess, page: Page, shoot: Shoot
) -> None:
    stored(server, "uploads/slow.txt", b"all is well")
    runs = [submitted(server, "uploads/slow.txt", number=str(number), wait_s=30.0) for number in range(5)]
    enter(page, server, f"#/runs/{runs[-1]}")
    resize(page, 1440, 900)
    page.until(f"/jobs? before it/.test({PANEL})")
    shoot("waits")
    push(page, "Cancel", ".runs-one")
    page.until("document.querySelector('dialog[open] .btn.danger') !== null")
    page.value("document.querySelector('dialog[open] .btn.danger').click()")
    page.until(f"{PANEL}.includes('cancelled') && {PANEL}.includes('Try again')")
    seen = {job["id"]: job["state"] for job in jobs(server)}
    assert seen[runs[-1]] == "cancelled"
    for run in runs[:-1]:
        httpx2.post(f"{server.url}/api/v1/runs/{run}/cancel", timeout=20)
