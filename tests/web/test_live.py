"""The Live page in a real browser, in front of a real server whose cameras run, fail and fall silent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest
from tests.serve.live.browser import Page, browsing
from tests.serve.live.conftest import Served, serving
from tests.web.conftest import (
    HEIGHT,
    LINE,
    SIDE,
    WIDTH,
    ZONE,
    Shoot,
    Walker,
    enter,
    press,
    resize,
    tile,
    until_live,
    watch,
)

from sightline.core.access import Scope
from sightline.packs.vision.sources.video import VideoSource
from sightline.serve.auth.keys import new_key

BLUE, AMBER, GREEN = [108, 197, 255], [255, 198, 92], [99, 226, 162]  # ov-1, ov-2, ov-3
DEAD = "rtsp://127.0.0.1:9/cam"

# The white square in the canvas, in pixels of the picture; and whether a colour is at a place of the picture, give or
# take two pixels of the canvas.
SEEN = f"""(() => {{
  const canvas = document.querySelector('[data-tile="door"] canvas');
  const pen = canvas.getContext("2d"), scale = canvas.width / {WIDTH};
  const all = pen.getImageData(0, 0, canvas.width, canvas.height);
  const has = (x, y, colour) => {{
    for (let dy = -2; dy <= 2; dy += 1) for (let dx = -2; dx <= 2; dx += 1) {{
      const place = 4 * ((Math.round(y * scale) + dy) * all.width + Math.round(x * scale) + dx);
      if (colour.every((value, band) => Math.abs(value - all.data[place + band]) < 30)) return true;
    }}
    return false;
  }};
  let white = [1e9, 1e9, -1, -1];
  for (let y = 0; y < all.height; y += 1) for (let x = 0; x < all.width; x += 1) {{
    const place = 4 * (y * all.width + x);
    if (Math.min(all.data[place], all.data[place + 1], all.data[place + 2]) > 245)
      white = [Math.min(white[0], x), Math.min(white[1], y), Math.max(white[2], x + 1), Math.max(white[3], y + 1)];
  }}
  return {{ scale, width: all.width, height: all.height, white: white.map((v) => v / scale), ASKED }};
}})()"""


def seen(**asked: str) -> str:
    """JavaScript of an object with what is asked, and what is always told."""
    return SEEN.replace("ASKED", ", ".join(f"{name}: {question}" for name, question in asked.items()))


SOON = "new Promise((done) => setTimeout(done, 400))"
# Beside what is looked at the picture must be unmarked: labels, plates and the square's tail would hide it.
PLAIN: dict[str, Any] = {"tracks": False, "labels": False, "tiles": 1}


def test_a_box_stands_round_what_it_was_found_on_in_every_picture(served: Served, page: Page) -> None:
    watch(served, door=Walker())
    enter(page, served, **PLAIN, zones=False)
    until_live(page, "door")
    sequence = set()
    for _ in range(8):
        before = page.value(tile("door", "seq"))
        page.until(f"{tile('door', 'seq')} !== {json.dumps(before)}")
        # What is left white inside the box's own line; and the line itself, in the middle of each side.
        found = page.value(
            seen(
                sides=f"""(() => {{
                  const [x1, y1, x2, y2] = white.map((v) => v / scale), x = (x1 + x2) / 2, y = (y1 + y2) / 2;
                  const half = {SIDE} / 2, middles = [[x - half, y], [x + half, y], [x, y - half], [x, y + half]];
                  return middles.map((middle) => has(...middle, {BLUE}));
                }})()"""
            )
        )
        left, top, right, bottom = found["white"]
        assert SIDE - 8 < right - left <= SIDE
        assert SIDE - 8 < bottom - top <= SIDE
        assert found["sides"] == [True] * 4, found
        sequence.add(page.value(tile("door", "seq")))
    assert len(sequence) > 3
    assert found["width"] / found["height"] == pytest.approx(WIDTH / HEIGHT, abs=0.02)


def test_zones_and_lines_stand_where_the_findings_say(served: Served, page: Page, shoot: Shoot) -> None:
    watch(served, door=Walker())
    enter(page, served, **PLAIN, boxes=False)
    until_live(page, "door")
    (x1, y1), _, (x2, y2), _ = ZONE
    left, bottom = f"has({x1}, {(y1 + y2) / 2}, {GREEN})", f"has({(x1 + x2) / 2}, {y2}, {GREEN})"
    line = f"has({LINE[0][0]}, 60, {AMBER})"
    found = page.value(seen(left=left, bottom=bottom, line=line))
    assert [found[name] for name in ("left", "bottom", "line")] == [True] * 3, found
    press(page, "n")
    page.until("document.querySelector('[aria-keyshortcuts=n]').ariaPressed === 'true'")
    shoot("zones")
    press(page, "z")
    page.until(f"!{seen(line=line)}.line")


def test_drops_are_told_by_the_minute_from_the_first_looks_on(served: Served, page: Page) -> None:
    """What was seen in six seconds is no minute's worth: the frames that are read and those analysed say how many."""
    watch(served, door=Walker(fps=1000))
    enter(page, served)
    until_live(page, "door")
    line = "document.querySelector('[data-tile=door] .honest').innerText"
    page.until(f"{line}.includes('drops / min')")
    told = int(re.sub(r"\D", "", page.value(line).split("fps")[1].split("drops")[0]))
    row = page.until("fetch('/api/v1/sources').then((answer) => answer.json()).then(({items}) => items[0])")
    assert told == pytest.approx(60 * (row["source_fps"] - row["fps"]), rel=0.5)


