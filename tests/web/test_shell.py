"""What stands around the pages: headings of places that are not there, and tables that fit beside a panel."""

from __future__ import annotations

from tests.serve.live.browser import Page
from tests.serve.live.conftest import Served
from tests.web.conftest import Walker, enter, resize, watch


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
