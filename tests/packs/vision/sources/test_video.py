from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import islice, pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import av
import pytest
from pydantic import TypeAdapter, ValidationError
from structlog.testing import capture_logs
from tests.packs.basic.receiver import until
from tests.packs.vision.sources.clips import make_clip

from sightline.core.errors import ConfigError, FileMissing, InvalidMedia, SightlineError, SourceUnreachable
from sightline.core.plugins import SourceState
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.sources.video import VideoSource
from sightline.testing.fakes import START, FakeClock, make_context

States = list[tuple[SourceState, str]]


def opened(
    path: Path | str, *, states: States | None = None, stopping: Event | None = None, **config: Any
) -> VideoSource:
    """Return an open source; its states go to `states`."""
    told: States = [] if states is None else states
    source = VideoSource(url=str(path), **config)
    source.open(make_context(state=lambda state, why: told.append((state, why)), stopping=stopping or Event()))
    return source


def times(samples: list[Sample[Frame]]) -> list[float]:
    return [round(sample.clocks.pts_s or 0, 3) for sample in samples]


@pytest.mark.parametrize("source_fps", [10, 25, 30])
@pytest.mark.parametrize("fps", [2, 5])
def test_a_file_is_sampled_by_its_media_time(tmp_path: Path, fps: int, source_fps: int) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=6 * source_fps, fps=source_fps, gop=source_fps)

    samples = list(opened(clip, fps=fps).read())

    assert len(samples) == 6 * fps
    assert all(abs(at - number / fps) <= 0.51 / source_fps for number, at in enumerate(times(samples)))


def test_a_long_file_does_not_drift(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=3000, fps=30, gop=60, size=(32, 32))
    assert len(list(opened(clip, fps=3).read())) == 300


def test_samples_carry_ids_and_clocks(tmp_path: Path) -> None:
    first, *_, last = opened(make_clip(tmp_path / "clip.mp4", num=50)).read()

    assert [first.id, last.id] == ["camera/1/0", "camera/1/49"]
    assert last.clocks.pts_s == pytest.approx(1.96)
    assert last.clocks.wall == START + timedelta(seconds=1.96)
    assert last.clocks.sender is None


def test_variable_frame_rates_keep_their_times(tmp_path: Path) -> None:
    stamps_s = [0, 0.1, 0.15, 1.0, 1.02, 1.5, 4.0]
    clip = make_clip(tmp_path / "clip.mp4", num=7, stamps_s=stamps_s)
    assert times(list(opened(clip).read())) == stamps_s


def test_a_file_tells_its_states(tmp_path: Path) -> None:
    states: States = []
    list(opened(make_clip(tmp_path / "clip.mp4", num=3), states=states).read())
    assert states == [
        (SourceState.CONNECTING, ""),
        (SourceState.LIVE, ""),
        (SourceState.STOPPED, "end of file"),
    ]


def test_a_loop_goes_on_in_media_time_under_a_new_epoch(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=25)
    samples = list(islice(opened(clip, fps=5, loop=True).read(), 12))

    assert [sample.epoch for sample in samples] == [1] * 5 + [2] * 5 + [3] * 2
    assert [sample.seq for sample in samples] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert times(samples) == pytest.approx([number * 0.2 for number in range(12)])


def test_realtime_paces_a_file_and_makes_it_live(tmp_path: Path) -> None:
    source = opened(make_clip(tmp_path / "clip.mp4", num=15), fps=10, realtime=True)
    begun_s = time.monotonic()
    samples = list(source.read())
    assert source.is_live
    assert time.monotonic() - begun_s >= 0.5
    arrived_s = [sample.clocks.monotonic_s for sample in samples]
    assert all(later > earlier for earlier, later in pairwise(arrived_s))


