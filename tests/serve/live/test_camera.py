"""An address and a model in the settings, and nothing else: one camera that `/stream` and `/health/stream` speak of."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import httpx2
from tests.packs.vision.sources.conftest import RtspServer
from tests.serve.live.conftest import serving, until
from websockets.sync.client import connect

from sightline.core.codec import unpack


def test_one_camera_is_watched_and_a_loss_of_it_is_told(rtsp_server: Callable[..., RtspServer], tmp_path: Path) -> None:
    camera = rtsp_server().start()
    environ = {"APP_RTSP_URL": camera.url(), "APP_MODEL_NAME": "person_detector", "APP_FRAME_SAMPLE_FPS": "5"}
    with serving(tmp_path, environ, whole=True) as served:
        with served.stream("?type=prediction") as told:
            for each in islice(told, 3):
                assert (each.data["case"], each.data["source"]) == ("camera", "camera")
                assert each.data["predictions"]
        answer = httpx2.get(f"{served.url}/health/stream", timeout=30)
        [row] = answer.json()["streams"]
        assert (answer.status_code, answer.json()["status"], row["state"]) == (200, "ok", "live")
        assert httpx2.get(f"{served.url}/viewer", timeout=30).status_code == 200
        with httpx2.stream("GET", f"{served.url}/stream.mjpeg", timeout=30) as pictures:
            assert any(b"image/jpeg" in part for part in islice(pictures.iter_bytes(), 3))
        with connect(served.ws) as client:
            client.send('{"op": "subscribe", "pictures": true, "types": ["run.completed"]}')
            message = client.recv(30)
        assert isinstance(message, bytes)
        assert unpack(message)[0]["source"] == "camera"
        camera.kill()
        until(lambda: httpx2.get(f"{served.url}/health/stream", timeout=30).status_code == 503)
