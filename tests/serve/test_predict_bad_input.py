"""What `POST /predict` says to pictures and parameters that are wrong, through a real server."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
from PIL import Image
from tests.serve.photos import PHOTO, dog, saved
from tests.servers import RunningServer, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("server"), server__max_body_mb=8) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=30) as made:
        yield made


def refused(answer: httpx2.Response, status: int, code: str) -> str:
    """Return the detail of a problem of this kind."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["cure"]
    return str(problem["detail"])


def best(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["predictions"]["model"]["items"][0]["class_name"])


def huge_png() -> bytes:
    """Return a PNG of 20,000 x 20,000 pixels by its header, and hardly anything behind that."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def huge_jpeg() -> bytes:
    """Return a JPEG whose header says 20,000 x 20,000 pixels."""
    data = saved(Image.new("RGB", (8, 8)), "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", 20_000, 20_000) + data[place + 4 :]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (b"not a picture", "not a picture"),
        (b"%PDF-1.7 " + bytes(1000), "not a picture"),
        (PHOTO[: len(PHOTO) // 2], "damaged"),
        (PHOTO[:20], "damaged|not a picture"),
        (b"\xff\xd8\xff" + bytes(100), "damaged|not a picture"),
        (saved(dog(), "PNG")[:5000], "damaged"),
        (saved(dog(), "WEBP")[:500], "damaged|not a picture"),
        (saved(dog(), "BMP")[:5000], "damaged"),
    ],
)
def test_what_cannot_be_decoded_is_refused(client: httpx2.Client, data: bytes, said: str) -> None:
    detail = refused(client.post("/predict", content=data), 400, "invalid_media")

    assert re.search(said, detail)


@pytest.mark.parametrize("make", [huge_png, huge_jpeg])
def test_a_picture_that_is_huge_by_its_header_is_refused_before_memory_is_taken(
    client: httpx2.Client, make: Any
) -> None:
    client.post("/predict", content=PHOTO)
    data = make()
    assert len(data) < 1000
    before = psutil.Process().memory_info().rss

    for _ in range(5):
        detail = refused(client.post("/predict", content=data), 400, "invalid_media")
        assert "20000 x 20000 pixels" in detail or "far too many pixels" in detail

    assert psutil.Process().memory_info().rss - before < 50 << 20


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_is_taken(client: httpx2.Client, name: str) -> None:
    black = Image.new("RGB", dog().size)
    data = saved(dog(), name, save_all=True, append_images=[black, black], duration=50)

    assert best(client.post("/predict", content=data)) == "German shepherd"


def test_a_cmyk_jpeg_has_its_true_colours(client: httpx2.Client) -> None:
    assert best(client.post("/predict", content=saved(dog().convert("CMYK"), "JPEG"))) == "German shepherd"


def test_a_picture_of_16_bits_is_not_cut_to_white(client: httpx2.Client) -> None:
    grey = np.asarray(dog().convert("L")).astype(np.uint16) << 8

    deep = client.post("/predict?top_k=3", content=saved(Image.fromarray(grey), "PNG")).json()
    flat = client.post("/predict?top_k=3", content=saved(dog().convert("L"), "PNG")).json()

    assert deep["predictions"]["model"]["items"] == flat["predictions"]["model"]["items"]


@pytest.mark.parametrize(("orientation", "turn"), [(3, 180), (6, 90), (8, 270)])
def test_a_picture_is_turned_as_its_exif_says(client: httpx2.Client, orientation: int, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(dog().rotate(turn, expand=True), "JPEG", quality=95, exif=exif)

    answer = client.post("/predict?model=nanodet-m", content=data).json()

    assert answer["size"] == [320, 240]
    [box] = answer["predictions"]["model"]["items"]
    assert np.abs(np.array(box["xyxy"]) - [5.5, 9.8, 284.2, 230.4]).max() < 8


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/pdf", "video/mp4", "application/x-www-form-urlencoded", "image/svg+xml"]
)
def test_a_body_of_a_wrong_type_is_refused(client: httpx2.Client, media_type: str) -> None:
    answer = client.post("/predict", content=PHOTO, headers={"Content-Type": media_type})

    assert media_type in refused(answer, 415, "wrong_media_type")


def test_a_body_that_was_packed_once_more_is_refused(client: httpx2.Client) -> None:
    answer = client.post("/predict", content=PHOTO, headers={"Content-Encoding": "gzip"})

    refused(answer, 415, "wrong_media_type")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Not JSON"),
        (b"[" * 100_000, "Not JSON"),
        (b'{"image":' * 50_000, "Not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "no `image`"),
        (b'{"image": 7}', "must be the base64"),
        (b'{"image": "not base64!"}', "no base64"),
        (b'{"image": "aGFsbG8"}', "no base64"),
        ('{"image": "é"}'.encode(), "no base64"),
        (b'{"image": "data:image/jpeg,abc"}', "no data URL"),
        (b'{"image": "aGFsbG8=", "picture": 1}', "unknown field 'picture'"),
        (b'{"image": "aGFsbG8=", "top_k": "many"}', "top_k must be a whole number"),
        (b'{"image": "aGFsbG8=", "top_k": 1.5}', "top_k must be a whole number"),
        (b'{"image": "aGFsbG8=", "top_k": true}', "top_k must be a whole number"),
        (b'{"image": "aGFsbG8=", "threshold": NaN}', "Not JSON"),
        (b'{"image": "aGFsbG8=", "threshold": "nan"}', "threshold must be a number"),
        (b'{"image": "aGFsbG8=", "threshold": 1e999}', "threshold must be a number|Not JSON"),
        (b'{"image": "aGFsbG8=", "case": ["x"]}', "case must be a name"),
    ],
)
def test_json_that_is_wrong_is_refused(client: httpx2.Client, body: bytes, said: str) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})

    assert re.search(said, refused(answer, 400, "invalid_input"))


def test_base64_of_something_else_is_no_picture(client: httpx2.Client) -> None:
    answer = client.post("/predict", json={"image": base64.b64encode(b"hello").decode()})

    refused(answer, 400, "invalid_media")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("threshold=nan", "threshold must be a number"),
        ("threshold=inf", "threshold must be a number"),
        ("threshold=2", "Parameter threshold: threshold is 2.0"),
        ("threshold=", "threshold must be a number"),
        ("top_k=-1", "Parameter top_k: top_k is -1"),
        ("top_k=0", "Parameter top_k: top_k is 0"),
        ("top_k=1e3", "top_k must be a whole number"),
        ("top_k=99999999999", "top_k must be a whole number"),
        ("case=", "case must be a name"),
        ("topk=3", "Unknown parameter 'topk'"),
        ("model=nanodet-m&top_k=3", "No predictor of 'nanodet-m' takes top_k"),
        ("model=nanodet-m&case=street_people", "Both case and model"),
        ("version=1", "version is given without a model"),
        ("model=../../etc/passwd", "no model name"),
    ],
)
def test_a_wrong_parameter_is_named(client: httpx2.Client, query: str, said: str) -> None:
    assert said in refused(client.post(f"/predict?{query}", content=PHOTO), 400, "invalid_input")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("case=nothing", "case_not_found"),
        ("case=..%2Fcases", "case_not_found"),
        ("model=nothing", "model_not_found"),
        ("model=nanodet-m&version=99", "model_not_found"),
        ("model=secret.onnx", "model_not_found"),
    ],
)
def test_what_is_not_there_is_not_found(client: httpx2.Client, query: str, code: str) -> None:
    refused(client.post(f"/predict?{query}", content=PHOTO), 404, code)


FORM = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("multipart/form-data", b"", "no boundary"),
        (FORM, b"", "cut off|no file"),
        (FORM, b'--x\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n3\r\n--x--\r\n', "no file"),
        (FORM, b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc', "cut off"),
        (FORM, b"garbage that is no form", "damaged|cut off"),
        (FORM, b"--x\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n\r\n--x--\r\n", "damaged"),
        (
            FORM,
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n" * 200 + b"--x--\r\n",
            "more than 32 parts",
        ),
    ],
)
def test_a_form_that_is_wrong_is_refused(client: httpx2.Client, content_type: str, body: bytes, said: str) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": content_type})

    assert re.search(said, refused(answer, 400, "invalid_input"))


def test_of_two_files_none_is_guessed(client: httpx2.Client) -> None:
    files = [("file", ("a.jpg", PHOTO, "image/jpeg")), ("file", ("b.jpg", PHOTO, "image/jpeg"))]

    assert "several files" in refused(client.post("/predict", files=files), 400, "invalid_input")


def test_a_body_beyond_the_limit_is_refused(client: httpx2.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(16):
            yield bytes(1 << 20)

    try:
        answer = client.post("/predict", content=endless(), headers={"Content-Type": "image/jpeg"})
    except httpx2.TransportError:
        return  # it was hung up on while it was still sending
    refused(answer, 413, "too_large")
