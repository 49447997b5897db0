"""Volumes that are known to the voxel, and the files that scanners would have written of them.

Shape letters: I, J, K voxel axes; R right to left, A posterior to anterior, S foot to head.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from pydicom import DataElement, Dataset, FileMetaDataset, dcmwrite
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

SYNTAXES: Mapping[str, UID] = {
    "raw": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "rle": RLELossless,
    "jpeg-ls": JPEGLSLossless,
    "j2k": JPEG2000Lossless,
}
COMPRESSED = ("rle", "jpeg-ls", "j2k")
AXIS_ORDERS = tuple(
    "".join(pair[side] for pair, side in zip(pairs, sides, strict=True))
    for pairs in permutations(("RL", "AP", "SI"))
    for sides in product((0, 1), repeat=3)
)
"""The 48 ways in which voxel axes may lie along the axes of a patient, such as `RAS` or `PIR`."""

BODY, LESION = 200, 900
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Phantom:
    """A volume of which everything is known.

    Attributes:
        voxels_IJK: int16; a body of 200 and more with one lesion of 900, no two slices alike.
        mask_IJK: uint8; 1 where the lesion is.
        affine: float64 [4, 4], voxel index to RAS millimetres.
    """

    voxels_IJK: npt.NDArray[np.int16]
    mask_IJK: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]

    @property
    def volume_mm3(self) -> float:
        """Volume of the lesion."""
        return float(self.mask_IJK.sum() * abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def centroid_mm(self) -> npt.NDArray[np.float64]:
        """Centre of the lesion in the patient, RAS."""
        centre: npt.NDArray[np.float64] = self.affine[:3, :3] @ np.argwhere(self.mask_IJK).mean(0) + self.affine[:3, 3]
        return centre

    def reoriented(self, order: str) -> Phantom:
        """Return the same matter with its voxel axes in another order, such as `PIR`."""
        letters = ["RL", "AP", "SI"]
        axes = [next(axis for axis, pair in enumerate(letters) if letter in pair) for letter in order]
        flips = [letter in "LPI" for letter in order]
        change = np.zeros((4, 4))
        change[3, 3] = 1
        for new, (old, flipped) in enumerate(zip(axes, flips, strict=True)):
            change[old, new] = -1 if flipped else 1
            change[old, 3] = self.voxels_IJK.shape[old] - 1 if flipped else 0

        def turned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            array = array.transpose(axes)
            return np.ascontiguousarray(array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)])

        return Phantom(turned(self.voxels_IJK), turned(self.mask_IJK), self.affine @ change)

    def sheared(self, degrees: float) -> Phantom:
        """Return it as a tilted gantry takes it: each slice moved along j against the one before."""
        affine = self.affine.copy()
        step_mm = np.linalg.norm(affine[:3, 2])
        affine[:3, 2] += affine[:3, 1] / np.linalg.norm(affine[:3, 1]) * step_mm * np.tan(np.radians(degrees))
        return Phantom(self.voxels_IJK, self.mask_IJK, affine)


def phantom(
    shape: tuple[int, int, int] = (40, 36, 16), spacing_mm: tuple[float, float, float] = (1.5, 1.25, 2.0)
) -> Phantom:
    """Return a body that is alike from no two sides, with axes R, A, S and one lesion in it.

    Sides below 32 are too small for JPEG 2000.
    """
    i, j, k = np.indices(shape)
    size = np.array(shape)
    voxels = np.zeros(shape, np.int16)
    body = (i > size[0] // 8) & (j > size[1] // 5) & (k >= size[2] // 8)
    voxels[body] = (BODY + 3 * i + 5 * j + 7 * k)[body]
    begin, end = size // 2, size // 2 + np.maximum(size // (4, 5, 6), 1)
    lesion = np.ones(shape, bool)
    for axis, index in enumerate((i, j, k)):
        lesion &= (index >= begin[axis]) & (index < end[axis])
    lesion &= ~((i == begin[0]) & (j == begin[1]))  # a notch: no box
    voxels[lesion] = LESION
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = (-17.5, 12.25, -31.0)
    return Phantom(voxels, lesion.astype(np.uint8), affine)


def nifti(of: Phantom, *, compressed: bool = False, mask: bool = False, **header: Any) -> bytes:
    """Return a NIfTI-1 file of it, or of its mask; `header` sets fields such as `scl_slope`."""
    image: Any = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        of.mask_IJK if mask else of.voxels_IJK, of.affine
    )
    for name, value in header.items():
        image.header[name] = value
    data = image.to_bytes()
    return gzip.compress(data, 1, mtime=0) if compressed else data


def series(
    of: Phantom,
    *,
    syntax: str = "raw",
    modality: str = "CT",
    uid: str = "1.2.826.0.1.3680043.10.1.1",
    description: str = "axial",
    number: int = 2,
    slope: float = 1.0,
    intercept: float = 0.0,
) -> list[Dataset]:
    """Return one dataset a slice along k, encoded in `syntax` (a key of SYNTAXES); alter them, then write them."""
    matrix = _TO_LPS @ of.affine
    steps_mm = np.linalg.norm(matrix[:3, :3], axis=0)
    cosines = matrix[:3, :2] / steps_mm[:2]
    made = []
    for k in range(of.voxels_IJK.shape[2]):
        dataset = _header(uid, k, modality, SYNTAXES[syntax if syntax not in COMPRESSED else "raw"])
        dataset.SeriesDescription, dataset.SeriesNumber, dataset.InstanceNumber = description, number, k + 1
        dataset.ImageOrientationPatient = [_short(each) for each in cosines.T.ravel()]
        dataset.ImagePositionPatient = [_short(each) for each in (matrix @ (0, 0, k, 1))[:3]]
        dataset.PixelSpacing = [_short(steps_mm[1]), _short(steps_mm[0])]
        dataset.SliceThickness = _short(steps_mm[2])
        dataset.RescaleSlope, dataset.RescaleIntercept = _short(slope), _short(intercept)
        set_pixels(dataset, of.voxels_IJK[:, :, k].T)
        if syntax in COMPRESSED:
            dataset.compress(SYNTAXES[syntax], generate_instance_uid=False)
        made.append(dataset)
    return made


def set_pixels(dataset: Dataset, pixels_HW: npt.NDArray[Any], *, bits_stored: int = 0) -> None:
    """Put integers of 8, 16 or 32 bits into a dataset, not compressed, with the fields that tell how."""
    bits = pixels_HW.dtype.itemsize * 8
    dataset.Rows, dataset.Columns = pixels_HW.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored = bits, bits_stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels_HW.dtype, np.signedinteger))
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    big = dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    dataset["PixelData"] = _pixel_element(
        np.ascontiguousarray(pixels_HW).astype(pixels_HW.dtype.newbyteorder(">" if big else "<"))
    )


def enhanced(of: Phantom, *, syntax: str = "raw") -> Dataset:
    """Return one enhanced multi-frame MR of it; its frames are stored in the reverse order."""
    matrix = _TO_LPS @ of.affine
    steps_mm = np.linalg.norm(matrix[:3, :3], axis=0)
    dataset = _header("1.2.826.0.1.3680043.10.1.9", 0, "MR", SYNTAXES[syntax if syntax not in COMPRESSED else "raw"])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.SeriesDescription, dataset.SeriesNumber, dataset.InstanceNumber = "enhanced", 9, 1
    order = range(of.voxels_IJK.shape[2])[::-1]
    orientation, measures, values = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [_short(each) for each in (matrix[:3, :2] / steps_mm[:2]).T.ravel()]
    measures.PixelSpacing = [_short(steps_mm[1]), _short(steps_mm[0])]
    measures.SliceThickness = _short(steps_mm[2])
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "1", "0", "US"
    shared = Dataset()
    shared.PlaneOrientationSequence = Items([orientation])
    shared.PixelMeasuresSequence = Items([measures])
    shared.PixelValueTransformationSequence = Items([values])
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for k in order:
        place, frame = Dataset(), Dataset()
        place.ImagePositionPatient = [_short(each) for each in (matrix @ (0, 0, k, 1))[:3]]
        frame.PlanePositionSequence = Items([place])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    dataset.NumberOfFrames = len(frames)
    set_pixels(dataset, np.stack([of.voxels_IJK[:, :, k].T for k in order]))
    if syntax in COMPRESSED:
        dataset.compress(SYNTAXES[syntax], generate_instance_uid=False)
    return dataset


def written(dataset: Dataset, *, preamble: bool = True) -> bytes:
    """Return the DICOM file of a dataset."""
    file = io.BytesIO()
    if preamble:
        dcmwrite(file, dataset, enforce_file_format=True)
    else:
        plain = Dataset(dataset)
        dcmwrite(file, plain, implicit_vr=True, little_endian=True)
    return file.getvalue()


def files(datasets: Iterable[Dataset], *, suffix: str = ".dcm") -> dict[str, bytes]:
    """Return the files of datasets by names that say nothing of their order."""
    return {f"study/{number * 7919 % 1000:03d}{suffix}": written(each) for number, each in enumerate(datasets)}


def zipped(content: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> bytes:
    """Return a ZIP of files, in the order of their names as given."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in content.items() if isinstance(content, Mapping) else content:
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return file.getvalue()


def _header(series_uid: str, k: int, modality: str, syntax: UID) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = (
        CTImageStorage if modality == "CT" else MRImageStorage
    )
    # Not in the order of the slices: the unique id must not be what sorts them.
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(
        f"{series_uid}.{(k * 7 + 3) % 1009 + 1}"
    )
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID("1.2.826.0.1.3680043.10.1"), UID(series_uid)
    dataset.FrameOfReferenceUID = UID("1.2.826.0.1.3680043.10.1.77")
    dataset.Modality, dataset.ImageType = modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Phantom^A", "PH-1", "", "O"
    dataset.StudyDate = dataset.SeriesDate = "20260101"
    dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "101500", "1", "", ""
    dataset.Manufacturer, dataset.PositionReferenceIndicator, dataset.PatientPosition = "Sightline tests", "", "HFS"
    return dataset


def _pixel_element(pixels: npt.NDArray[Any]) -> DataElement:
    data = pixels.tobytes()
    return DataElement(0x7FE00010, "OB" if pixels.dtype.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2))


def _short(value: float) -> str:
    """Return a number as DICOM holds it: text of at most 16 characters."""
    return np.format_float_positional(np.round(value, 10), trim="-")[:16]