def test_layers_are_switched_by_key_and_by_confidence(served: Served, page: Page) -> None:
    watch(served, door=Walker())
    enter(page, served, **PLAIN, zones=False)
    until_live(page, "door")
    near = "Math.abs(all.data[p] - 108) < 30 && Math.abs(all.data[p + 1] - 197) < 30 && all.data[p + 2] > 225"
    blue = seen(blue=f"all.data.some((_, p) => p % 4 === 0 && {near})")
    page.until(f"{blue}.blue")
    press(page, "b")
    page.until(f"!{blue}.blue")
    press(page, "b")
    page.until(f"{blue}.blue")
    page.value(
        """(() => { const slider = document.querySelector("input[type=range]"); slider.value = 0.8;
        slider.dispatchEvent(new Event("input", { bubbles: true })); })()"""
    )
    page.until(f"!{blue}.blue")  # the square is found with 0.75


def test_each_camera_says_how_it_is(served: Served, page: Page, shoot: Shoot) -> None:
    held = Flag()
    watch(served, door=Walker(), gate=VideoSource(url=DEAD), yard=Walker(held=held))
    resize(page, 1440, 900)
    enter(page, served)
    until_live(page, "door", "yard")
    page.until(f"{tile('gate', 'state')} === 'backoff'")
    text = page.until("document.querySelector('[data-tile=gate]').innerText")
    assert "Reconnecting" in text
    assert "It refuses the connection." in text
    assert "no frame yet" in text
    assert "down since" in text
    page.until("document.querySelector('[data-tile=door] .honest').innerText.includes('drops / min')")
    line = page.value("document.querySelector('[data-tile=door] .honest').innerText")
    assert all(word in line for word in ("age", "fps", "drops / min", f"{WIDTH}×{HEIGHT}")), line
    page.until(f"Number({tile('door', 'age')}) < 1")
    held.set()
    # Overlays go when the newest picture is older than a second: the camera may still be called live.
    page.until(f"{tile('yard', 'overlays')} === 'off'", 3)
    assert float(page.value(tile("yard", "age"))) < 2
    assert page.value(tile("yard", "state")) == "stalled"
    assert page.value(tile("door", "overlays")) == "on"
    page.until("document.querySelector('[data-tile=yard]').innerText.includes('No frame for')")
    shoot("states-dark")
    held.clear()
    page.until(f"{tile('yard', 'state')} === 'live' && {tile('yard', 'overlays')} === 'on'", 3)
    page.until("document.querySelector('.feed')?.innerText.includes('gate: Reconnecting')")
    assert page.value("document.querySelector('.counts').innerText").split("\n") == ["2 live", "1 reconnecting"]


def test_what_somebody_should_mend_about_a_camera_stands_on_its_tile(served: Served, page: Page, shoot: Shoot) -> None:
    grown = Flag()
    watch(served, door=Walker(grown=grown))
    enter(page, served)
    until_live(page, "door")
    assert not page.value("!!document.querySelector('[data-tile=door] .warning')")
    grown.set()
    page.until("document.querySelector('[data-tile=door] .warning')?.innerText.includes('from 320x240 to 640x480')")
    shoot("warned")


def test_a_camera_that_is_taken_out_goes_and_a_run_that_ends_leaves_it_stopped(served: Served, page: Page) -> None:
    run = watch(served, door=Walker(), yard=Walker())
    enter(page, served)
    until_live(page, "door", "yard")
    served.platform.streams.remove_source(run.id, "yard", None)
    page.until(f"!{tile('yard', 'state')}")
    served.platform.streams.stop(run.id)
    page.until(f"{tile('door', 'state')} === 'stopped'")
    page.until("document.querySelector('[data-tile=door]').innerText.includes('Its run is over.')")


