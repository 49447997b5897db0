"""The pages of models in a real browser: tried with pictures, pointed at by aliases, loaded and unloaded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from tests.serve.live.browser import Page
from tests.serve.live.conftest import Served, until
from tests.web.conftest import ROOT, enter, resize
from tests.web.hands import drop, fill, push, shows

pytestmark = pytest.mark.service("Chromium")
Shoot = Callable[[str], Path]
STREET = ROOT / "docs/images/street.jpg"
FISH = ROOT / "tests/data/photos/goldfish.jpg"
INKS = ([108, 197, 255], [255, 198, 92], [99, 226, 162], [255, 149, 128], [199, 177, 255], [255, 156, 203])
"""Colours of boxes, by class: ov-1 to ov-6."""

# Whether a colour is at places of the picture, give or take two pixels of the canvas.
AT = """(() => {
  const canvas = document.querySelector(".try canvas"), scale = canvas.width / 768;
  const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return PLACES.map(([x, y, colour]) => {
    for (let dy = -2; dy <= 2; dy += 1) for (let dx = -2; dx <= 2; dx += 1) {
      const column = Math.min(all.width - 1, Math.max(0, Math.round(x * scale) + dx));
      const row = Math.min(all.height - 1, Math.max(0, Math.round(y * scale) + dy));
      const place = 4 * (row * all.width + column);
      if (colour.every((value, band) => Math.abs(value - all.data[place + band]) < 40)) return true;
    }
    return false;
  });
})()"""


def predicted(served: Served, model: str, path: Path) -> dict[str, Any]:
    answer = httpx2.post(
        f"{served.url}/predict?model={model}",
        content=path.read_bytes(),
        headers={"Content-Type": "image/jpeg"},
        timeout=60,
    )
    found: dict[str, Any] = answer.json()["predictions"]["model"]
    return found


def versions(served: Served, name: str, *titles: str) -> None:
    """Make versions of a model out of the shipped detector."""
    for title in titles:
        wish = {"name": name, "file": {"model": "nanodet-m"}, "title": title}
        assert httpx2.post(f"{served.url}/api/v1/models", json=wish, timeout=60).status_code == 201


def test_a_dropped_picture_gives_boxes_where_the_json_says(served: Served, page: Page, shoot: Shoot) -> None:
    boxes = predicted(served, "nanodet-m", STREET)["items"]
    enter(page, served, "#/models/nanodet-m")
    resize(page, 1440, 900)
    page.until("document.querySelector('.try .drop') !== null")
    shoot("card")
    drop(page, STREET, "image/jpeg")
    page.until("document.querySelectorAll('.try tbody tr').length > 0", 30)
    rows = page.value("[...document.querySelectorAll('.try tbody tr')].map(r => r.innerText.split('\\t').slice(1))")
    best = sorted(boxes, key=lambda each: -each["confidence"])
    assert [row[0].strip() for row in rows] == [each["class_name"] for each in best]
    assert [[round(value) for value in each["xyxy"]] for each in best] == [
        [int(value) for value in re.findall(r"\d+", row[2])] for row in rows
    ]
    places = []
    for each in boxes:
        x1, y1, x2, y2 = each["xyxy"]
        ink = INKS[each["class_id"] % 6]
        places += [[x1, (y1 + y2) / 2, ink], [(x1 + x2) / 2, y2, ink], [x1, y2 - 2, ink]]
    assert page.value(AT.replace("PLACES", json.dumps(places))) == [True] * len(places)
    shoot("boxes")
    push(page, "JSON", ".try")
    told = json.loads(page.value("document.querySelector('.try-json').innerText"))
    assert told["predictions"]["model"]["items"] == boxes
    push(page, "Table", ".try")
    # Over the highest confidence nothing is left, neither in the table nor on the picture.
    page.value(
        """(() => { const slider = document.querySelector(".try input[type=range]"); slider.value = 0.99;
        slider.dispatchEvent(new Event("input", { bubbles: true })); })()"""
    )
    page.until("document.querySelectorAll('.try tbody tr').length === 0")
    assert not any(page.value(AT.replace("PLACES", json.dumps(places[:1]))))


def test_a_classifier_gives_bars_and_what_is_no_picture_is_refused(served: Served, page: Page, shoot: Shoot) -> None:
    items = predicted(served, "efficientnet-lite0", FISH)["items"]
    enter(page, served, "#/models/efficientnet-lite0", theme="light", lang="ru")
    resize(page, 1280, 800)
    page.until("document.querySelector('.try .drop') !== null")
    drop(page, FISH, "image/jpeg")
    page.until("document.querySelectorAll('.bars li').length > 0", 30)
    assert page.value("document.querySelector('.bars li').innerText").startswith(items[0]["class_name"])
    widths = page.value("[...document.querySelectorAll('.bars i')].map(i => parseFloat(i.style.width))")
    assert np.allclose(widths, [100 * each["confidence"] for each in items], atol=0.01)
    shoot("labels-light-ru")
    drop(page, ROOT / "pyproject.toml", "text/plain")
    page.until("document.querySelector('.try [role=alert]') !== null")
    assert "pyproject.toml" in page.value("document.querySelector('.try [role=alert]').innerText")


def test_an_alias_is_moved_with_confirmation_unless_somebody_was_faster(
    served: Served, page: Page, shoot: Shoot
) -> None:
    versions(served, "people", "one", "two")
    where = f"{served.url}/api/v1/models/people/aliases/production"
    httpx2.post(where, json={"version": "1"}, timeout=30)
    enter(page, served, "#/models/people")
    page.until("document.querySelectorAll('[aria-label=\"Versions and aliases\"] tbody tr').length === 2")
    push(page, "Move an alias to version 2")
    page.until(shows("production points at version 1 and will point at version 2."))
    shoot("alias")
    httpx2.post(where, json={"version": "2"}, timeout=30)
    httpx2.post(where, json={"version": "1"}, timeout=30)
    push(page, "Move to version 2", "dialog")
    page.until("!document.querySelector('dialog[open]')")
    assert httpx2.get(where, timeout=30).json()["version"] == "2"
    page.until(shows("production points at version 2"))
    push(page, "Move an alias to version 1")
    fill(page, "dialog input", "production")
    page.until(shows("production points at version 2 and will point at version 1."))
    httpx2.post(where, json={"version": "1"}, timeout=30)
    push(page, "Move to version 1", "dialog")
    page.until(shows("Somebody else moved it meanwhile."))
    assert [problem for problem in page.problems if "409" not in problem] == []
    page.problems.clear()  # the browser notes that it was answered 409


def test_a_split_and_a_shadow_are_shown_and_ended(served: Served, page: Page, shoot: Shoot) -> None:
    versions(served, "doors", "one", "two")
    base = f"{served.url}/api/v1/models/doors"
    httpx2.put(f"{base}/split", json={"weights": {"1": 3, "2": 1}}, timeout=30)
    enter(page, served, "#/models/doors")
    page.until(shows("Calls are split"))
    assert page.value(shows("75"))
    push(page, "Give all to one version")
    until(lambda: httpx2.get(f"{base}/split", timeout=30).json()["weights"] == {})
    page.until(f"!{shows('Calls are split')}")
    push(page, "Copy calls to it")
    page.until(shows("Shadow: doors@1 against doors@2"))
    for _ in range(2):
        predicted(served, "doors", STREET)
    page.until(shows("2 calls compared"))
    page.value("document.querySelector('.stats').scrollIntoView({ block: 'center' })")
    shoot("shadow")
    push(page, "Stop copying")
    until(lambda: not httpx2.get(base, timeout=30).json()["shadow"])
    page.until(f"!{shows('calls compared')}")


def test_models_are_listed_loaded_and_unloaded(served: Served, page: Page, shoot: Shoot) -> None:
    versions(served, "lonely", "one")
    enter(page, served, "#/models")
    page.until("document.querySelectorAll('.tbl tbody tr').length >= 3")
    shoot("list")
    fill(page, "select", "image-classification")
    page.until("document.querySelectorAll('.tbl tbody tr').length === 1")
    predicted(served, "lonely", STREET)
    page.value("location.hash = '#/models/lonely'")
    page.until("document.querySelector('.top .st.live') !== null")
    push(page, "Unload")
    page.until("document.querySelector('.top .st.stalled') !== null")
    assert httpx2.get(f"{served.url}/api/v1/models/lonely", timeout=30).json()["unloaded"] is True
    push(page, "Load")
    page.until("document.querySelector('.top .st.live') !== null")


@pytest.mark.parametrize(("theme", "lang"), [("dark", "ru"), ("light", "en")])
def test_models_can_be_tried_on_a_phone(theme: str, lang: str, served: Served, page: Page, shoot: Shoot) -> None:
    resize(page, 390, 844)
    enter(page, served, "#/models", theme=theme, lang=lang)
    page.until("document.querySelectorAll('.tbl tbody tr').length >= 2")
    assert page.value("document.documentElement.scrollWidth") <= 390
    shoot(f"phone-{theme}-list")
    page.value("location.hash = '#/models/nanodet-m'")
    page.until("document.querySelector('.try .drop') !== null")
    drop(page, STREET, "image/jpeg")
    page.until("document.querySelectorAll('.try tbody tr').length > 0", 30)
    assert page.value("document.documentElement.scrollWidth") <= 390
    shoot(f"phone-{theme}")
