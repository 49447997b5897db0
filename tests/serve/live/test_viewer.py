"""`GET /viewer`: the page by itself, and in a real browser in front of a case that runs."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest
from tests.serve.live.browser import browsing
from tests.serve.live.conftest import SIZE, Served, serving

from sightline.core.access import Scope
from sightline.packs.vision.sources.synthetic import SyntheticSource
from sightline.packs.vision.sources.video import VideoSource
from sightline.serve.auth.keys import new_key

CANVAS = "document.querySelector('canvas')"
IDLE = "document.getElementById('none')?.hidden === false && socket.readyState === 1"
DRAWN = f"""(() => {{ const c = {CANVAS};
  const p = c.getContext("2d").getImageData(4, 20, 1, 1).data; return [c.width, c.height, p[0], p[1], p[2]]; }})()"""


def test_the_page_is_small_and_nothing_may_run_in_it_that_does_not_stand_in_it(served: Served) -> None:
    answer = httpx2.get(f"{served.url}/viewer", timeout=30)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert len(answer.content) < 30_000
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", answer.text)


@pytest.mark.service("Chromium")
def test_it_says_that_nothing_runs_and_how_to_begin(served: Served, tmp_path: Path) -> None:
    with browsing(tmp_path) as page:
        page.open(f"{served.url}/viewer")
        page.until(IDLE)
        text = page.value("document.body.innerText")
        assert "No case is running." in text
        assert "sightline serve street_people --run" in text
        assert page.problems == []


@pytest.mark.service("Chromium")
def test_it_draws_pictures_boxes_and_names_and_asks_nobody_else(served: Served, tmp_path: Path) -> None:
    black = SyntheticSource(size=SIZE, fps=20, pattern="black", realtime=True)
    with browsing(tmp_path) as page:
        page.open(f"{served.url}/viewer?theme=light")
        page.until(IDLE)
        served.run("yard", door=black, gate=VideoSource(url="rtsp://127.0.0.1:9/cam"))
        page.until(f"{CANVAS} && document.body.innerText.includes('shown')")
        width, height, red, green, blue = page.value(DRAWN)
        assert (width, height) == SIZE
        assert max(red, green, blue) > 80  # the left side of the box, on a black picture
        page.until("document.body.innerText.includes('Reconnecting')")
        page.value("document.getElementById('boxes').click()")
        page.until(f"Math.max(...{DRAWN}.slice(2)) < 20")
        text = page.value("document.body.innerText")
        assert all(word in text for word in ("door", "gate", "yard", "Live", "Needs attention", "run.started"))
        assert {re.split(r"[/:]+", address)[1] for address in page.asked if not address.startswith("data:")} == {
            "127.0.0.1"
        }
        assert not [problem for problem in page.problems if "503" not in problem]


@pytest.mark.service("Chromium")
def test_two_runs_of_a_case_are_told_apart_and_no_tile_is_taller_than_the_window(
    served: Served, tmp_path: Path
) -> None:
    first = served.run("yard")
    with browsing(tmp_path) as page:
        page.tell("Emulation.setDeviceMetricsOverride", width=1280, height=500, deviceScaleFactor=1, mobile=False)
        page.open(f"{served.url}/viewer")
        page.until(f"{CANVAS} && document.body.innerText.includes('shown')")
        assert "run " + first.id[:6] not in page.value("document.body.innerText")
        assert page.value("document.querySelector('article').getBoundingClientRect().bottom") <= 500
        second = served.run("yard")
        for run in (first, second):
            page.until(f"document.body.innerText.includes('yard · run {run.id[:6]}')")
        # A run that has no picture yet is no live stream, and /health/stream says so with 503.
        assert not [problem for problem in page.problems if "503" not in problem]


@pytest.mark.service("Chromium")
def test_without_a_websocket_it_shows_the_multipart_stream(served: Served, tmp_path: Path) -> None:
    served.run()
    with browsing(tmp_path) as page:
        page.tell("Page.addScriptToEvaluateOnNewDocument", source="delete window.WebSocket")
        page.open(f"{served.url}/viewer?mjpeg=1")
        page.until("document.querySelector('.pic img')?.naturalWidth > 0")
        assert page.value("document.querySelector('.pic img').naturalWidth") == SIZE[0]


@pytest.mark.service("Chromium")
def test_where_keys_are_asked_for_it_asks_for_one_and_goes_on_with_it(tmp_path: Path) -> None:
    with serving(tmp_path, {"SIGHTLINE_AUTH__MODE": "on"}) as served, browsing(tmp_path) as page:
        key, kept = new_key("viewer", [Scope.READ])
        served.context.store.keys.add(kept)
        served.run()
        page.open(f"{served.url}/viewer")
        page.until("document.getElementById('key')?.hidden === false")
        page.value("document.getElementById('token').value = 'wrong'; document.getElementById('key').requestSubmit()")
        page.until("document.body.innerText.includes('refused this key')")
        page.value(f"document.getElementById('token').value = '{key}'; document.getElementById('key').requestSubmit()")
        page.until(f"{CANVAS} && document.body.innerText.includes('shown')")
        assert page.value("document.getElementById('key').hidden")
