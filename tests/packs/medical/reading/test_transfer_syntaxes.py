"""Every grey picture of pydicom's test files is decoded as pydicom decodes it, or refused with its reason."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from pathlib import Path

import data_store  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import pixel_array  # type: ignore[attr-defined]
from pydicom.uid import ImplicitVRLittleEndian
from tests.packs.medical.phantoms import SYNTAXES, files, phantom, series, written
from tests.packs.medical.reading.reading import read

from sightline.core.errors import InvalidMedia
from sightline.packs.medical.reading.frames import slices_of
from sightline.packs.medical.reading.pixels import StoredPixels, encapsulated
from sightline.packs.medical.reading.slices import Unfit

PHANTOM = phantom()
FOLDERS = (Path(pydicom.__file__).parent / "data" / "test_files", Path(data_store.__file__).parent / "data")
NOT_DECODED = {
    "JPEG-lossy.dcm": "JPEG of 12 bits",
    "JPGExtended.dcm": "JPEG of 12 bits",
    "JPEG-LL.dcm": "Lossless JPEG of 16 bits",
    "JPEG2000-embedded-sequence-delimiter.dcm": "compressed picture has 1024 x",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "cut off",
}
BY_TWO_OTHER_DECODERS = {  # SHA-256 of the uint16 pixels that GDCM 3.2 and libjpeg (Thomas Richter's) give
    "bad_sequence.dcm": "ef7120ddfc77c166ecdc5ffb99715deff8be9f3e7c0409021c0e06b962d2a61a",
    "JPGLosslessP14SV1_1s_1f_8b.dcm": "53e607880105df3b1991859fde98379e486f33ccb705e689296ab7583df325ae",
}
LEAST_EQUAL = 78


def test_what_pydicom_decodes_is_decoded_alike(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for path in (each for folder in FOLDERS for each in sorted(folder.rglob("*"))):
        if not path.is_file() or path.suffix in {".py", ".pyc", ".zip", ".md", ".txt"}:
            continue
        slices = slices_of(path, path.name, tmp_path)
        if isinstance(slices, Unfit):
            assert slices.reason
            seen["unfit"] += 1
            continue
        if path.name in NOT_DECODED:
            with StoredPixels() as pixels, pytest.raises(InvalidMedia, match=NOT_DECODED[path.name]):
                pixels.of(slices[-1])
            seen["refused"] += 1
            continue
        with StoredPixels() as pixels:
            found = np.stack([pixels.of(each).copy() for each in slices])
        if path.name in BY_TWO_OTHER_DECODERS:
            digest = hashlib.sha256(found.astype("<u2").tobytes()).hexdigest()
            assert digest == BY_TWO_OTHER_DECODERS[path.name], path.name
        elif path.name != "badVR.dcm":  # of which pydicom reads no pixels
            np.testing.assert_array_equal(found, by_pydicom(path).reshape(found.shape), path.name)
            seen["equal"] += 1

    assert seen["equal"] >= LEAST_EQUAL
    assert seen["refused"] == len(NOT_DECODED)


def by_pydicom(path: Path) -> npt.NDArray[np.integer]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fields that are not as they should be
        dataset = pydicom.dcmread(path, force=True)
        if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        found: npt.NDArray[np.integer] = pixel_array(dataset, raw=True)
        return found


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_series_is_the_same_volume_in_every_encoding(syntax: str) -> None:
    found = read(files(series(PHANTOM, syntax=syntax)), "refuse")

    np.testing.assert_array_equal(found.voxels_IJK, PHANTOM.voxels_IJK)
    assert found.voxels_IJK.dtype == np.int16


def test_a_file_is_known_by_its_content() -> None:
    renamed = {f"{name}.ima": data for name, data in files(series(PHANTOM), suffix="").items()}
    bare = {f"{k}": written(each, preamble=False) for k, each in enumerate(series(PHANTOM))}

    for data in (renamed, bare):
        np.testing.assert_array_equal(read(data, "refuse").voxels_IJK, PHANTOM.voxels_IJK)


@pytest.mark.parametrize(
    ("syntax", "label"),
    [
        ("raw", "1.2.840.10008.1.2"),
        ("implicit", "1.2.840.10008.1.2.1"),
        ("jpeg-ls", "1.2.840.10008.1.2.4.90"),
        ("rle", "1.2.840.10008.1.2.1"),
        ("raw", "1.2.840.10008.1.2.5"),
    ],
)
def test_a_wrong_label_is_told_and_the_pixels_are_read_as_they_are(syntax: str, label: str) -> None:
    own = SYNTAXES[syntax].encode()
    wrong = {
        name: relabelled(data, own, label.encode()) for name, data in files(series(PHANTOM, syntax=syntax)).items()
    }
    with pytest.raises(InvalidMedia, match="transfer_syntax"):
        read(wrong, "refuse")

    found = read(wrong, "repair")

    np.testing.assert_array_equal(found.voxels_IJK, PHANTOM.voxels_IJK)
    assert found.problems["transfer_syntax"] == "repaired"


def padded(uid: bytes) -> bytes:
    return uid + b"\0" * (len(uid) % 2)


def relabelled(data: bytes, own: bytes, label: bytes) -> bytes:
    """Return a file with another label, and the lengths that go with it."""
    old, new = padded(own), padded(label)
    at = data.index(b"\x02\0\x10\0UI")
    grown = len(new) - len(old)
    group = int.from_bytes(data[140:144], "little") + grown
    head = data[:140] + group.to_bytes(4, "little") + data[144 : at + 6] + len(new).to_bytes(2, "little") + new
    return head + data[at + 8 + len(old) :]


def test_a_compressed_picture_of_another_size_is_refused_before_it_is_decoded() -> None:
    slices = series(PHANTOM, syntax="jpeg-ls")
    for each in slices:
        each.Rows = each.Columns = 800
    with pytest.raises(InvalidMedia, match=r"has 36 x 40 pixels of 1 samples, its header says 800 x 800 of 1"):
        read(files(slices))


@pytest.mark.parametrize("syntax", ["rle", "jpeg-ls", "j2k"])
def test_a_damaged_picture_is_refused(syntax: str) -> None:
    slices = series(PHANTOM, syntax=syntax)
    data = slices[5].PixelData
    slices[5].PixelData = data[: len(data) // 2] + b"\xff" * (len(data) // 4) + data[len(data) * 3 // 4 :]
    with pytest.raises(InvalidMedia):
        read(files(slices))


def test_frames_of_several_fragments_are_found() -> None:
    item = b"\xfe\xff\x00\xe0"
    value = item + b"\0\0\0\0" + item + b"\2\0\0\0ab" + item + b"\2\0\0\0cd" + b"\xfe\xff\xdd\xe0\0\0\0\0"

    assert list(encapsulated(value, 1)) == [b"abcd"]
    assert list(encapsulated(value, 2)) == [b"ab", b"cd"]


def test_a_file_without_a_label_is_read_by_its_begin(tmp_path: Path) -> None:
    path = get_testdata_file("ExplVR_LitEndNoMeta.dcm")
    assert isinstance(slices_of(Path(str(path)), "no label", tmp_path), list | Unfit)
