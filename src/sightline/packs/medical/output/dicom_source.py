"""What DICOM segmentations and reports need to know of the pictures from which they were made.

Takes headers without pixels, one for each slice along k (or one of an enhanced file for all of them), and tells how the
rows and columns of a picture lie on the grid of the volume.

Shape letters: I, J, K voxels; H rows, W columns; K slices that have a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import UID

from sightline.core.errors import InvalidMedia
from sightline.packs.medical.output.report import Report

_TO_RAS = np.array([-1.0, -1.0, 1.0])
_NEAR = 0.02  # of a voxel: how far a step between pixels may lie from a step between voxels
_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)


class NoPictures(Exception):
    """The volume has no pictures to which DICOM could refer; the text is the reason."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a volume in the order of its slices.

    Attributes:
        headers: of the files: one for each picture, or one enhanced file of them all.
        slices: index along k of each picture.
        frames: for an enhanced file the frame of each picture, from 0; else None.
    """

    headers: tuple[Dataset, ...]
    slices: tuple[int, ...]
    frames: tuple[int, ...] | None

    @property
    def first(self) -> Dataset:
        """Header that tells the patient and the study."""
        return self.headers[0]

    def of_slice(self, k: int) -> Dataset | None:
        """Return the header of the picture nearest to a slice, where it has one."""
        if k not in self.slices:
            return None
        return self.first if self.frames is not None else self.headers[self.slices.index(k)]

    def place(self, at: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], tuple[float, float]]:
        """Return position [3] and cosines [6], LPS, and row and column spacing in mm of picture number `at`."""
        if self.frames is None:
            return _place(self.headers[at], self.headers[at], self.headers[at])
        header = self.first
        shared = header.SharedFunctionalGroupsSequence[0]
        frame = header.PerFrameFunctionalGroupsSequence[self.frames[at]]

        def group(name: str) -> Dataset:
            return (frame if name in frame else shared)[name].value[0]  # type: ignore[no-any-return]

        return _place(group("PlanePositionSequence"), group("PlaneOrientationSequence"), group("PixelMeasuresSequence"))


def pictures_of(report: Report, headers: Mapping[str, Dataset]) -> Pictures:
    """Return the pictures of a volume.

    Args:
        report: its study maps each slice to a picture.
        headers: without pixels, by SOP instance UID.

    Raises:
        NoPictures: the input was no DICOM.
    """
    slices = report.slices()
    known = [k for k in range(report.mask.labels_HW.shape[2]) if slices.get(k, {}).get("sop_uid") in headers]
    if not known:
        raise NoPictures("The input is no DICOM, so there is nothing to which DICOM could refer.")
    found = [headers[slices[k]["sop_uid"]] for k in known]
    if int(found[0].get("NumberOfFrames") or 1) > 1:
        if len({id(each) for each in found}) > 1:
            raise NoPictures("The volume was put together from several multi-frame files; DICOM could refer to one.")
        frames = tuple(int(slices[k].get("frame", at)) for at, k in enumerate(known))
        return Pictures((_completed(found[0]),), tuple(known), frames)
    return Pictures(tuple(map(_completed, found)), tuple(known), None)


def placed_labels(report: Report, pictures: Pictures) -> npt.NDArray[Any]:
    """Return the labels of the slices that have a picture, each laid as its picture is: [K, H, W].

    Raises:
        InvalidMedia: a picture does not lie on the grid of the volume.
    """
    inverse = np.linalg.inv(report.volume.affine[:3, :3])
    first = pictures.first
    height, width = int(first.Rows), int(first.Columns)
    made = np.empty((len(pictures.slices), height, width), report.mask.labels_HW.dtype)
    for at, k in enumerate(pictures.slices):
        _, cosines, (row_mm, column_mm) = pictures.place(at)
        down = _step(inverse @ (cosines[3:] * _TO_RAS * row_mm))
        across = _step(inverse @ (cosines[:3] * _TO_RAS * column_mm))
        labels_IJ = report.mask.labels_HW[:, :, k]
        laid = labels_IJ if down[0] == 0 else labels_IJ.T
        laid = laid[:: down[1], :: across[1]]
        if {down[0], across[0]} != {0, 1} or laid.shape != (height, width):
            raise InvalidMedia(f"The picture of slice {k} does not lie on the grid of the volume.")
        made[at] = laid
    return made


def uid_of(report: Report, what: str) -> UID:
    """Return the UID of something that a job makes: the same whenever the same job makes it again."""
    return UID(f"2.25.{uuid5(NAMESPACE_OID, f'sightline/{report.provenance.run}/{report.stem}/{what}').int}")


def _step(step: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Return along which voxel axis a step of one pixel goes, and which way.

    Raises:
        InvalidMedia: along none.
    """
    axis = int(np.argmax(np.abs(step)))
    way = 1 if step[axis] > 0 else -1
    if np.abs(step - way * np.eye(3)[axis]).max() > _NEAR:
        raise InvalidMedia("The pictures do not lie on the grid of the volume.")
    return axis, way


def _place(
    position: Dataset, orientation: Dataset, measures: Dataset
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], tuple[float, float]]:
    row_mm, column_mm = measures.PixelSpacing
    return (
        np.array(position.ImagePositionPatient, np.float64),
        np.array(orientation.ImageOrientationPatient, np.float64),
        (float(row_mm), float(column_mm)),
    )


def _completed(header: Dataset) -> Dataset:
    """Return a header with the elements that may be empty, and have to be there."""
    made = Dataset(header)
    for keyword in _EMPTY:
        if keyword not in made:
            setattr(made, keyword, None if keyword.endswith(("Date", "Time")) else "")
    return made