@pytest.mark.parametrize(
    ("url", "live"),
    [
        ("clip.mp4", False),
        ("/dev/video0", True),
        ("0", True),
        ("rtsp://door/cam", True),
        ("RTSPS://door/cam", True),
        ("http://door/live.m3u8", True),
        ("https://door/mjpg/video.cgi?x=1.mp4", True),
        ("https://store/clip.MP4?token=1", False),
        ("file:///clip.mp4", False),
        ("srt://door:9000", True),
    ],
)
def test_what_is_live_follows_from_the_address(url: str, live: bool) -> None:
    assert VideoSource(url=url).is_live is live
    assert VideoSource(url=url, live=not live).is_live is not live
    assert replace(VideoSource(url=url)).is_live is live


def test_it_ends_soon_after_it_is_told_to_stop(tmp_path: Path) -> None:
    stopping = Event()
    source = opened(make_clip(tmp_path / "clip.mp4", num=25), loop=True, realtime=True, stopping=stopping)
    samples: list[Sample[Frame]] = []
    thread = Thread(target=lambda: samples.extend(source.read()))
    thread.start()
    until(lambda: samples)
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()
    assert samples


def test_a_counter_that_begins_anew_in_a_recording_does_not_stop_or_turn_back_time(tmp_path: Path) -> None:
    part = make_clip(tmp_path / "part.ts", num=50).read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(part + part)

    with capture_logs() as logs:
        samples = list(opened(joined).read())

    assert len(samples) >= 98
    assert all(later > earlier for earlier, later in pairwise(times(samples)))
    assert times(samples)[-1] == pytest.approx(4, abs=0.2)
    assert [entry["event"] for entry in logs].count("time stamps are mended") == 1
    assert 19 <= len(list(opened(joined, fps=5).read())) <= 21


def cure_of(path: Path | str, **config: Any) -> SightlineError:
    with pytest.raises(SightlineError) as caught:
        list(opened(path, **config).read())
    assert "\n" not in caught.value.message
    assert caught.value.cure
    return caught.value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = cure_of(tmp_path / "absent.mp4")
    assert isinstance(error, FileMissing)
    assert "absent.mp4" in error.message


def test_a_folder_is_no_video(tmp_path: Path) -> None:
    assert "use: images" in cure_of(tmp_path).cure


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"this is not a video\n" * 50, "not a video"),
        ("noise.mkv", bytes(range(256)) * 40, "not a video"),
    ],
)
def test_what_is_no_video_is_refused_with_a_cure(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    error = cure_of(path)
    assert isinstance(error, InvalidMedia)
    assert words in error.message


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", num=5)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz9").replace(b"avcC", b"zzzC"))
    error = cure_of(path)
    assert isinstance(error, InvalidMedia)
    assert "codec" in error.message


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.rate = 8000
        container.mux(stream.encode(frame))
    assert "no video" in cure_of(path).message


def test_a_recording_that_was_cut_off_before_its_index_says_so(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", num=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    error = cure_of(path)
    assert isinstance(error, InvalidMedia)
    assert "cut off" in error.message


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.ts"])
def test_a_truncated_file_gives_what_is_there_and_warns(tmp_path: Path, name: str) -> None:
    muxing = {"movflags": "faststart"} if name == "clip.mp4" else {}
    path = make_clip(tmp_path / name, num=100, gop=10, muxing=muxing)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])

    with capture_logs() as logs:
        samples = list(opened(path).read())

    assert 40 <= len(samples) <= 80
    if name in {"clip.mp4", "clip.mkv"}:  # FFmpeg believes what is left of the others
        assert "video is cut off" in [entry["event"] for entry in logs]


def test_a_file_in_which_nothing_can_be_decoded_is_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.avi", num=10, codec="mjpeg")
    data = bytearray(path.read_bytes())
    begin = data.index(b"movi") + 12
    data[begin : data.index(b"idx1")] = bytes(data.index(b"idx1") - begin)
    path.write_bytes(data)
    assert isinstance(cure_of(path), InvalidMedia)


