"""Multipart bodies, whole and broken, in pieces of any size."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from sightline.core.errors import InvalidInput, TooLarge, Unavailable
from sightline.packs.medical.multipart import Parts, boundary_of

FILES = [b"first\r\n--", b"", b"\r\n--edge of another--\r\n" * 3, bytes(range(256)) * 40]


def body(files: list[bytes], boundary: str = "edge") -> bytes:
    parts = b"".join(
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + each + b"\r\n" for each in files
    )
    return parts + f"--{boundary}--\r\n".encode()


def read(data: bytes, size: int, *, most_bytes: int = 1 << 20, most_parts: int = 100) -> list[bytes]:
    def files() -> Iterator[io.BytesIO]:
        while True:
            yield io.BytesIO()

    pieces = (data[start : start + size] for start in range(0, len(data), size))
    parts = Parts(pieces, b"edge-of", most_bytes=most_bytes, most_parts=most_parts)
    return [file.getvalue() for file in parts.write_each(files())]  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 1 << 20])
def test_parts_come_as_they_were_sent(size: int) -> None:
    assert read(body(FILES, "edge-of"), size) == FILES
    assert read(b"a preamble\r\n" + body(FILES, "edge-of") + b"an epilogue", size) == FILES


def test_a_body_without_parts_is_empty() -> None:
    assert read(body([], "edge-of"), 5) == []


@pytest.mark.parametrize("end", [20, 60, 200, 5000, -4])
def test_a_body_that_breaks_off_is_told(end: int) -> None:
    with pytest.raises(Unavailable, match="broke off"):
        read(body(FILES, "edge-of")[:end], 50)


def test_no_more_is_taken_than_is_allowed() -> None:
    with pytest.raises(TooLarge, match="MiB"):
        read(body([bytes(3000)], "edge-of"), 100, most_bytes=2999)
    assert read(body([bytes(3000)], "edge-of"), 100, most_bytes=3000) == [bytes(3000)]
    with pytest.raises(TooLarge, match="More than 3 files"):
        read(body(FILES, "edge-of"), 100, most_parts=3)


@pytest.mark.parametrize("data", [b"x" * 100_000, b"--edge-of\r\n" + b"x: y\r\n" * 20_000])
def test_what_has_no_end_is_not_held(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        read(data, 1000)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc-1', b"abc-1"),
        ('Multipart/Related;boundary="a b:c"; type="application/dicom"', b"a b:c"),
        ("multipart/related; boundary=x;transfer-syntax=1.2", b"x"),
    ],
)
def test_the_boundary_is_read(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type", ["", "application/dicom", "multipart/related", "multipart/form-data; boundary=x"]
)
def test_another_type_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidInput, match="multipart/related"):
        boundary_of(content_type)
