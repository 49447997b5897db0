"""Contrast as WCAG 2.2 AA wants it, measured on every page as the browser computed it, dark and light."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.packs.medical.phantoms import nifti, phantom
from tests.serve.live.browser import WEBGL, Browser, Page, started
from tests.serve.live.conftest import Served
from tests.web.conftest import Walker, enter, resize, until_live, watch
from tests.web.test_study_page import chances, studied

from sightline.core.run import Run, RunKind

pytestmark = pytest.mark.service("Chromium")
MEASURE = Path(__file__).with_name("contrast.js").read_text("utf-8")
PLACES = {
    "#/live": "!!document.querySelector('.feed li')",
    "#/events": "!!document.querySelector('.empty, .card')",
    "#/cases": "!!document.querySelector('.tbl.cases td')",
    "#/cases/street_people": "!!document.querySelector('.yaml textarea')",
    "#/models": "!!document.querySelector('.tbl td')",
    "#/models/efficientnet-lite0": "!!document.querySelector('main .kv')",
    "#/runs": "!!document.querySelector('.runs-list td')",
    "#/system": "!!document.querySelector('.ch svg')",
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that draws volumes too."""
    with started(tmp_path_factory.mktemp("browser"), *WEBGL) as browser:
        yield browser


def measured(page: Page) -> dict[str, Any]:
    """Return what is too faint on the page, and how many texts and parts were measured."""
    return dict(page.value(MEASURE))


def study(served: Served) -> str:
    """Record a job that is done, with all that a page can show of it, and return the address of its study."""
    of = phantom((24, 20, 16))
    run = studied(served, of, {"1-mask-01-seen.nii.gz": nifti(of)}, probability=chances(of))
    return f"#/runs/{run.id}/study"


def jobs(served: Served) -> str:
    """Record a job that goes on, and return the address of its panel."""
    runs = served.context.store.runs
    run = runs.create(
        Run(case="brain", kind=RunKind.JOB, spec={"object": "a.nii"}, metadata={"a": "b"}), worker="other"
    )
    steps = [{"name": "reading", "state": "done", "seconds": 1.0}, {"name": "net", "state": "running"}]
    steps.append({"name": "publishing", "state": "waiting"})
    runs.report(run.id, run.token, {"progress": 0.4, "stage": "net", "steps": steps})
    return f"#/runs/{run.id}"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_and_controls_stand_out_on_every_page(theme: str, served: Served, page: Page) -> None:
    watch(served, door=Walker())
    resize(page, 1440, 900)
    faint: list[str] = []
    more = {
        jobs(served): "!!document.querySelector('.job-steps')",
        study(served): "document.querySelector('.study-pic')?.dataset.phase === 'shown'",
    }
    for place, is_there in (PLACES | more).items():
        enter(page, served, place, theme=theme)
        if place == "#/live":
            until_live(page, "door")
        page.until(is_there, 30)
        seen = measured(page)
        assert seen["texts"] > 10, place
        faint += [f"{place}: {each}" for each in seen["found"]]
    assert not faint, "\n".join(faint)


def test_the_measure_finds_what_is_too_faint(served: Served, page: Page) -> None:
    enter(page, served, "#/models")
    page.until(PLACES["#/models"], 30)
    page.value("document.querySelector('h1').style.color = 'rgb(128 128 128 / .6)'")
    assert any("h1" in each for each in measured(page)["found"])
