"""The Events page in a real browser: what the shipped clip shows, with its pictures and clips, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.packs.vision.sources.conftest import RtspServer
from tests.serve.live.browser import Page, browsing
from tests.serve.live.conftest import Served, loop_h264, rtsp_server, serving
from tests.web.conftest import ROOT, Walker, enter, press, resize, watch
from tests.web.hands import box, drag

from sightline.build.running import held_run
from sightline.core.access import Scope
from sightline.core.case import Case
from sightline.core.events import Event, make_event, media_key, source_uri
from sightline.packs.basic.sinks import BusSink
from sightline.packs.vision.sources.video import VideoSource
from sightline.serve.auth.keys import new_key

__all__ = ["loop_h264", "rtsp_server"]  # fixtures
pytestmark = pytest.mark.service("Chromium")

STREET = ROOT / "src/sightline/cases/street_people"
CARDS = "[...document.querySelectorAll('.card b')].map((title) => title.textContent)"
PICTURES = "[...document.querySelectorAll('.card img')].filter((image) => image.naturalWidth > 100).length"
VIDEO = "document.querySelector('video')"
TALLY = "(document.querySelector('.tally')?.textContent ?? '')"
HASH = "decodeURIComponent(location.hash)"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a case that is the shipped one, and keeps pictures and clips."""
    folder = tmp_path_factory.mktemp("served")
    case = folder / "cases/square"
    case.mkdir(parents=True)
    text = (STREET / "case.yaml").read_text().replace("${CASE_DIR}", str(STREET))
    recorder = "{use: event-recorder, pre_s: 1, post_s: 1}"
    (case / "case.yaml").write_text(text.replace("{use: drawn-video}", recorder))
    with serving(folder, whole=True) as served:
        yield served


def happened(served: Served, short_type: str, ago: timedelta, case: str = "lab", **data: Any) -> Event:
    """Record and tell an event of some time ago, as the process of a run does."""
    time = datetime.now(UTC) - ago
    span = {"start": time.isoformat(), "end": time.isoformat()}
    event = make_event(
        short_type, source=source_uri(case, "door"), time=time, data={"run": "r", **span, **data}, subject="track/7"
    )
    tell(served, event)
    return event


def tell(served: Served, event: Event) -> None:
    served.context.store.events.append([event])
    served.context.bus.publish(event)


def stored(served: Served, event: Event, **data: Any) -> None:
    """Tell of the media of an event as the recorder does."""
    told = {"event": event.id, "thumbnail": None, "clip": None, "start": None, "end": None, "bytes": 0, "lost": None}
    tell(
        served,
        make_event(
            "capture.stored", source=event.source, time=datetime.now(UTC), subject=event.id, data={**told, **data}
        ),
    )


