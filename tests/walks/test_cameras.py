"""Several cameras in one run, with real servers: what happens to one never reaches the others."""

from __future__ import annotations

import io
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import av
import pytest
from tests.packs.vision.sources.conftest import RtspServer, loop_h264, rtsp_server
from tests.packs.vision.sources.http_cameras import MjpegCamera

from sightline import Case, CaseBuildContext, Sample
from sightline.build import stream_run
from sightline.core.plugins import Source
from sightline.engine.streams import StreamRun
from sightline.packs.vision.sources.push import PushSource
from sightline.settings import load_settings

__all__ = ["loop_h264", "rtsp_server"]  # fixtures
MakeServer = Callable[..., RtspServer]
SPAN_S = 4.0


@pytest.fixture
def context(tmp_path: Path) -> Iterator[CaseBuildContext]:
    loaded = load_settings(folder=tmp_path, environ={"SIGHTLINE_DATA_ROOT": str(tmp_path / "data")})
    with CaseBuildContext(loaded) as context:
        yield context


class Running:
    """A run in a thread of its own, and what it finished."""

    def __init__(self, context: CaseBuildContext, sources: Mapping[str, Source]) -> None:
        self.finished: defaultdict[str, list[Sample[Any]]] = defaultdict(list)
        self.context = context
        self.stream: StreamRun = stream_run(
            Case(name="cameras", sources=dict(sources)),
            context,
            watch=lambda sample: self.finished[sample.source].append(sample),
        )
        self.thread = Thread(target=self.stream.execute, daemon=True)

    def of(self, source: str) -> dict[str, Any]:
        found: dict[str, Any] = self.stream.status()["sources"][source]
        return found

    def until(self, true: Callable[[], Any], seconds: float = 30) -> None:
        end_s = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end_s, f"not within {seconds} s: {self.stream.status()}"
            assert self.thread.is_alive()
            time.sleep(0.01)

    def rate(self, source: str, wanted: float) -> float:
        """Return how many samples a second a source gives over `SPAN_S`; once or twice more where others were busy."""
        self.until(lambda: self.finished[source])
        for _ in range(3):
            num, begun_s = len(self.finished[source]), time.monotonic()
            time.sleep(SPAN_S)
            found = (len(self.finished[source]) - num) / (time.monotonic() - begun_s)
            if found == pytest.approx(wanted, rel=0.05):
                break
        return found


@contextmanager
def running(context: CaseBuildContext, sources: Mapping[str, Source]) -> Iterator[Running]:
    it = Running(context, sources)
    it.thread.start()
    try:
        yield it
    finally:
        it.stream.stop()
        it.thread.join(30)
        assert not it.thread.is_alive()


