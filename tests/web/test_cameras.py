"""What Live shows of real cameras that are killed, hang, freeze and refuse."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.packs.vision.sources.clips import make_clip
from tests.packs.vision.sources.conftest import RtspServer
from tests.serve.live.browser import Page
from tests.serve.live.conftest import Served
from tests.web.conftest import Shoot, enter, press, resize, tile, until_live, watch

from sightline.packs.vision.sources.video import VideoSource

Make = Callable[..., RtspServer]
TIMEOUT_S = 1.0


def seconds_until(page: Page, expression: str) -> float:
    begin_s = time.monotonic()
    page.until(expression)
    return time.monotonic() - begin_s


@pytest.mark.alone
def test_a_camera_that_is_killed_is_shown_lost_and_back(
    served: Served, page: Page, shoot: Shoot, rtsp_server: Make
) -> None:
    camera = rtsp_server().start()
    watch(served, street=VideoSource(url=camera.url(), fps=5, timeout_s=TIMEOUT_S))
    enter(page, served)
    until_live(page, "street")
    camera.kill()
    assert seconds_until(page, f"{tile('street', 'state')} === 'backoff'") < 3
    page.until(f"{tile('street', 'overlays')} === 'off'")
    page.until("document.querySelector('[data-tile=street]').innerText.includes('last frame')")
    page.until("/next attempt in \\d|connecting/.test(document.querySelector('[data-next]')?.innerText)")
    page.until("/attempt \\d+ · without connection for/.test(document.querySelector('[data-tile=street]').innerText)")
    shoot("lost")
    camera.start()
    assert seconds_until(page, f"{tile('street', 'epoch')} === '2' && {tile('street', 'state')} === 'live'") < 3
    page.until(f"{tile('street', 'overlays')} === 'on'")


def test_a_camera_that_waits_long_is_opened_now_by_its_button(served: Served, page: Page, rtsp_server: Make) -> None:
    camera = rtsp_server("--user", "ann", "--password", "right").start()
    watch(served, street=VideoSource(url=camera.url("ann:wrong"), fps=5))
    enter(page, served)
    page.until(f"{tile('street', 'state')} === 'unauthorised'")
    # A camera that refuses is asked again after half a minute.
    page.until("/Next attempt in [23]\\d/.test(document.querySelector('[data-tile=street]').innerText)")
    tried = page.value("/attempt (\\d+)/.exec(document.querySelector('[data-tile=street]').innerText)[1]")
    press(page, "r")
    page.until(f"/attempt {int(tried) + 1}/.test(document.querySelector('[data-tile=street]').innerText)")


@pytest.mark.alone
def test_a_camera_that_hangs_is_shown_within_twice_its_timeout(
    served: Served, page: Page, shoot: Shoot, rtsp_server: Make
) -> None:
    camera = rtsp_server().start()
    timeout_s = 4 * TIMEOUT_S  # so that a busy machine is a small part of it
    watch(served, street=VideoSource(url=camera.url(), fps=5, timeout_s=timeout_s))
    enter(page, served)
    until_live(page, "street")
    camera.freeze()
    try:
        said = f"['stalled', 'backoff'].includes({tile('street', 'state')})"
        assert seconds_until(page, said) < 2 * timeout_s + 1
        page.until(f"{tile('street', 'overlays')} === 'off'")
        shoot("hangs")
    finally:
        camera.thaw()
    until_live(page, "street")


def test_a_picture_that_never_changes_is_called_frozen(
    served: Served, page: Page, shoot: Shoot, rtsp_server: Make, tmp_path: Path
) -> None:
    still = make_clip(tmp_path / "still.h264", num=25, fps=25, gop=25, size=(320, 240), still=True)
    camera = rtsp_server("--then", str(still)).start()
    watch(served, street=VideoSource(url=camera.url(), fps=5, frozen_s=1))
    enter(page, served)
    until_live(page, "street")
    camera.change_picture()
    page.until(f"{tile('street', 'state')} === 'frozen'")
    page.until("document.querySelector('[data-tile=street]').innerText.includes('The same picture for')")
    assert page.value(tile("street", "overlays")) == "off"
    shoot("frozen")


def test_a_camera_that_refuses_says_so_and_shows_no_password(
    served: Served, page: Page, shoot: Shoot, rtsp_server: Make
) -> None:
    camera = rtsp_server("--user", "ann", "--password", "right").start()
    watch(served, street=VideoSource(url=camera.url("ann:wrong-secret")))
    resize(page, 1440, 900)
    enter(page, served)
    page.until(f"{tile('street', 'state')} === 'unauthorised'")
    page.until("document.querySelector('[data-tile=street]').innerText.includes('The camera refused the password')")
    assert "wrong-secret" not in page.value("document.documentElement.outerHTML")
    shoot("refused")
    page.value("document.querySelector('[data-tile=street] .over button').click()")
    page.until("document.querySelectorAll('dialog input').length === 2")
    page.value(
        f"""(() => {{ const address = document.querySelector("dialog input");
        address.value = "{camera.url("ann:right")}";
        address.dispatchEvent(new Event("input", {{ bubbles: true }})); }})()"""
    )
    page.until("!document.querySelector('dialog [type=submit]').disabled")
    page.value("document.querySelector('dialog [type=submit]').click()")
    page.until(f"{tile('street', 'state')} === 'live' && {tile('street', 'overlays')} === 'on'")
