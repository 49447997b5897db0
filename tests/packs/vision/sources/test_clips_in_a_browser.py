"""Clips play in a real browser, to their end and from any place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.packs.vision.sources.clips import make_clip
from tests.packs.vision.sources.http_cameras import HttpCamera
from tests.packs.vision.sources.test_clips import read_through
from tests.serve.live.browser import browsing

from sightline.testing.fakes import START

_PLAYED = """new Promise(done => {
    const video = document.createElement('video');
    video.muted = true;
    video.onerror = () => done({error: video.error.message});
    video.onended = () => done({ended: video.currentTime, duration: video.duration, width: video.videoWidth,
                                seekable: video.seekable.length && video.seekable.end(0)});
    video.oncanplay = () => { video.oncanplay = null; video.currentTime = 1.0; video.play(); };
    video.src = '/clip.mp4';
})"""


@pytest.mark.service("chromium")
@pytest.mark.parametrize(("name", "bf"), [("clip.mp4", 0), ("clip.ts", 2)])
def test_a_clip_plays_to_its_end(tmp_path: Path, name: str, bf: int) -> None:
    path = tmp_path / "made.mp4"
    source = read_through(make_clip(tmp_path / name, num=75, gop=25, bf=bf, size=(320, 240)))
    with path.open("wb+") as file:
        clip = source.clip(START, START + timedelta(seconds=2), file)
    data = path.read_bytes()

    def answer(request: Any) -> None:
        is_clip = request.path == "/clip.mp4"
        request.send_response(200)
        request.send_header("Content-Type", clip.media_type if is_clip else "text/html")
        request.send_header("Content-Length", str(len(data) if is_clip else 0))
        request.end_headers()
        request.wfile.write(data if is_clip else b"")

    with HttpCamera(answer) as server, browsing(tmp_path) as page:
        page.open(server.url("/"))
        page.until("document.readyState === 'complete' && location.pathname === '/'")
        played = page.value(_PLAYED)
    assert played.get("error") is None
    assert played["width"] == 320
    assert played["duration"] == pytest.approx(2.04, abs=0.1)
    assert played["ended"] == pytest.approx(played["duration"], abs=0.1)
