"""ZIP files that could do harm are refused, each way with its own sentence."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from tests.packs.medical.phantoms import files, nifti, phantom, series, zipped
from tests.packs.medical.reading.reading import read

from sightline.core.errors import InvalidMedia, SightlineError, TooLarge
from sightline.packs.medical.reading.archives import unpacked

PHANTOM = phantom()
STUDY = files(series(PHANTOM))
FIRST = next(iter(STUDY))


def entry(name: str, data: bytes = b"-", *, mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return the ZIP of a study with one more entry."""
    file = io.BytesIO(zipped(STUDY))
    with zipfile.ZipFile(file, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.compress_type = mode << 16, method
        archive.writestr(info, data)
    return file.getvalue()


def without_a_name() -> bytes:
    """Return a ZIP with an entry whose name is a zero byte and what lies behind it."""
    return entry("nameless").replace(b"nameless", b"\0ameless")


def before_its_own_begin() -> bytes:
    """Return a ZIP whose entries lie before the begin of the file, by where it says that its directory is."""
    data = bytearray(zipped(STUDY))
    at = data.rindex(b"PK\5\6") + 16
    struct.pack_into("<L", data, at, struct.unpack_from("<L", data, at)[0] + 100)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(zipped(STUDY))
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    return bytes(data)


def with_two_of_a_name() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zipped([*STUDY.items(), (FIRST, b"-")])


def quoting(num: int) -> bytes:
    """Return a ZIP whose entries quote the local headers of the ones behind them, down to one kernel that all share.

    The way of D. Fifield, "A better zip bomb" (2019).
    """
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel_plain = bytes(1 << 20)
    kernel = squeeze.compress(kernel_plain) + squeeze.flush()
    heads: list[bytes] = []
    payload, plain = kernel, kernel_plain
    for number in reversed(range(num)):
        name = f"{number:03}".encode()
        head = (
            struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, zlib.crc32(plain), len(payload), len(plain), 3, 0)
            + name
        )
        heads.insert(0, head + struct.pack("<2L", len(payload), len(plain)) + struct.pack("<L", zlib.crc32(plain)))
        quoted = head
        payload = struct.pack("<BHH", 0, len(quoted), len(quoted) ^ 0xFFFF) + quoted + payload
        plain = quoted + plain
    body = payload[5:]  # the outermost quote is not quoted itself
    central, at = b"", 0
    for number, told in enumerate(heads):
        (stored, size), (crc,) = struct.unpack("<2L", told[-12:-4]), struct.unpack("<L", told[-4:])
        central += struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, stored, size, 3, 0, 0, 0, 0, 0, at)
        central += f"{number:03}".encode()
        at += 33 + 5
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, num, num, len(central), len(body), 0)
    return body + central + end


def sharing_all() -> bytes:
    """Return a ZIP whose directory names one entry many times."""
    data = zipped({"000": bytes(1 << 20)})
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    one = data[at:end]
    central = b"".join(one[:46] + f"{number:03}".encode() + one[49:] for number in range(50))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 50, 50, len(central), at, 0)
    return data[:at] + central + tail


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda: entry("../evil"), r"leads out of it: '\.\./evil'"),
        (lambda: entry("/etc/passwd"), "leads out of it: '/etc/passwd'"),
        (lambda: entry("a/../../b"), "leads out of it"),
        (lambda: entry("C:evil"), "leads out of it: 'C:evil'"),
        (lambda: entry("a\\..\\b"), "leads out of it"),
        (lambda: entry("link", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "is a link: 'link'"),
        (lambda: entry("pipe", mode=stat.S_IFIFO | 0o666), "is no file: 'pipe'"),
        (lambda: entry("strange", method=zipfile.ZIP_LZMA), "compressed in a way that is not taken: 'strange'"),
        (without_a_name, "leads out of it|has no name"),
        (before_its_own_begin, "has no name, or no place"),
        (encrypted, "The ZIP is encrypted"),
        (with_two_of_a_name, "two entries called"),
        (lambda: entry(FIRST.upper()), "two entries called"),
        (lambda: entry("more.zip", zipped({"a": b"b"})), r"holds another archive \(ZIP\): 'more.zip'"),
        (lambda: entry("brain.nii.gz", nifti(PHANTOM, compressed=True)), r"holds another archive \(gzip\)"),
        (lambda: entry("x.tar", bytes(257) + b"ustar" + bytes(250)), r"holds another archive \(tar\)"),
        (lambda: entry("zeros", bytes(128 << 20)), "times what it stores; 200 times are taken"),
        (lambda: quoting(30), "overlap: '000' and '001'"),
        (sharing_all, "overlap: '000' and '001'"),
        (lambda: zipped(STUDY)[:-200], "The ZIP is damaged"),
        (lambda: zipped({f"{number}": b"" for number in range(20_001)}), "has 20001 entries; 20000 are taken"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_zip_that_could_do_harm_is_refused(data: object, reason: str) -> None:
    assert callable(data)
    with pytest.raises((InvalidMedia, TooLarge), match=reason):
        read(data())


def test_what_it_inflates_to_is_limited_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "zip"
    path.write_bytes(zipped(STUDY))
    with pytest.raises(TooLarge, match=r"The ZIP inflates to 0 MB"):
        unpacked(path, tmp_path, most_bytes=50_000)


def test_an_entry_that_is_longer_than_it_says_is_refused() -> None:
    data = bytearray(zipped(STUDY))
    at = data.index(b"PK\1\2")
    struct.pack_into("<L", data, at + 24, 100)
    with pytest.raises(InvalidMedia, match=r"The ZIP is damaged|longer than it says"):
        read(bytes(data))


def test_what_systems_leave_in_a_zip_is_passed_over() -> None:
    found = read(zipped({**STUDY, "__MACOSX/._a.dcm": b"x", "a/.DS_Store": b"x", "DICOMDIR": b"x"}), "refuse")

    np.testing.assert_array_equal(found.voxels_IJK, PHANTOM.voxels_IJK)
    assert found.study["rest"] == []
    assert found.study["container"] == "zip"


def test_a_damaged_entry_is_refused_whatever_the_policy() -> None:
    data = bytearray(zipped(STUDY))
    data[200:260] = b"\xaa" * 60
    with pytest.raises(SightlineError, match="The ZIP is damaged"):
        read(bytes(data), "accept")
