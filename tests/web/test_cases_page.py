"""The pages of cases in a real browser, in front of a server as users start it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.live.browser import Browser, Page
from tests.serve.processes import ServerProcess, server_process
from tests.web.conftest import ARTIFACTS, enter, resize
from tests.web.hands import CTRL, box, click, drag, fill, push, shows, stroke, text, write

pytestmark = pytest.mark.service("Chromium")
Shoot = Callable[[str], Path]
NUMBERS = count(1)
WELL = "document.querySelector('.check .st.live') !== null"
CASE = """\
title: A yard
source: {use: synthetic, fps: 5, realtime: true, size: [320, 240]}

stages:
  analytics:
    light: {use: brightness}          # how bright it is
    found: {use: detector, threshold: 0.4}
    people: {use: tracker, of: found}

sinks:
  - {use: bus}                        # for the browser
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server of this file was started; its cases are in `cases`."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def house(root: Path) -> Iterator[ServerProcess]:
    """One server for a file of tests, each of which keeps to a case of its own."""
    with server_process(root) as process:
        yield process


@pytest.fixture
def server(house: ServerProcess) -> Iterator[ServerProcess]:
    """The server; what runs on it ends with the test."""
    yield house
    for run in asked(house, "/runs?state=running")["items"]:
        assert httpx2.post(f"{house.url}/api/v1/runs/{run['id']}/cancel", timeout=20).is_success


@pytest.fixture
def yard(root: Path) -> Path:
    """The manifest of a case that only one test has."""
    return written(root / "cases" / f"yard_{next(NUMBERS)}", CASE)


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    manifest = folder / "case.yaml"
    manifest.write_text(text)
    return manifest


def start(server: ServerProcess, case: str) -> str:
    """Run a case; return the id of the run."""
    answer = httpx2.post(f"{server.url}/api/v1/runs", json={"case": case}, timeout=60)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def asked(server: ServerProcess, path: str) -> Any:
    return httpx2.get(f"{server.url}/api/v1{path}", timeout=20).json()