def test_one_camera_is_opened_and_left_by_keys(served: Served, page: Page, shoot: Shoot) -> None:
    watch(served, door=Walker(), yard=Walker())
    resize(page, 1440, 900)
    enter(page, served)
    until_live(page, "yard")
    press(page, "ArrowRight")
    page.until("document.querySelector('[data-tile=yard]').ariaCurrent === 'true'")
    press(page, "Enter")
    page.until("location.hash === '#/live/yard/yard' && document.activeElement.tagName === 'H1'")
    until_live(page, "yard")
    page.value("[...document.querySelectorAll('[role=tab]')].at(-1).click()")
    page.until("document.body?.innerText.includes('places')")
    shoot("camera")
    press(page, " ")
    page.until("!!document.querySelector('.pausing')")
    page.value(SOON)  # the picture that was on its way is shown
    paused = page.value(tile("yard", "seq"))
    page.value(SOON)
    assert page.value(tile("yard", "seq")) == paused
    press(page, " ")
    page.until(f"{tile('yard', 'seq')} !== '{paused}'")
    press(page, "?")
    page.until("document.querySelector('dialog[open]')?.innerText.includes('open the camera')")
    press(page, "Escape")
    page.until("!document.querySelector('dialog')")
    press(page, "Escape")
    page.until("location.hash === '#/live'")


def test_nothing_runs_and_a_case_or_a_camera_can_be_started(served: Served, page: Page, shoot: Shoot) -> None:
    enter(page, served)
    page.until("document.body?.innerText.includes('No cameras yet')")
    shoot("empty")
    page.value("document.querySelector('.empty .primary').click()")
    page.until("document.querySelector('dialog select')?.value")
    page.value(
        """(() => { const [name, url] = document.querySelectorAll("dialog input");
        for (const [field, text] of [[name, "door bell"], [url, "rtsp://ann:***@camera/door"]]) {
          field.value = text; field.dispatchEvent(new Event("input", { bubbles: true })); } })()"""
    )
    page.until("document.querySelectorAll('dialog [aria-invalid=true]').length === 2")
    assert page.value("document.querySelector('dialog [type=submit]').disabled")
    shoot("add")


@pytest.mark.parametrize(("theme", "lang"), [("dark", "en"), ("light", "ru")])
def test_a_phone_scrolls_in_one_direction(served: Served, page: Page, shoot: Shoot, theme: str, lang: str) -> None:
    watch(served, door=Walker(), gate=VideoSource(url=DEAD))
    resize(page, 390, 844)
    enter(page, served, theme=theme, lang=lang)
    page.until(f"{tile('door', 'state')} === 'live' && {tile('gate', 'state')} === 'backoff'")
    assert page.value("[document.documentElement.scrollWidth, document.documentElement.lang]") == [390, lang]
    assert page.value("document.documentElement.dataset.theme") == theme
    shoot(f"phone-{theme}")
    page.value("location.hash = '#/live/yard/door?tab=camera'")
    page.until("!!document.querySelector('.live-focus')")
    assert page.value("document.documentElement.scrollWidth") == 390
    shoot(f"phone-{theme}-one")


def test_russian_and_light(served: Served, page: Page, shoot: Shoot) -> None:
    watch(served, door=Walker(), gate=VideoSource(url=DEAD))
    resize(page, 1440, 900)
    enter(page, served, theme="light", lang="ru", threshold=0.5)
    until_live(page, "door")
    page.until("document.body?.innerText.includes('Соединение отклонено.')")
    page.until("document.body.innerText.includes('к/с')")
    assert "0,50" in page.value("document.body.innerText")
    shoot("light-ru")


def test_a_server_that_is_gone_is_told_and_found_again(tmp_path: Path) -> None:
    with serving(tmp_path, whole=True) as served, browsing(tmp_path) as page:
        watch(served, door=Walker())
        enter(page, served)
        until_live(page, "door")
        # As when the network is gone: the sockets are cut, and nobody answers.
        page.tell("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        page.until("document.querySelector('.banner')?.innerText.includes('Sightline does not answer.')", 15)
        page.until(f"{tile('door', 'overlays')} === 'off'", 15)
        page.tell(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        page.until(f"!document.querySelector('.banner') && {tile('door', 'overlays')} === 'on'", 15)


def test_where_keys_are_asked_for_the_page_asks_for_one_and_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, {"SIGHTLINE_AUTH__MODE": "on"}, whole=True) as served, browsing(tmp_path) as page:
        key, kept = new_key("viewer", [Scope.READ])
        served.context.store.keys.add(kept)
        watch(served, door=Walker())
        enter(page, served)
        give = """((text) => { const field = document.querySelector("dialog input"); field.value = text;
          field.dispatchEvent(new Event("input", { bubbles: true })); field.form.requestSubmit(); })"""
        page.until("!!document.querySelector('dialog input[type=password]')")
        page.value(f"{give}('wrong')")
        page.until("!!document.querySelector('dialog .err')")
        page.value(f"{give}('{key}')")
        page.until(f"!document.querySelector('dialog') && {tile('door', 'state')} === 'live'")
        assert page.value("sessionStorage.getItem('sightline.token')") == key
        assert page.value("Object.values(localStorage).join()").find(key) < 0
        assert not [problem for problem in page.problems if "401" not in problem and "403" not in problem]