def test_an_address_that_is_not_live_and_does_not_answer_is_unreachable() -> None:
    error = cure_of("http://user:secret@127.0.0.1:9/clip.mp4", timeout_s=2)
    assert isinstance(error, SourceUnreachable)
    assert "secret" not in str(error) + error.cure


def test_no_password_is_shown() -> None:
    assert "secret" not in repr(VideoSource(url="rtsp://user:secret@door/cam"))
    states: States = []
    stopping = Event()
    source = opened("rtsp://user:secret@127.0.0.1:9/cam", states=states, stopping=stopping, timeout_s=1)
    thread = Thread(target=lambda: list(source.read()))
    with capture_logs() as logs:
        thread.start()
        until(lambda: (SourceState.BACKOFF, "connection refused") in states)
        stopping.set()
        thread.join(20)
    assert (SourceState.BACKOFF, "connection refused") in states
    assert logs
    assert "secret" not in str(logs) + str(states)


def test_a_webcam_that_is_absent_is_tried_again_until_it_is_stopped() -> None:
    states: States = []
    stopping = Event()
    source = opened("/dev/video97", states=states, stopping=stopping)
    thread = Thread(target=lambda: list(source.read()))
    thread.start()
    until(lambda: [state for state, _ in states].count(SourceState.BACKOFF) >= 2)
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()
    kinds = [state for state, _ in states]
    assert kinds.count(SourceState.BACKOFF) >= 2
    assert kinds[-1] is SourceState.STOPPED


def test_a_video_that_was_sent_is_sampled_like_a_file(tmp_path: Path) -> None:
    data = make_clip(tmp_path / "clip.mp4", num=50).read_bytes()
    samples = list(opened("unused.mp4", fps=5, size=(48, 32)).load(io.BytesIO(data), "clip.mp4", "video/mp4"))
    assert len(samples) == 10
    assert samples[0].payload.size == (48, 32)


def test_a_playlist_that_was_sent_is_not_followed(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "private.ts", num=50)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:2,\nfile://{clip}\n#EXT-X-ENDLIST\n"
    concat = f"ffconcat version 1.0\nfile '{clip}'\n"
    for text in (playlist, concat):
        with pytest.raises(InvalidMedia):
            list(opened("unused.mp4").load(io.BytesIO(text.encode()), "list.m3u8", "video/mp4"))


@pytest.mark.parametrize("data", [b"", b"text", b"\0\0\0\x18ftypisom\0\0\0\0isommp41\0\0\xff\0mdat1234"])
def test_a_bad_body_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMedia, match=r"body\.mp4"):
        list(opened("unused.mp4").load(io.BytesIO(data), "body.mp4", "video/mp4"))


@pytest.mark.parametrize(
    "config",
    [
        {"url": ""},
        {"fps": 0},
        {"fps": -1},
        {"size": (0, 10)},
        {"size": (10, 20000)},
        {"timeout_s": 0},
        {"retry_max_s": 0},
        {"interpolation": "cubic"},
        {"url": "rtsp://door/cam", "loop": True},
        {"url": "0", "realtime": True},
    ],
)
def test_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        VideoSource(**{"url": "clip.mp4", **config})


def test_it_is_built_from_a_manifest() -> None:
    adapter = TypeAdapter(VideoSource)
    source = adapter.validate_python({"url": "rtsp://door/cam", "fps": 5, "size": [640, 360]})
    assert source.size == (640, 360)
    assert source.is_live
    with pytest.raises(ValidationError, match="fsp"):
        adapter.validate_python({"url": "clip.mp4", "fsp": 5})


def test_time_can_be_handed_in(tmp_path: Path) -> None:
    clock = FakeClock()
    source = opened(make_clip(tmp_path / "clip.mp4", num=2))
    advance: Callable[[], float] = clock.monotonic
    source.monotonic = advance
    clock.advance(7)
    assert [sample.clocks.monotonic_s for sample in source.read()] == [7, 7]
