"""Around the pages: places that are not there, tables beside a panel, names of files that are sent."""

from __future__ import annotations

from pathlib import Path

import httpx2
from tests.serve.live.browser import Page
from tests.serve.live.conftest import Served
from tests.web.conftest import Walker, enter, resize, watch
from tests.web.hands import drag_in, fill, push, shows


def test_a_place_that_is_not_there_is_called_so(served: Served, page: Page) -> None:
    enter(page, served, "#/nonsense")
    page.until("document.querySelector('h1')?.innerText === 'There is no such page'")
    assert page.value("document.title") == "There is no such page · Sightline"


def test_the_table_of_runs_fits_beside_a_run(served: Served, page: Page) -> None:
    run = watch(served, "brain_segmentation_of_heads", door=Walker())
    resize(page, 1280, 800)
    enter(page, served, f"#/runs/{run.id}")
    page.until("!!document.querySelector('.runs-one h2') && !!document.querySelector('.runs-list td')")
    table = "document.querySelector('.runs-list .scroll')"
    assert page.value(f"{table}.scrollWidth - {table}.clientWidth") <= 0


def test_files_named_in_other_scripts_stay_apart_when_they_are_sent(served: Served, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "снимки дня"
    folder.mkdir()
    for name in ("срез.txt", "шум.txt"):
        (folder / name).write_text(name)
    enter(page, served, "#/runs")
    page.until(shows("Submit a job"))
    drag_in(page, folder)
    page.until("document.querySelector('dialog select')?.options.length > 0")
    fill(page, "dialog select", "resnet50_classification")
    push(page, "Send and submit", "dialog")
    page.until("!document.querySelector('dialog[open]')", 30)
    kept = httpx2.get(f"{served.url}/api/v1/objects?prefix=uploads/", timeout=20).json()["items"]
    assert [each["key"].split("/", 2)[2] for each in kept] == ["снимки_дня/срез.txt", "снимки_дня/шум.txt"]
