"""The System page in a real browser, in front of a server as a user starts it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from tests.serve.live.browser import Page
from tests.serve.processes import ServerProcess, server_process
from tests.web.conftest import enter, resize

pytestmark = pytest.mark.service("Chromium")
Shoot = Callable[[str], Path]
LINES = "[...document.querySelectorAll('.log .line')].map((line) => line.innerText)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`sightline serve` with one camera that plays, and one that nobody answers for."""
    with server_process(tmp_path_factory.mktemp("served"), "street_people") as process:
        video = Path(__file__).parents[2] / "src/sightline/cases/street_people/street.mp4"
        street = {"use": "video", "url": str(video), "fps": 2, "loop": True, "realtime": True}
        wish = {
            "case": "street_people",
            "sources": {"street": street, "gate": "rtsp://127.0.0.1:9/cam"},
            "stands": True,
        }
        answer = httpx2.post(f"{process.url}/api/v1/runs", json=wish, timeout=60)
        assert answer.status_code == 201, answer.text
        yield process


def look(page: Page, server: ServerProcess, **prefs: str) -> None:
    enter(page, cast("Any", server), "#/system", **prefs)  # all that it wants to know is where the server is


def chart(title: str, what: str) -> str:
    charts = "[...document.querySelectorAll('.chart')]"
    return f"{charts}.find((each) => each.querySelector('h3').innerText.startsWith('{title}'))?.{what}"


def points(title: str) -> str:
    """JavaScript: how many points the longest line of a chart has."""
    lines = chart(title, "querySelectorAll('polyline.ln')")
    return f"Math.max(0, ...[...({lines} ?? [])].map((line) => line.getAttribute('points').split(' ').length))"


def test_charts_have_data_and_the_value_of_now(server: ServerProcess, page: Page, shoot: Shoot) -> None:
    resize(page, 1440, 1200)
    look(page, server)
    for title in ("Frames a second", "Inference, nanodet-m", "Queue before models", "Processor", "Memory"):
        page.until(f"{points(title)} >= 2", 60)
        assert page.value(chart(title, "querySelector('.ph b').innerText")) != "", title
    page.until(chart("Frames a second", "innerText.includes('wanted')"))
    assert page.value(chart("Memory", "querySelector('svg').getAttribute('aria-label')")).startswith("Memory: 0.")
    # The one that nobody answers for costs nothing, and its state is told as everywhere.
    rows = page.value(
        "[...document.querySelectorAll('.tbl')[0].querySelectorAll('tbody tr')].map((row) => row.innerText)"
    )
    assert any("street" in row and "Live" in row for row in rows), rows
    assert any("gate" in row and "Reconnecting" in row for row in rows), rows
    text = page.value("document.body.innerText")
    assert all(word in text for word in ("nanodet-m@1", "onnxruntime", "1 camera needs attention"))
    page.until(f"{points('Memory')} >= 10", 40)
    shoot("wide")


def test_the_log_is_followed_filtered_and_paused(server: ServerProcess, page: Page) -> None:
    resize(page, 1440, 900)
    look(page, server)
    page.until(f"({LINES}).some((line) => line.includes('source is lost') && line.includes('gate'))", 20)
    page.value("[...document.querySelectorAll('.log-head .seg button')][1].click()")
    page.until(f"({LINES}).length > 0 && ({LINES}).every((line) => line.includes('warn') || line.includes('error'))")
    page.value("[...document.querySelectorAll('.log-head .seg button')][0].click()")
    page.value(
        "(() => { const field = document.querySelector('[data-filter=log]'); field.value = 'MODEL OPENED';"
        "field.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    page.until(f"({LINES}).length > 0 && ({LINES}).every((line) => line.includes('model opened'))")
    page.value("[...document.querySelectorAll('.log-head button')].at(-1).click()")
    page.until("document.querySelector('.log-head').innerText.includes('paused')")
    page.value("document.querySelector('.log .line').click()")
    page.until("document.querySelector('.log .line').getAttribute('aria-expanded') === 'true'")


def test_in_russian_and_light_on_a_phone_nothing_is_wider_than_the_screen(
    server: ServerProcess, page: Page, shoot: Shoot
) -> None:
    resize(page, 390, 844)
    look(page, server, theme="light", lang="ru")
    page.until("(document.body?.innerText ?? '').includes('Кадры в секунду')", 20)
    page.until("document.querySelectorAll('.chart polyline').length > 3", 30)
    assert page.value("document.documentElement.scrollWidth") == 390
    shoot("phone")


def test_the_server_is_asked_every_two_seconds_and_no_more(server: ServerProcess, page: Page) -> None:
    look(page, server)
    page.until(f"{points('Memory')} >= 2", 60)
    asked = "performance.getEntriesByType('resource').filter(({name}) => name.includes('/api/v1/system')).length"
    before, begin_s = page.value(asked), time.monotonic()
    time.sleep(6)
    assert page.value(asked) - before <= (time.monotonic() - begin_s) / 2 + 1