def soon(true: Callable[[], bool], within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_broken_manifest_is_mended_in_the_browser_and_its_case_is_served(
    page: Page, shoot: Shoot, tmp_path: Path
) -> None:
    broken = CASE.replace("threshold: 0.4", "threshold: 45").replace("use: brightness", "use: brightnes")
    manifest = written(tmp_path / "cases/yard", broken)
    with server_process(tmp_path, "yard", "--run") as server:  # of its own: what cannot run at its start is told on it
        assert asked(server, "/cases/yard")["safe_mode"]
        enter(page, server, "#/cases")
        page.until(shows("Safe mode."))
        assert page.value(shows("yard cannot run."))
        shoot("safe-list")
        push(page, "Mend it")
        page.until(shows("2 errors in case.yaml"))
        page.until("document.querySelector('.part-head[aria-expanded=true]') !== null")
        assert page.value("[...document.querySelectorAll('.yaml-no .bad')].map(e => e.innerText)") == ["6", "7"]
        shoot("safe-mode")
        push(page, "Change to brightness")
        page.until("[...document.querySelectorAll('.yaml-no .bad')].map(e => e.innerText).join() === '7'")
        push(page, "Change to 0.45")
        page.until(WELL)
        shoot("mended")
        push(page, "Save")
        page.until(f"!{shows('Safe mode.')}")
        soon(lambda: asked(server, "/cases/yard")["running"] != [])
        seen = asked(server, "/cases/yard")
        assert (seen["safe_mode"], seen["served"], seen["problems"]) == (False, True, [])
    assert manifest.read_text() == CASE.replace("threshold: 0.4", "threshold: 0.45")


def test_a_case_that_takes_jobs_alone_offers_a_job_and_no_start(page: Page, server: ServerProcess) -> None:
    enter(page, server, "#/cases")
    page.until(shows("brain_segmentation"))
    row = "[...document.querySelectorAll('tbody tr')].find((row) => row.innerText.includes('{}')).innerText"
    assert "Submit a job" in page.value(row.format("brain_segmentation"))
    assert "Start" in page.value(row.format("street_people"))
    enter(page, server, "#/cases/brain_segmentation")
    page.until("document.querySelector('.yaml textarea')?.value.includes('input: study')")
    assert not page.value("document.querySelector('.act-m').innerText.includes('start')")
    enter(page, server, "#/live")
    page.until(shows("Start "))
    assert not page.value(shows("Start brain_segmentation"))


def test_a_zone_that_is_drawn_with_the_mouse_counts_the_next_who_enters(
    page: Page, shoot: Shoot, server: ServerProcess, root: Path
) -> None:
    start(server, "street_people")
    enter(page, server, "#/cases/street_people")
    resize(page, 1440, 900)
    page.until("document.querySelector('.draw img')?.naturalWidth === 768", 30)
    left, top, width, _ = box(page, "svg.ov")
    push(page, "Zone", ".draw-bar")
    corners = [(540, 150), (760, 150), (760, 560), (540, 560)]
    for x, y in corners:
        click(page, left + x / 768 * width, top + y / 768 * width)
    shoot("drawing")
    stroke(page, "Enter")
    page.until("document.querySelector('.yaml textarea').value.includes('zone_1')")
    line = next(line for line in text(page).splitlines() if "zone_1" in line)
    drawn = json.loads(line.partition("zone_1: ")[2].rpartition("}")[0])
    assert [pytest.approx(corner, abs=2) for corner in corners] == drawn
    page.until(WELL)
    assert "size: [768, 576]" in text(page)  # on another picture the places are scaled
    shoot("drawn")
    push(page, "Save and restart")
    manifest = root / "cases/street_people/case.yaml"
    soon(manifest.is_file)

    def entered() -> list[dict[str, Any]]:
        events = asked(server, "/events?type=zone.entered&limit=200")["items"]
        return [event for event in events if event["data"]["zone"] == "zone_1"]

    soon(lambda: bool(entered()), 40)
    x1, _, x2, feet = entered()[0]["data"]["xyxy"]
    assert 530 < (x1 + x2) / 2 < 770
    assert 140 < feet < 570
    assert manifest.read_text().count("#") == 5  # every comment is still there


def test_two_browsers_lose_nothing(server: ServerProcess, yard: Path, browser: Browser) -> None:
    with browser.page() as page:
        enter(page, server, f"#/cases/{yard.parent.name}")
        resize(page, 1280, 800)
        page.until(WELL)
        write(page, "A yard", "My yard")
        page.until(shows("changed"))
        manifest = f"{server.url}/api/v1/cases/{yard.parent.name}/manifest"
        theirs = CASE.replace("A yard", "Their yard")
        seen = httpx2.get(manifest, timeout=30).headers["etag"]
        headers = {"If-Match": seen, "Content-Type": "text/yaml"}
        assert httpx2.put(manifest, content=theirs, headers=headers, timeout=30).status_code == 200
        page.until(WELL)
        stroke(page, "s", CTRL)
        page.until("document.querySelector('dialog[open] .diff-row.other') !== null")
        compared = page.value("document.querySelector('.diff-row.other').innerText")
        assert "My yard" in compared
        assert "Their yard" in compared
        ARTIFACTS.mkdir(exist_ok=True)
        page.picture(ARTIFACTS / "cases_page-conflict.png")
        assert httpx2.get(manifest, timeout=30).text == theirs
        push(page, "Take theirs", "dialog")
        page.until("!document.querySelector('dialog[open]')")
        assert text(page) == theirs
        push(page, "Undo", ".act-m")
        assert "My yard" in text(page)
        page.until(WELL)
        httpx2.put(manifest, content=CASE, headers={"If-Match": "*", "Content-Type": "text/yaml"}, timeout=30)
        push(page, "Save", ".act-m")
        page.until("document.querySelector('dialog[open] .diff-row.other') !== null")
        push(page, "Write mine over theirs", "dialog")
        page.until("!document.querySelector('dialog[open]')")
        soon(lambda: httpx2.get(manifest, timeout=30).text == CASE.replace("A yard", "My yard"))
        # The browser itself notes that it was answered 412, twice.
        assert [problem for problem in page.problems if "412" not in problem] == []
        assert len(page.problems) == 2


def test_form_and_text_are_two_views_of_one_manifest(
    page: Page, shoot: Shoot, server: ServerProcess, yard: Path
) -> None:
    enter(page, server, f"#/cases/{yard.parent.name}", theme="light", lang="ru")
    resize(page, 1440, 900)
    page.until(WELL)
    heads = "[...document.querySelectorAll('.part-head')]"
    page.value(f"{heads}.find(b => b.innerText.includes('found')).click()")
    page.until("[...document.querySelectorAll('.part-fields label')].some(l => l.innerText === 'threshold')")
    control = "[...document.querySelectorAll('.part-fields label')].find(l => l.innerText === 'threshold').htmlFor"
    named = page.value(control)
    fill(page, f"[id='{named}']", "0.6")
    assert text(page) == CASE.replace("threshold: 0.4", "threshold: 0.6")
    fill(page, f"[id='{named}']", "")
    assert text(page) == CASE.replace(", threshold: 0.4", "")
    write(page, "title: A yard", "title: A yard, # of mine")
    write(page, "use: bus", "use: bos")
    page.until("document.querySelector('.yaml-note') !== null")
    shoot("form-light-ru")
    stroke(page, ".", CTRL)
    page.until(WELL)
    assert "use: bus" in text(page)
    for _ in range(5):
        stroke(page, "z", CTRL)
    page.until(f"document.querySelector('.yaml textarea').value === {json.dumps(CASE)}")
    assert page.value("document.querySelector('.case-bar .tag.w')") is None
    # Who leaves with an unsaved edit is told that it is kept, and finds it when he comes back.
    write(page, "A yard", "My yard")
    page.until("document.querySelector('.case-bar .tag.w') !== null")
    page.value("location.hash = '#/cases'")
    page.until("document.querySelector('.cases .tag.w') !== null")
    assert page.value(shows(f"Несохранённая правка {yard.parent.name} осталась в этой вкладке."))
    page.value("history.back()")
    page.until("document.querySelector('.yaml textarea')?.value.includes('My yard')")
    push(page, "Отменить правку")
    assert text(page) == CASE


def test_a_zone_is_as_well_made_by_numbers_and_faults_are_told_at_once(
    page: Page, shoot: Shoot, server: ServerProcess, yard: Path
) -> None:
    enter(page, server, f"#/cases/{yard.parent.name}")
    resize(page, 1440, 900)
    page.until(WELL)
    push(page, "Zone by numbers", ".draw-list")
    assert "use: zone-counter, of: people" in text(page)
    page.until("document.querySelectorAll('.points tbody tr').length === 4")
    fill(page, ".points [aria-label='1 x']", 320)
    fill(page, ".points [aria-label='1 y']", 400)
    page.until("document.querySelector('.draw-fault')?.innerText.includes('The sides cross one another.')")
    shoot("crossing")
    fill(page, ".points [aria-label='1 x']", -20)
    page.until("document.querySelector('.draw-below').innerText.includes('lies outside the picture')")
    fill(page, ".points [aria-label='1 x']", 100)
    fill(page, ".points [aria-label='1 y']", 100)
    page.until("!document.querySelector('.draw-fault')")
    # Keys do what the mouse does: a point is moved, taken out, and taken back.
    page.value("document.querySelector('circle.v').focus()")
    page.tell("Input.dispatchKeyEvent", type="rawKeyDown", key="ArrowRight", windowsVirtualKeyCode=39, modifiers=8)
    page.until("document.querySelector(\".points [aria-label='1 x']\").value === '110'")
    page.value("document.querySelector('circle.v').focus()")
    stroke(page, "Delete")
    page.until("document.querySelectorAll('.points tbody tr').length === 3")
    stroke(page, "z", CTRL)
    page.until("document.querySelectorAll('.points tbody tr').length === 4")
    corners = "[...document.querySelectorAll('circle.v')].map(c => c.getBoundingClientRect())"
    x, y = page.value(f"{corners}.map(b => [b.left + b.width / 2, b.top + b.height / 2])[2]")
    before = text(page)
    drag(page, (x, y), (x + 20, y + 10))
    page.until(f"document.querySelector('.yaml textarea').value !== {json.dumps(before)}")
    push(page, "Line by numbers", ".draw-list")
    page.until(WELL)
    assert "use: line-counter" in text(page)
    points = "document.querySelector(\".points [aria-label='1 y']\").value"
    start = page.value(points)
    push(page, "Turn round", ".draw-edit")
    page.until(f"{points} !== {json.dumps(start)}")
    shoot("by-numbers")


def test_sources_of_a_running_case_are_added_changed_and_removed(
    page: Page, shoot: Shoot, server: ServerProcess, yard: Path
) -> None:
    run = start(server, yard.parent.name)
    enter(page, server, f"#/cases/{yard.parent.name}?tab=sources")
    resize(page, 1280, 800)
    page.until("document.querySelectorAll('.tbl tbody tr').length === 1")
    push(page, "Add source")
    page.until("document.querySelector('dialog[open] select')?.options.length > 1")
    fill(page, "dialog input", "gate")
    fill(page, "dialog select", "synthetic")
    page.until("![...document.querySelectorAll('dialog .field-head label')].some(l => l.innerText === 'url')")
    shoot("add-source")
    push(page, "Add source", "dialog")
    page.until("document.querySelectorAll('.tbl tbody tr').length === 2")
    assert set(asked(server, f"/runs/{run}")["spec"]["sources"]) == {"main", "gate"}
    push(page, "Change gate")
    page.until("document.querySelector('dialog[open] .field-head') !== null")
    name = page.value(
        "[...document.querySelectorAll('dialog .field-head label')].find(l => l.innerText === 'fps').htmlFor"
    )
    fill(page, f"[id='{name}']", "3")
    push(page, "Read it so", "dialog")
    soon(lambda: asked(server, f"/runs/{run}")["spec"]["sources"]["gate"].get("fps") == 3)
    page.until("!document.querySelector('dialog[open]')")
    shoot("sources")
    push(page, "Remove gate")
    page.until("document.querySelectorAll('.tbl tbody tr').length === 1")
    main = asked(server, f"/runs/{run}")["status"]["sources"]["main"]
    assert main["reconnects"] == 0


def test_a_case_is_made_started_and_stopped(page: Page, server: ServerProcess) -> None:
    enter(page, server, "#/cases")
    push(page, "New case")
    page.until("document.querySelector('dialog[open] input') !== null")
    fill(page, "dialog input", "gate")
    push(page, "Make the case", "dialog")
    page.until("document.querySelector('h1')?.innerText === 'gate'")
    page.until(WELL)
    push(page, "Save and start")
    page.until("document.querySelector('.top .st.live') !== null")
    soon(lambda: len(asked(server, "/cases/gate")["running"]) == 1)
    push(page, "Stop", ".case-bar")
    soon(lambda: asked(server, "/cases/gate")["running"] == [])


@pytest.mark.parametrize(
    "prefs", [{"theme": "dark", "lang": "en"}, {"theme": "light", "lang": "ru"}], ids=["dark", "light"]
)
def test_it_can_be_used_on_a_phone(
    prefs: dict[str, str], page: Page, shoot: Shoot, server: ServerProcess, yard: Path
) -> None:
    yard.write_text(CASE.replace("0.4", "40"))
    case = f"#/cases/{yard.parent.name}"
    resize(page, 390, 844)
    for name, place in (("list", "#/cases"), ("case", case), ("sources", f"{case}?tab=sources")):
        enter(page, server, place, **prefs)
        page.until("document.querySelector('.panel .tbl, .yaml-note, .empty') !== null", 30)
        assert page.value("document.documentElement.scrollWidth") <= 390
        shoot(f"phone-{prefs['theme']}-{name}")
