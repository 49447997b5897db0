"""Masks and maps as compressed NIfTI files on the grid of their volume, made piece by piece while they are read.

Knows the NIfTI header by nibabel; the voxels pass in slabs of k, so that a file is never in memory as a whole.

Shape letters: I, J, K voxels along the axes of the grid.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from sightline.packs.medical.output.report import Report

LEVEL = 1  # of isal: 4.6 times faster than the same level of zlib, for a few percent more bytes
MAX_SHEAR = 1e-4  # cosine between two axes up to which a rotation describes them
_SLAB_BYTES = 4 << 20
_GZIP = 31  # window bits of zlib with the head of a gzip file
_NIFTI1_SIDE = 32767
SCANNER, ALIGNED = 1, 2  # codes of a form: the scanner's own millimetres, or those of some other space


def mask_file(report: Report) -> BinaryIO:
    """Return the labels as `.nii.gz`: uint8 where they fit, else uint16."""
    labels_IJK = report.mask.labels_HW
    dtype = np.dtype(np.uint8 if labels_IJK.dtype == np.uint8 or len(report.mask.class_name) <= 256 else np.uint16)
    return nifti_file(labels_IJK, report.volume.affine, dtype=dtype, form=form_of(report), intent="label")


def uncertainty_file(report: Report) -> BinaryIO | None:
    """Return the uncertainty, 0 to 1, as `.nii.gz` in steps of 1/255; None where the mask has no map to tell it.

    With an ensemble it is the spread of its members (1 - agreement); with one net the entropy of its probability in
    bits, which is 1 at a probability of 0.5.
    """
    maps = report.mask.maps
    if "agreement" in maps:
        return _share_file(report, maps["agreement"], _spread)
    if "probability" in maps:
        return _share_file(report, maps["probability"], _entropy)
    return None


def probability_file(report: Report) -> BinaryIO | None:
    """Return the probability, 0 to 1, as `.nii.gz` in steps of 1/255; None where the mask has no map of it."""
    probability_IJK = report.mask.maps.get("probability")
    return None if probability_IJK is None else _share_file(report, probability_IJK, lambda slab: slab)


def volume_file(report: Report) -> BinaryIO:
    """Return the volume itself as `.nii.gz`, in the units of its modality, in the dtype in which it was read."""
    voxels_IJK = report.volume.voxels_IJK
    return nifti_file(voxels_IJK, report.volume.affine, dtype=voxels_IJK.dtype, form=form_of(report))


def uncertainty_kind(report: Report) -> str:
    """Return what the uncertainty is made of: `spread`, `entropy`, or empty where there is none."""
    maps = report.mask.maps
    return "spread" if "agreement" in maps else "entropy" if "probability" in maps else ""


def form_of(report: Report) -> int:
    """Return the NIfTI code of the space in which the affine of the volume lies."""
    known = report.study.get("form_code")
    if isinstance(known, int) and known > 0:
        return known
    return ALIGNED if report.study.get("container") == "nifti" else SCANNER


def nifti_file(
    voxels_IJK: npt.NDArray[Any],
    affine: npt.NDArray[np.float64],
    *,
    dtype: np.dtype[Any],
    form: int = SCANNER,
    intent: str = "none",
    slope: float = 1.0,
    convert: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = lambda slab: slab,
) -> BinaryIO:
    """Return a stream of a `.nii.gz` that compresses while it is read.

    Args:
        voxels_IJK: [I, J, K] of any dtype.
        affine: voxel index to RAS mm.
        dtype: of the voxels in the file.
        form: NIfTI code of the space.
        intent: NIfTI name of what the numbers mean.
        slope: what a number in the file is worth.
        convert: makes the numbers of the file from a slab [I, J, k].
    """
    head = nifti_head(voxels_IJK.shape, affine, dtype, form=form, intent=intent, slope=slope)
    num_slices = max(1, _SLAB_BYTES // max(1, voxels_IJK.shape[0] * voxels_IJK.shape[1] * dtype.itemsize))

    def pieces() -> Iterator[bytes]:
        squeezer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _GZIP)
        yield squeezer.compress(head)
        for k in range(0, voxels_IJK.shape[2], num_slices):
            slab = convert(voxels_IJK[:, :, k : k + num_slices]).astype(dtype, copy=False)
            yield squeezer.compress(slab.tobytes(order="F"))
        yield squeezer.flush()

    return cast("BinaryIO", io.BufferedReader(_Pieces(pieces()), 1 << 20))


def nifti_head(
    shape: tuple[int, ...],
    affine: npt.NDArray[np.float64],
    dtype: np.dtype[Any],
    *,
    form: int = SCANNER,
    intent: str = "none",
    slope: float = 1.0,
) -> bytes:
    """Return everything of a NIfTI file that stands before its voxels; NIfTI-2 where a side is too long for NIfTI-1.

    A sheared grid (a tilted gantry) has a sform only: no rotation describes it.
    """
    kind: Any = nib.Nifti1Header if max(shape) <= _NIFTI1_SIDE else nib.Nifti2Header
    header = kind()
    header.set_data_dtype(dtype.newbyteorder("<"))
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_intent(intent)
    header.set_slope_inter(slope, 0)
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    sheared = np.abs(steps.T @ steps - np.eye(3)).max() > MAX_SHEAR
    header.set_qform(affine, code=0 if sheared else form, strip_shears=True)
    header.set_sform(affine, code=form)
    file = io.BytesIO()
    header["vox_offset"] = header.single_vox_offset
    header.write_to(file)
    return file.getvalue()


class _Pieces(io.RawIOBase):
    """Reads the bytes that an iterator gives."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        num = min(len(buffer), len(self._rest))
        buffer[:num] = self._rest[:num]
        self._rest = self._rest[num:]
        return num


def _share_file(
    report: Report, map_IJK: npt.NDArray[Any], share: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> BinaryIO:
    """Return the `share`, 0 to 1, that is told by slabs of a map, as `.nii.gz` in steps of 1/255."""
    return nifti_file(
        map_IJK,
        report.volume.affine,
        dtype=np.dtype(np.uint8),
        form=form_of(report),
        intent="estimate",
        slope=1 / 255,
        convert=lambda slab: np.rint(255 * np.clip(share(slab.astype(np.float32)), 0, 1)),
    )


def _spread(agreement: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return 1 - agreement


def _entropy(probability: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the binary entropy in bits."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    entropy: npt.NDArray[Any] = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return entropy
