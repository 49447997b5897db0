"""`GET /stream.mjpeg` through a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2
import httpx2
import numpy as np
import numpy.typing as npt
from tests.serve.live.conftest import SIZE, Served, until

from sightline.packs.vision.sources.synthetic import SyntheticSource


def parts(answer: httpx2.Response) -> Iterator[bytes]:
    """Yield the pictures of a multipart answer."""
    boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
    data = b""
    for chunk in answer.iter_bytes():
        data += chunk
        while (end := data.find(b"\r\n--" + boundary)) > 0:
            head, _, jpeg = data[:end].partition(b"\r\n\r\n")
            assert b"Content-Type: image/jpeg" in head
            assert f"Content-Length: {len(jpeg)}".encode() in head
            yield jpeg
            data = data[end + 2 :]


def pixels(jpeg: bytes) -> npt.NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.uint8)


def camera(**fields: object) -> SyntheticSource:
    return SyntheticSource(size=SIZE, fps=50, realtime=True, **fields)  # type: ignore[arg-type]


def test_pictures_follow_one_another(served: Served) -> None:
    served.run("yard", door=camera(pattern="noise"))
    with httpx2.stream("GET", f"{served.url}/stream.mjpeg?drawn=0", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("multipart/x-mixed-replace")
        pictures = parts(answer)
        found = [pixels(next(pictures)) for _ in range(5)]
    assert {picture.shape for picture in found} == {(SIZE[1], SIZE[0], 3)}
    assert len({picture.tobytes() for picture in found}) == 5


def test_boxes_are_drawn_unless_that_is_not_wanted(served: Served) -> None:
    run = served.run("yard", door=SyntheticSource(size=(320, 240), pattern="black", num_frames=2))
    until(lambda: served.platform.streams.latest(run.id, "door"))
    found = {}
    for drawn in ("1", "0"):
        with httpx2.stream("GET", f"{served.url}/stream.mjpeg?drawn={drawn}", timeout=30) as answer:
            found[drawn] = pixels(next(parts(answer)))
    assert found["1"].max() > 100
    assert found["0"].max() < 20


def test_no_more_come_than_are_wanted(served: Served) -> None:
    served.run()
    begin = time.monotonic()  # pictures that wait for a client on a busy machine come at once then
    with httpx2.stream("GET", f"{served.url}/stream.mjpeg?fps=10&drawn=0", timeout=30) as answer:
        pictures = parts(answer)
        for _ in range(11):
            next(pictures)
    assert 0.8 < time.monotonic() - begin < 20


def test_it_ends_with_the_run(served: Served) -> None:
    run = served.run()
    with httpx2.stream("GET", f"{served.url}/stream.mjpeg?case=yard&source=door", timeout=30) as answer:
        pictures = parts(answer)
        next(pictures)
        served.platform.streams.stop(run.id)
        assert len(list(pictures)) < 200


def test_head_tells_the_headers(served: Served) -> None:
    served.run()
    answer = httpx2.head(f"{served.url}/stream.mjpeg", timeout=30)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


def test_it_says_what_is_missing(served: Served) -> None:
    def asked(query: str = "") -> tuple[int, str]:
        answer = httpx2.get(f"{served.url}/stream.mjpeg{query}", timeout=30)
        return answer.status_code, answer.json()["detail"]

    status, detail = asked()
    assert (status, detail) == (404, "No case is running here.")
    served.run("yard", door=camera(), gate=camera())
    status, detail = asked()
    assert status == 400
    assert "yard/door, yard/gate" in detail
    status, detail = asked("?case=roof")
    assert status == 404
    assert "roof" in detail
    for fps in ("0", "-1", "nan", "inf", "fast", "1e9"):
        assert asked(f"?source=door&fps={fps}")[0] == 400
