"""The Runs page in a real browser: what failed and its cure, counters of each source, stopping and starting again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from tests.serve.live.browser import Page
from tests.serve.live.conftest import Served, until
from tests.web.conftest import Walker, enter, press, resize, watch
from tests.web.test_events_page import happened

from sightline.build.running import held_run
from sightline.core.case import Case
from sightline.core.run import Run
from sightline.packs.basic.sinks import BusSink
from sightline.packs.vision.sources.video import VideoSource

pytestmark = pytest.mark.service("Chromium")
Shoot = Callable[[str], Path]
ROWS = "[...document.querySelectorAll('.runs-list tbody tr')].map((row) => row.innerText)"
PANEL = "(document.querySelector('.runs-one, dialog.side')?.innerText ?? '')"


def failed_run(served: Served) -> Run:
    """Run a case whose file is not there, until it has failed."""
    case = Case(name="broken", sources={"door": VideoSource(url="/nowhere/door.mp4")}, stages={}, sinks=(BusSink(),))
    run = served.platform.streams.start(lambda: held_run(case, served.context, stands=False))
    until(lambda: served.context.store.runs.get(run.id).state == "failed")
    return run


def button(word: str, within: str = "document") -> str:
    return f"[...{within}.querySelectorAll('button, a.btn')].find((each) => each.innerText.trim().startsWith('{word}'))"


def test_a_run_that_failed_says_why_and_what_to_do(served: Served, page: Page, shoot: Shoot) -> None:
    failed = failed_run(served)
    resize(page, 1440, 900)
    enter(page, served, f"#/runs/{failed.id}")
    page.until(f"{PANEL}.includes('There is no file /nowhere/door.mp4.')")
    page.until(f"{PANEL}.includes('Check the path')")
    page.until(f"({ROWS}).some((row) => row.includes('failed') && row.includes('There is no file'))")
    assert page.value("document.querySelector('[aria-selected=true]').innerText").startswith("failed")
    shoot("failed")
    page.value(f"{button('Spec')}.click()")
    page.until(f'{PANEL}.includes(\'"url": "/nowhere/door.mp4"\')')


def test_a_run_shows_its_sources_its_events_and_ends_when_it_is_told_to(
    served: Served, page: Page, shoot: Shoot
) -> None:
    run = watch(served, "yard", door=Walker(), gate=VideoSource(url="rtsp://127.0.0.1:9/cam"))
    happened(served, "line.crossed", timedelta(0), case="yard", line="gate", direction="in", run=run.id)
    resize(page, 1440, 900)
    enter(page, served, "#/runs")
    page.until(f"({ROWS}).some((row) => row.includes('1 live, 1 reconnecting'))")
    page.value("document.querySelector('.runs-list tbody tr').click()")
    page.until(f"{PANEL}.includes('rtsp://127.0.0.1:9/cam') && {PANEL}.includes('It refuses the connection.')")
    before = page.value("document.querySelector('.source .stat .v').innerText")
    page.until(f"document.querySelector('.source .stat .v').innerText !== {before!r}")
    shoot("running")
    page.value(f"{button('Events', 'document.querySelector(`.tabs`)')}.click()")
    page.until("document.querySelector('.happened')?.innerText.includes('Line gate crossed, in')")
    assert "tab=events" in page.value("location.hash")
    page.value(f"{button('Stop run')}.click()")
    page.until("document.querySelector('dialog[open]')?.innerText.includes('Its sources are read no more')")
    assert page.value("document.activeElement.innerText") != "Stop run"
    page.value(f"{button('Stop run', 'document.querySelector(`dialog`)')}.click()")
    page.until(f"{PANEL}.includes('cancelled')")
    page.until(f"{PANEL}.includes('Start again')")


def test_filters_live_in_the_address_and_keys_go_from_run_to_run(served: Served, page: Page) -> None:
    runs = [failed_run(served) for _ in range(2)]
    watch(served, "yard", door=Walker())
    enter(page, served, "#/runs?state=failed&case=broken")
    page.until(f"({ROWS}).length >= 2 && ({ROWS}).every((row) => row.includes('failed'))")
    beside = "document.querySelector('.runs-one h2')?.innerText"  # the address is there before the page has read it
    press(page, "j")
    page.until(f"{beside} === '{runs[1].id[:8]}' && location.hash.includes('state=failed')")
    assert runs[1].id in page.value("location.hash")
    press(page, "j")
    page.until(f"{beside} === '{runs[0].id[:8]}'")
    press(page, "k")
    page.until(f"{beside} === '{runs[1].id[:8]}'")
    press(page, "Escape")
    page.until("location.hash.startsWith('#/runs?')")
    page.value(f"{button('running')}.click()")
    page.until("location.hash.includes('state=running') && !!document.querySelector('.empty')")
    page.value(f"{button('Clear filters')}.click()")
    page.until(f"({ROWS}).some((row) => row.includes('yard'))")


def test_a_shipped_case_is_started_again_from_the_page(served: Served, page: Page) -> None:
    answer = httpx2.post(f"{served.url}/api/v1/runs", json={"case": "dummy_offline"}, timeout=30)
    assert answer.status_code == 201, answer.text
    first = answer.json()["id"]
    httpx2.post(f"{served.url}/api/v1/runs/{first}/stop", timeout=30)
    enter(page, served, "#/runs?case=dummy_offline")
    page.until(f"({ROWS}).length === 1 && ({ROWS})[0].includes('cancelled')", 30)
    press(page, "j")
    page.until(f"location.hash.includes('{first}') && {PANEL}.includes('Start again')")
    page.value(f"{button('Start again')}.click()")
    page.until(f"({ROWS}).length === 2 && !location.hash.includes('{first}')")
    page.until(f"({ROWS}).some((row) => row.includes('running')) && {PANEL}.includes('Stop run')", 30)
    second = page.value("location.hash").split("/")[-1].split("?")[0]
    page.value(f"{button('Restart')}.click()")

    def epoch() -> int:
        run = httpx2.get(f"{served.url}/api/v1/runs/{second}", timeout=30).json()
        return max([each["epoch"] for each in run["status"].get("sources", {}).values()], default=0)

    until(lambda: epoch() >= 2, timeout_s=30)
    page.until(f"{PANEL}.includes('Stop run') && !document.querySelector('.run-panel .banner')")
    assert second in page.value("location.hash")


def test_an_unknown_run_is_said_to_be_unknown(served: Served, page: Page, shoot: Shoot) -> None:
    enter(page, served, "#/runs/0000")
    page.until("document.querySelector('.banner')?.innerText.includes('0000')")
    shoot("unknown")
    page.problems.clear()  # the browser notes every 404


def test_on_a_phone_a_run_opens_as_a_sheet(served: Served, page: Page, shoot: Shoot) -> None:
    failed = failed_run(served)
    resize(page, 390, 844)
    enter(page, served, "#/runs", theme="light", lang="ru")
    page.until(f"({ROWS}).length >= 1")
    assert page.value("document.documentElement.scrollWidth") == 390
    shoot("phone")
    page.value("document.querySelector('.runs-list tbody tr').click()")
    page.until(f"!!document.querySelector('dialog[open]') && location.hash.includes('{failed.id}')")
    page.until(f"{PANEL}.includes('There is no file')")
    assert page.value("document.querySelector('dialog').getBoundingClientRect().height") == 844
    shoot("phone-sheet")
