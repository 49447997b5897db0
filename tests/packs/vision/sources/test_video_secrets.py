"""Passwords in addresses appear nowhere: not in logs, states, reprs, facts, errors, nor in what FFmpeg prints."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from tests.packs.vision.sources.conftest import RtspServer
from tests.packs.vision.sources.http_cameras import MjpegCamera
from tests.packs.vision.sources.reading import reading

from sightline.core.errors import SightlineError
from sightline.core.plugins import SourceState
from sightline.packs.vision.sources.video import VideoSource

SECRETS = ("s3cret", "vi3wer")
USER = "vi3wer:s3cret/#?"  # people write such passwords unquoted


def assert_hidden(*texts: object) -> None:
    for text in texts:
        assert not [secret for secret in SECRETS if secret in str(text)]


@pytest.mark.parametrize("kind", ["refused", "unauthorised", "dead", "silent", "no-such-name", "in-a-field"])
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_whatever_goes_wrong(
    kind: str, scheme: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with MjpegCamera(password="other") as camera, MjpegCamera(frames_each=3) as short, socket.socket() as peer:
        peer.bind(("127.0.0.1", 0))
        peer.listen()
        address = {
            "refused": f"{scheme}://vi3wer:s3cret@127.0.0.1:9/cam",
            "unauthorised": camera.url(user="vi3wer:s3cret"),
            "dead": short.url(user="vi3wer:s3cret"),
            "silent": f"{scheme}://vi3wer:s3cret@127.0.0.1:{peer.getsockname()[1]}/cam",
            "no-such-name": f"{scheme}://{USER}@no.such.host.invalid/cam",
            "in-a-field": f"{scheme}://127.0.0.1:9/user=vi3wer_password=s3cret_channel=1?token=s3cret",
        }[kind]
        source = VideoSource(url=address, record_url=address, timeout_s=0.5)
        with capture_logs() as logs, reading(address, timeout_s=0.5, record_url=address) as reader:
            reader.wait_for(lambda: {SourceState.BACKOFF, SourceState.UNAUTHORISED} & set(reader.states), 15)
            with pytest.raises(SightlineError) as caught:
                reader.source.clip(datetime.now(UTC) - timedelta(seconds=9), datetime.now(UTC), io.BytesIO())
            assert_hidden(caught.value, caught.value.cure)
        try:
            facts: object = source.probe()
        except SightlineError as error:
            facts = f"{error} {error.cure} {error.__cause__}"
    assert logs
    printed = capfd.readouterr()
    if kind == "in-a-field":  # a user name alone is no secret there
        logs = [{**entry, "url": entry.get("url", "").replace("vi3wer", "")} for entry in logs]
        assert "s3cret" not in f"{facts}{source!r}"
        facts, source_repr = "", ""
    else:
        source_repr = repr(source)
    assert_hidden(logs, reader.told, facts, source_repr, caplog.text, printed.out, printed.err)


@pytest.mark.service("rtsp")
def test_a_camera_with_a_password_that_works(
    rtsp_server: Callable[..., RtspServer], capfd: pytest.CaptureFixture[str]
) -> None:
    server = rtsp_server("--user", "vi3wer", "--password", "s3cret").start()
    with capture_logs() as logs, reading(server.url("vi3wer:s3cret"), fps=5) as reader:
        reader.wait_for_samples(3)
        facts = reader.source.probe()
    printed = capfd.readouterr()
    assert facts["codec"] == "h264"
    assert_hidden(logs, reader.told, facts, reader.source, printed.out, printed.err)