def choose(page: Page, name: str, value: str) -> None:
    """Choose in a filter, as a user does."""
    page.value(
        f"(() => {{ const field = document.querySelector('[data-filter={name}]'); field.value = {json.dumps(value)};"
        "field.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def reload(page: Page) -> None:
    """Load the page anew, and wait until the old one is gone."""
    page.value("window.isOld = true")
    page.tell("Page.reload")
    page.until("!window.isOld && document.readyState === 'complete'")


Shoot = Callable[[str], Path]
SECOND = timedelta(seconds=1)


def test_what_the_shipped_clip_shows_has_a_picture_and_a_clip_that_plays(
    served: Served, page: Page, shoot: Shoot
) -> None:
    resize(page, 1440, 900)
    enter(page, served, "#/events")
    page.until("!!document.querySelector('.empty')")
    started = httpx2.post(f"{served.url}/api/v1/runs", json={"case": "square", "stands": True}, timeout=30)
    assert started.status_code == 201, started.text
    page.until(PICTURES, 60)
    page.until(f"{VIDEO}?.readyState >= 2", 40)
    size = page.value(f"[{VIDEO}.videoWidth, {VIDEO}.videoHeight]")
    assert size == [768, 576]
    press(page, ".")
    page.until(f"Math.abs({VIDEO}.currentTime - 0.1) < 0.02")  # of ten pictures a second
    one = page.value(f"{VIDEO}.currentTime")
    press(page, ",")
    page.until(f"{VIDEO}.currentTime < {one}")
    page.value("document.activeElement.blur()")
    press(page, " ")
    page.until(f"{VIDEO}.currentTime > 0.6")
    page.value("(() => { const pick = document.querySelector('[data-player=speed]'); pick.value = '4';"
               "pick.dispatchEvent(new Event('change', {bubbles: true})) })()")  # fmt: skip
    page.until(f"{VIDEO}.playbackRate === 4")
    assert page.value("document.querySelector('.strip-part').getBoundingClientRect().width") >= 4
    answer = httpx2.get(page.value(f"{VIDEO}.currentSrc"), headers={"Range": "bytes=0-99"}, timeout=30)
    assert (answer.status_code, len(answer.content)) == (206, 100)
    press(page, "n")
    page.until(f"{PICTURES} > 3", 30)
    shoot("wide")
    page.value('localStorage.setItem(\'sightline.prefs\', \'{"theme": "light", "lang": "ru"}\')')


def test_filters_live_in_the_address_and_outlast_a_reload(served: Served, page: Page) -> None:
    for minutes in range(5):
        happened(served, "line.crossed", minutes * 20 * SECOND, case="yard", line="gate", direction="in")
    happened(served, "zone.dwell", 5 * SECOND, case="yard", zone="lawn", duration_s=12.5)
    enter(page, served, "#/events?case=yard")
    page.until(f"{CARDS}.length === 6")
    choose(page, "type", "zone.dwell")
    page.until(f"{CARDS}.length === 1")
    assert page.value(CARDS) == ["In zone for 13\u00a0s"]
    assert "type=zone.dwell" in page.value(HASH)
    assert "case=yard" in page.value(HASH)
    reload(page)
    page.until(f"{CARDS}.length === 1 && document.querySelector('[data-filter=type]').value === 'zone.dwell'")
    choose(page, "type", "line.crossed")
    choose(page, "camera", "yard/door")
    page.until(f"{CARDS}.length === 5 && {HASH}.includes('camera=yard')")
    choose(page, "from", "23:59")
    page.until(f"{CARDS}.length === 0 && {HASH}.includes('from=23:59')")
    page.value("[...document.querySelectorAll('.filters button')].find((b) => b.innerText.includes('Clear')).click()")
    page.until(f"{CARDS}.length >= 6 && !{HASH}.includes('?')")


def test_a_time_is_chosen_with_the_mouse_in_the_lanes(served: Served, page: Page) -> None:
    happened(served, "zone.entered", SECOND, case="lanes", zone="lawn")
    enter(page, served, "#/events?case=lanes")
    page.until("!!document.querySelector('.lane-plate .lane')")
    left, top, width, height = box(page, ".lane-plate")
    drag(page, (left + width / 4, top + height / 2), (left + 3 * width / 4, top + height / 2))
    page.until(f"{HASH}.includes('from=') && {HASH}.includes('to=')")
    chosen = [page.value(f"document.querySelector('[data-filter={name}]').value") for name in ("from", "to")]
    assert [time[:2] for time in chosen] in (["05", "18"], ["06", "18"]), chosen
    page.value("document.querySelector('[aria-label=\"Remove the time filter\"]').click()")
    page.until(f"!{HASH}.includes('from=')")


def test_reviewed_is_kept_in_the_browser_and_said_to_be(served: Served, page: Page) -> None:
    events = [happened(served, "zone.entered", each * SECOND, case="seen", zone="lawn") for each in (3, 2, 1)]
    enter(page, served, "#/events?case=seen")
    page.until(f"{CARDS}.length === 3")
    assert "3 events, 3 not reviewed" in page.value(TALLY)
    press(page, "j")
    page.until(f"{HASH}.includes('event={events[1].id}')")
    press(page, "x")
    page.until(f"{TALLY}.includes('2 not reviewed')")
    assert "Kept in this browser only." in page.value("document.body.innerText")
    reload(page)
    page.until(f"{TALLY}.includes('2 not reviewed')")
    press(page, "k")
    page.until(f"{HASH}.includes('event={events[2].id}')")
    page.value("[...document.querySelectorAll('.filters .seg button')].at(-1).click()")
    page.until(f"{CARDS}.length === 2 && {HASH}.includes('review=1')")


def test_what_comes_waits_in_a_bar_and_moves_nothing(served: Served, page: Page, shoot: Shoot) -> None:
    first = happened(served, "object.left", SECOND, case="hall", class_name="suitcase", end=None, alarm="a1")
    enter(page, served, "#/events?case=hall")
    page.until(f"{CARDS}.length === 1")
    for each in range(3):
        happened(served, "zone.entered", timedelta(0), case="hall", zone=f"lawn {each}")
    page.until("document.querySelector('.new-bar')?.innerText.includes('3 new events')")
    assert page.value(CARDS) == ["Object left behind"]
    shoot("new")
    press(page, "n")
    page.until(f"{CARDS}.length === 4 && !document.querySelector('.new-bar')")
    happened(served, "object.removed", timedelta(0), case="hall", class_name="suitcase", alarm="a1")
    page.until("document.querySelector('.new-bar')?.innerText.includes('1 new event')")
    page.until(f"!document.querySelector('[data-event=\"{first.id}\"]').innerText.includes('goes on')")


def test_a_picture_that_is_to_come_one_that_is_lost_and_one_that_was_removed(
    served: Served, page: Page, shoot: Shoot
) -> None:
    fresh = happened(served, "line.crossed", SECOND, case="gaps", line="gate", direction="out")
    lost = happened(served, "line.crossed", 3 * SECOND, case="gaps", line="gate", direction="in")
    gone = happened(served, "zone.left", 5 * SECOND, case="gaps", zone="lawn", duration_s=3)
    old = happened(served, "zone.left", 600 * SECOND, case="gaps", zone="lawn", duration_s=3)
    stored(served, lost, lost="clip: the storage is full")
    stored(served, gone)
    tell(
        served,
        make_event(
            "capture.removed", source=f"/events/{gone.id}", time=datetime.now(UTC), subject=gone.id,
            data={"event": gone.id, "bytes": 5, "reason": "older than 30 days"},
        ),
    )  # fmt: skip
    enter(page, served, "#/events?case=gaps")
    page.until(f"{CARDS}.length >= 3")
    told = {}
    for event in (fresh, lost, gone, old):
        page.until(f"!!document.querySelector('[data-event=\"{event.id}\"]')")
        page.value(f"document.querySelector('[data-event=\"{event.id}\"]').click()")
        page.until(f"{HASH}.includes('{event.id}') && !!document.querySelector('.note')")
        told[event.id] = page.value("document.querySelector('.note').innerText")
        if event is lost:
            shoot("lost")
    assert "not written yet" in told[fresh.id]
    assert "the storage is full" in told[lost.id]
    assert "older than 30 days" in told[gone.id]
    assert "No clip was kept." in told[old.id]
    jpeg, key = b"\xff\xd8 no picture", media_key(fresh.time, fresh.id, ".mp4")
    served.context.artifacts.put(key, jpeg)
    stored(served, fresh, clip=key, bytes=len(jpeg))
    page.value(f"document.querySelector('[data-event=\"{fresh.id}\"]').click()")
    page.until("document.querySelector('.note')?.innerText.includes('cannot play the clip')")


def test_a_camera_that_is_lost_and_comes_back_is_one_alarm_and_hatched_in_its_lane(
    served: Served, page: Page, shoot: Shoot, rtsp_server: Callable[..., RtspServer]
) -> None:
    camera = rtsp_server().start()
    source = VideoSource(url=camera.url(), retry_max_s=0.5)
    case = Case(name="gate", sources={"front": source}, stages={}, sinks=(BusSink(),))
    served.platform.streams.start(lambda: held_run(case, served.context))
    enter(page, served, "#/events?case=gate")
    page.until("document.querySelector('.lane-states')?.innerText.includes('Live')")
    camera.kill()
    page.until("document.querySelector('.card')?.innerText.includes('Camera lost')")
    page.until("!!document.querySelector('.lane-gap')")
    page.until("document.querySelector('.card').innerText.includes('goes on')")
    camera.start()
    page.until("document.querySelector('.card').innerText.includes('Back')")
    assert page.value("document.querySelectorAll('.card').length") == 1
    page.until("document.querySelector('.detail').innerText.includes('Back at')")
    shoot("camera")


def test_an_alarm_that_a_lost_camera_cut_off_is_over_and_says_why(served: Served, page: Page) -> None:
    alarm = {"zone": "lawn", "inside": 4, "limit": 3, "alarm": "c1"}
    begun = happened(served, "count.over", 3 * SECOND, case="cut", **alarm, state="start", end=None)
    why = "the source was lost: connection refused"
    happened(served, "count.over", SECOND, case="cut", **alarm, state="end", start=begun.data["start"], reason=why)
    enter(page, served, "#/events?case=cut")
    page.until(f"{CARDS}.length === 1")
    page.value(f"document.querySelector('[data-event=\"{begun.id}\"]').click()")
    page.until(
        "document.querySelector('.detail')?.innerText.includes('The camera was lost. It refuses the connection.')"
    )
    assert "goes on" not in page.value("document.querySelector('.card').innerText")


def test_on_a_phone_an_event_opens_as_a_sheet_and_nothing_is_wider_than_the_screen(
    served: Served, page: Page, shoot: Shoot
) -> None:
    events = [happened(served, "zone.entered", each * SECOND, case="phone", zone="lawn") for each in (3, 2, 1)]
    resize(page, 390, 844)
    enter(page, served, "#/events?case=phone", theme="light", lang="ru")
    page.until(f"{CARDS}.length === 3")
    assert page.value("document.documentElement.scrollWidth") == 390
    shoot("phone")
    page.value("document.querySelector('.card').click()")
    page.until(f"document.querySelector('dialog[open]') && {HASH}.includes('{events[2].id}')")
    assert page.value("document.querySelector('dialog').getBoundingClientRect().height") == 844
    press(page, "j")
    page.until(f"{HASH}.includes('{events[1].id}')")
    press(page, "x")
    page.until("document.querySelector('dialog .btn[aria-pressed=true]')?.innerText.includes('Проверено')")
    shoot("phone-sheet")
    press(page, "Escape")
    page.until("!document.querySelector('dialog[open]')")


def test_the_feed_of_live_shows_the_picture_of_an_alarm_as_soon_as_there_is_one(
    served: Served, page: Page, shoot: Shoot
) -> None:
    picture = (Path(__file__).parents[2] / "src/sightline/web/app/favicon.svg").read_bytes()

    def draw(event: Event) -> None:
        where = media_key(event.time, event.id, ".jpg")
        served.context.artifacts.put(where, picture)
        stored(served, event, thumbnail=where)

    known = happened(served, "zone.entered", SECOND, zone="lawn")
    draw(known)
    watch(served, door=Walker())
    enter(page, served, "#/live")
    page.until(f"!!document.querySelector('.feed [data-shot=\"{known.id}\"]')")
    fresh = happened(served, "zone.left", SECOND, zone="lawn")
    page.until("document.querySelector('.feed li')?.innerText.includes('Left lawn')")
    assert not page.value("!!document.querySelector('.feed li:first-child img')")
    draw(fresh)
    page.until(f"!!document.querySelector('.feed li:first-child [data-shot=\"{fresh.id}\"]')")
    shoot("feed-pictures")


def test_where_keys_are_asked_for_pictures_are_fetched_with_the_key(tmp_path: Path) -> None:
    with serving(tmp_path, {"SIGHTLINE_AUTH__MODE": "on"}, whole=True) as served, browsing(tmp_path) as page:
        key, kept = new_key("viewer", [Scope.READ])
        served.context.store.keys.add(kept)
        event = happened(served, "zone.entered", SECOND, zone="lawn")
        picture = Path(__file__).parents[2] / "src/sightline/web/app/favicon.svg"
        where = media_key(event.time, event.id, ".jpg")
        served.context.artifacts.put(where, picture.read_bytes())
        stored(served, event, thumbnail=where)
        page.tell("Page.addScriptToEvaluateOnNewDocument", source=f"sessionStorage.setItem('sightline.token', '{key}')")
        enter(page, served, "#/events")
        page.until("document.querySelector('.card img')?.src.startsWith('blob:')")
        assert not [address for address in page.asked if key in address and "/ws" not in address]