@pytest.mark.alone
@pytest.mark.service("rtsp")
def test_dead_cameras_change_the_rate_of_the_others_by_less_than_5_percent(
    rtsp_server: MakeServer, context: CaseBuildContext
) -> None:
    good, frozen = rtsp_server().start().url(), rtsp_server().start()

    def video(url: str, **fields: Any) -> Any:
        return context.plugin("sources", "video", url=url, timeout_s=1, retry_max_s=0.3, size=(96, 64), **fields)

    with ExitStack() as stack:
        with running(context, {"gate": video(good)}) as alone:
            before = alone.rate("gate", 25)
        silent = stack.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        garbage = stack.enter_context(MjpegCamera())
        garbage.garbage.set()
        others = {
            "frozen": video(frozen.url()),
            "refused": video("rtsp://127.0.0.1:9/cam"),
            "silent": video(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam"),
            "garbage": video(garbage.url()),
        }
        it = stack.enter_context(running(context, {"gate": video(good), **others}))
        it.until(lambda: it.finished["frozen"])
        frozen.freeze()
        it.until(lambda: it.of("frozen")["state"] in {"stalled", "backoff"})
        after = it.rate("gate", before)
        dead = {name: it.of(name) for name in others}
    assert before == pytest.approx(25, rel=0.05)
    assert after == pytest.approx(before, rel=0.05)
    assert all(found["state"] != "live" for found in dead.values())
    assert dead["refused"]["trouble"] == "connection refused"
    assert dead["silent"]["trouble"] == "no answer in time"


@pytest.mark.alone
@pytest.mark.service("rtsp")
def test_a_camera_that_is_killed_is_shown_within_3_s_and_comes_back_under_a_new_epoch(
    rtsp_server: MakeServer, context: CaseBuildContext
) -> None:
    server = rtsp_server().start()
    video = context.plugin("sources", "video", url=server.url("a:s3cret"), fps=5, retry_max_s=0.5)
    with running(context, {"door": video}) as it:
        it.until(lambda: len(it.finished["door"]) >= 5)
        server.kill()
        it.until(lambda: it.of("door")["state"] == "backoff", 3)
        server.start()
        it.until(lambda: it.of("door")["state"] == "live", 20)
        it.until(lambda: it.finished["door"][-1].epoch > it.finished["door"][0].epoch)
        assert it.of("door")["reconnects"] == 1
        status = it.stream.status()
    events = [event for _, event in context.store.events.list(limit=1000)]
    told = [event.short_type for event in events if event.short_type.startswith("source.")]
    assert told[0] == "source.live"
    assert told[1] == "source.backoff"
    assert "source.live" in told[2:]
    assert "s3cret" not in f"{status}{[event.data for event in events]}"


@pytest.mark.alone
@pytest.mark.service("rtsp")
def test_a_camera_that_freezes_is_shown_within_twice_its_timeout_and_a_second(
    rtsp_server: MakeServer, context: CaseBuildContext
) -> None:
    server = rtsp_server().start()
    video = context.plugin("sources", "video", url=server.url(), fps=5, timeout_s=1)
    with running(context, {"door": video}) as it:
        it.until(lambda: len(it.finished["door"]) >= 5)
        server.freeze()
        it.until(lambda: it.of("door")["state"] == "stalled", 3)


def test_a_picture_that_stands_still_is_an_event_and_its_end_too(context: CaseBuildContext) -> None:
    with MjpegCamera() as camera:
        video = context.plugin("sources", "video", url=camera.url(), frozen_s=1)
        with running(context, {"door": video}) as it:
            it.until(lambda: len(it.finished["door"]) >= 5)
            camera.still.set()
            it.until(lambda: it.of("door")["state"] == "frozen")
            assert it.of("door")["reason"] == "the same picture for 1 s"
            camera.still.clear()
            it.until(lambda: it.of("door")["state"] == "live")
    told = [event.short_type for _, event in context.store.events.list(limit=1000)]
    told = [each for each in told if each.startswith("source.")]
    assert told == ["source.live", "source.frozen", "source.live", "source.stopped"]


@pytest.mark.service("rtsp")
def test_a_clip_of_a_camera_of_a_run_can_be_asked_for(rtsp_server: MakeServer, context: CaseBuildContext) -> None:
    video = context.plugin("sources", "video", url=rtsp_server().start().url(), fps=5)
    with running(context, {"door": video}) as it:
        it.until(lambda: len(it.finished["door"]) >= 15)
        end, file = datetime.now(UTC), io.BytesIO()
        clip = it.stream.source("door").clip(end - timedelta(seconds=1), end, file)
    file.seek(0)
    with av.open(file, "r") as container:
        num = sum(1 for _ in container.decode(video=0))
    assert clip.media_type == "video/mp4"
    assert 20 <= num <= 55


def test_frames_that_are_pushed_go_through_the_case(context: CaseBuildContext) -> None:
    import numpy as np

    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    with running(context, {"phone": context.plugin("sources", "push")}) as it:
        it.until(lambda: it.of("phone")["reason"] == "no frame was pushed yet")
        source = it.stream.source("phone")
        assert isinstance(source, PushSource)
        for number in range(5):
            source.push_frame(np.full((8, 8, 3), number, np.uint8), noon + timedelta(seconds=number))
            it.until(lambda number=number: len(it.finished["phone"]) == number + 1)  # type: ignore[misc]
        assert it.of("phone")["state"] == "live"
    assert [sample.time for sample in it.finished["phone"]] == [noon + timedelta(seconds=number) for number in range(5)]
    assert [sample.clocks.pts_s for sample in it.finished["phone"]] == pytest.approx([0, 1, 2, 3, 4])
