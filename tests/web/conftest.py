"""A real server with the interface, cameras that are drawn, and a real browser in front of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Event as Flag
from typing import Any, Protocol

import numpy as np
import pytest
from tests.packs.vision.sources.conftest import loop_h264, rtsp_server
from tests.serve.live.browser import Browser, Page, started
from tests.serve.live.conftest import Served, serving

from sightline.build.running import held_run
from sightline.core.case import Case
from sightline.core.plugins import Predictor, Source, SourceState
from sightline.core.prediction import Boxes, Finding, Findings, Prediction
from sightline.core.run import Run
from sightline.core.sample import Clocks, Frame, Sample
from sightline.packs.basic.sinks import BusSink

__all__ = ["loop_h264", "rtsp_server"]  # fixtures
ROOT = Path(__file__).parents[2]
Shoot = Callable[[str], Path]
UI = ROOT / "ui"
BUILT = ROOT / "src/sightline/web/app"
ARTIFACTS = Path(__file__).parent / ".artifacts"
WIDTH, HEIGHT, SIDE = 320, 240, 40
ZONE = [[200.0, 120.0], [300.0, 120.0], [300.0, 220.0], [200.0, 220.0]]
LINE = [[20.0, 20.0], [20.0, 220.0]]
"""In pixels of the picture, as a case would name them."""


@dataclass(kw_only=True)
class Walker(Source):
    """A white square on black that jumps with each frame; silent while `held`, twice as large when `grown`."""

    fps: float = 8.0
    grown: Flag = field(default_factory=Flag)
    held: Flag = field(default_factory=Flag)

    @property
    def is_live(self) -> bool:
        return True

    def read(self) -> Iterator[Sample[Frame]]:
        context = self.context
        context.state(SourceState.LIVE, "")
        for seq in count():
            if context.stopping.wait(1 / self.fps):
                return
            while self.held.is_set():
                if context.stopping.wait(0.02):
                    return
            scale = 2 if self.grown.is_set() else 1
            pixels = np.zeros((scale * HEIGHT, scale * WIDTH, 3), np.uint8)
            x, y = 40 + seq * 37 % 200, 30 + seq * 23 % 140
            pixels[y : y + SIDE, x : x + SIDE] = 255
            yield Sample(
                payload=Frame(pixels),
                source=context.source,
                epoch=context.epoch,
                seq=seq,
                clocks=Clocks(pts_s=seq / self.fps, monotonic_s=time.monotonic(), wall=datetime.now(UTC)),
            )


@dataclass(kw_only=True)
class WhiteSquare(Predictor):
    """The box of what is white in the picture, tracked."""

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        return [self._found(sample.payload.pixels_HWC) for sample in samples]

    def _found(self, pixels_HWC: Any) -> Boxes:
        rows, columns = np.nonzero(pixels_HWC[..., 0])
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return Boxes(
            xyxy=np.array([corners], np.float32),
            confidence=np.array([0.75], np.float32),
            class_id=np.array([0], np.int64),
            class_name=("square",),
            tracker_id=np.array([1], np.int64),
        )


@dataclass(kw_only=True)
class Places(Predictor):
    """A zone and a line, as the counters of the vision pack tell them."""

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        facts = (
            Finding(name="inside", value=3, subject="zone/lawn", data={"zone": "lawn"}),
            Finding(name="zone", data={"zone": "lawn", "polygon": ZONE}),
            Finding(name="in", value=4, subject="line/gate", data={"line": "gate"}),
            Finding(name="out", value=2, subject="line/gate", data={"line": "gate"}),
            Finding(name="line", data={"line": "gate", "start": LINE[0], "end": LINE[1]}),
        )
        return [Findings(items=facts) for _ in samples]


def tile(name: str, field: str) -> str:
    """JavaScript of what the tile of a source says of itself: `state`, `seq`, `epoch`, `age`, `overlays`."""
    return f"document.querySelector('[data-tile=\"{name}\"]')?.dataset.{field}"


def until_live(page: Page, *names: str) -> None:
    """Wait until these cameras are shown live; a busy machine takes its time."""
    for name in names:
        page.until(f"{tile(name, 'state')} === 'live'", 30)


def watch(served: Served, case: str = "yard", /, **sources: Source) -> Run:
    """Run a case that finds the white square in each source."""
    made = Case(
        name=case,
        sources=sources,
        stages={"analytics": {"found": WhiteSquare(), "places": Places()}},
        sinks=(BusSink(),),
    )
    return served.platform.streams.start(lambda: held_run(made, served.context))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One whole server for a file of tests."""
    with serving(tmp_path_factory.mktemp("served"), whole=True) as served:
        yield served


@pytest.fixture
def served(house: Served) -> Iterator[Served]:
    """The server; what runs on it ends with the test."""
    yield house
    for run in house.platform.streams.list():
        house.platform.streams.stop(run.id)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for a file of tests."""
    with started(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page; at the end it may have complained of nothing, and asked nobody but the server."""
    with browser.page() as opened:
        yield opened
        assert opened.problems == []
        hosts = {address.split("/")[2].rpartition(":")[0] for address in opened.asked if "://" in address}
        assert hosts <= {"127.0.0.1"}, opened.asked


@pytest.fixture
def shoot(page: Page, request: pytest.FixtureRequest) -> Shoot:
    """Keep a picture of the page as it is, by a name."""
    ARTIFACTS.mkdir(exist_ok=True)

    def kept(name: str) -> Path:
        path = ARTIFACTS / f"{request.path.stem.removeprefix('test_')}-{name}.png"
        page.picture(path)
        return path

    return kept


class Reached(Protocol):
    """A server at an address."""

    @property
    def url(self) -> str:
        """Address without a path."""


def enter(page: Page, served: Reached, hash_: str = "#/live", **prefs: Any) -> None:
    """Open the interface with settings that a user chose before."""
    text = json.dumps({"theme": "dark", "lang": "en", **prefs})
    script = f"try {{ localStorage.setItem('sightline.prefs', JSON.stringify({text})) }} catch {{}}"
    page.tell("Page.addScriptToEvaluateOnNewDocument", source=script)
    page.open(f"{served.url}/{hash_}")


def press(page: Page, key: str) -> None:
    """Press a key, as a keyboard does."""
    code = {"Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37, "PageUp": 33, " ": 32}.get(
        key, ord(key[0].upper())
    )
    text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
    for kind in ("keyDown", "keyUp"):
        more = {"text": text} if kind == "keyDown" and text else {}
        page.tell("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)


def resize(page: Page, width: int, height: int) -> None:
    """Give the page the size of a screen; a narrow one is that of a phone."""
    page.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
