from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.packs.vision.sources.clips import make_clip

from sightline.core.errors import FileMissing, SourceUnreachable
from sightline.packs.vision.sources.video import VideoSource


def probe(path: Path, **config: Any) -> dict[str, Any]:
    return dict(VideoSource(url=str(path), **config).probe())


def test_facts_of_a_file_are_measured(tmp_path: Path) -> None:
    facts = probe(make_clip(tmp_path / "clip.mp4", num=100, fps=25, gop=20), fps=2)

    assert (facts["codec"], facts["width"], facts["height"]) == ("h264", 96, 64)
    assert facts["fps"] == 25
    assert (facts["gop_frames"], facts["gop_s"]) == (20, 0.8)
    assert facts["b_frames"] is False
    assert facts["duration_s"] == 4
    assert facts["bitrate"] > 1000
    assert facts["sender_clock"] is None
    assert facts["live"] is False


def test_the_cost_of_decoding_is_measured_and_lazy_is_cheaper(tmp_path: Path) -> None:
    decode = probe(make_clip(tmp_path / "clip.mp4", num=100, gop=50, size=(640, 480)), fps=1)["decode"]

    assert decode["measured"]
    cost = decode["ms_per_frame"]
    assert 0 < cost["keyframes_only"] < cost["full"]
    assert cost["lazy"] < 0.8 * cost["full"]
    assert decode["ms_per_stream_second"]["full"] == pytest.approx(25 * cost["full"], rel=0.05)


def test_b_frames_are_seen_in_the_order_of_the_packets_and_a_cure_is_given(tmp_path: Path) -> None:
    facts = probe(make_clip(tmp_path / "clip.mp4", bf=2), fps=2)
    assert facts["b_frames_seen"]
    assert facts["decode"]["ms_per_frame"]["lazy"] == facts["decode"]["ms_per_frame"]["full"]
    assert any("B frames" in advice for advice in facts["advice"])


def test_a_long_distance_of_key_frames_is_advised_against(tmp_path: Path) -> None:
    facts = probe(make_clip(tmp_path / "clip.mp4", num=130, fps=10, gop=60), fps=2)
    assert facts["gop_s"] == 6
    assert any("I-frame interval" in advice for advice in facts["advice"])


def test_a_distance_that_is_longer_than_the_measuring_is_not_guessed(tmp_path: Path) -> None:
    facts = probe(make_clip(tmp_path / "clip.mp4", num=400, fps=30, gop=1000), fps=2)
    assert facts["gop_s"] is None
    assert any("No second key frame" in advice for advice in facts["advice"])


def test_short_distances_are_told_to_need_key_frames_only(tmp_path: Path) -> None:
    advice = probe(make_clip(tmp_path / "clip.mp4", num=60, fps=30, gop=15), fps=2)["advice"]
    assert any("key frames alone" in line for line in advice)


def test_large_pictures_and_needless_rates_are_advised_against(tmp_path: Path) -> None:
    advice = probe(make_clip(tmp_path / "clip.mp4", num=25, size=(2560, 1440)))["advice"]
    assert any("sub-stream" in line for line in advice)
    assert any("fps 2 to 5" in line for line in advice)


def test_varying_rates_are_told(tmp_path: Path) -> None:
    stamps_s = [number * 0.04 for number in range(20)] + [3.0, 3.04, 3.5]
    assert probe(make_clip(tmp_path / "clip.mp4", num=23, stamps_s=stamps_s))["fps_varies"]


def test_what_is_absent_is_told() -> None:
    with pytest.raises(FileMissing):
        VideoSource(url="absent.mp4").probe()
    with pytest.raises(SourceUnreachable, match=r"\*\*\*@127"):
        VideoSource(url="rtsp://user:secret@127.0.0.1:9/cam", timeout_s=1).probe()


def test_a_webcam_that_is_absent_is_named() -> None:
    with pytest.raises(SourceUnreachable, match=r"webcam .*97") as caught:
        VideoSource(url="97").probe()
    assert "Plug it in" in caught.value.cure
