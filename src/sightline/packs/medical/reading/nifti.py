"""NIfTI: the header is checked before anything is allocated, and bytes are counted while they are inflated.

Shape letters: I, J, K voxel axes, I the fastest in the file.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidMedia, TooLarge
from sightline.core.plugins import NewArray
from sightline.packs.medical.reading.geometry import checked_affine
from sightline.packs.medical.reading.problems import Problems
from sightline.packs.medical.reading.voxels import NAME, tell_rounded

MOST_VOXELS = 1 << 29
_DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_OTHERS = {
    1: "single bits",
    32: "complex numbers",
    128: "colours",
    1536: "float128",
    1792: "complex numbers",
    2304: "colours",
}
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_HEAD = 544
_TRAILER = 1 << 20
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Header:
    """What a NIfTI header says, checked.

    Attributes:
        shape_IJK: number of voxels.
        dtype: of a stored number, with its byte order.
        begin: where the voxels begin, in bytes.
        slope: value = slope x stored + intercept.
        affine: float64 [4, 4], voxel index to RAS millimetres.
    """

    shape_IJK: tuple[int, int, int]
    dtype: np.dtype[Any]
    begin: int
    slope: float
    intercept: float
    affine: npt.NDArray[np.float64]


def is_nifti(data: bytes) -> bool:
    """Return whether data begin as a NIfTI header does."""
    return len(data) >= 348 and _version(data) is not None


def read_nifti(new_array: NewArray, path: Path, problems: Problems) -> tuple[Header, str]:
    """Make the voxels of a .nii or .nii.gz file; return its header, and the digest of what is in it.

    Raises:
        InvalidMedia: it is damaged, or no volume.
        TooLarge: it has more voxels than are taken, or inflates to more than its header says.
    """
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if compressed:
            from isal import igzip, isal_zlib  # twice as fast as gzip

            try:
                with igzip.IGzipFile(fileobj=raw, mode="rb") as file:  # type: ignore[no-untyped-call]
                    return _read(new_array, cast("BinaryIO", file), problems, None)
            except isal_zlib.error as error:  # type: ignore[misc]
                raise _damaged(error) from None
        return _read(new_array, raw, problems, path.stat().st_size)


class _Input:
    """Bytes in their order, each counted into a digest."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self._file = file
        self.head = file.read(_HEAD)
        self._position = 0

    def take(self, num_bytes: int) -> bytes:
        """Return exactly so many bytes.

        Raises:
            EOFError: there are fewer.
        """
        pieces = [self.head[self._position : self._position + num_bytes]]
        num = len(pieces[0])
        while num < num_bytes:
            pieces.append(self._file.read(num_bytes - num))
            if not pieces[-1]:
                raise EOFError
            num += len(pieces[-1])
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._position += num_bytes
        self.digest.update(data)
        return data


def _read(new_array: NewArray, file: BinaryIO, problems: Problems, size: int | None) -> tuple[Header, str]:
    try:
        given = _Input(file)
        header = header_of(given.head, problems)
        num_bytes = math.prod(header.shape_IJK) * header.dtype.itemsize
        if size is not None and size < header.begin + num_bytes:
            raise InvalidMedia(
                f"It is cut off: {size} bytes, where {header.begin + num_bytes} are needed.", cure="Send the file anew."
            )
        left = header.begin
        while left:  # extensions of the header
            left -= len(given.take(min(left, _CHUNK)))
        problems.refuse()
        _fill(new_array, given, header, problems)
        if size is None and len(file.read(_TRAILER)) == _TRAILER:
            raise TooLarge("It inflates to more than its header says.", cure="Send the file anew.")
    except EOFError:
        raise InvalidMedia("It is cut off.", cure="Send the file anew.") from None
    except OSError as error:  # igzip tells damage so
        if error.errno is not None:
            raise
        raise _damaged(error) from None
    return header, f"sha256:{given.digest.hexdigest()}"


def _damaged(error: Exception) -> InvalidMedia:
    return InvalidMedia(f"Its compressed data are damaged: {error}.", cure="Send the file anew.")


def header_of(head: bytes, problems: Problems) -> Header:
    """Check the first bytes of a file.

    Raises:
        InvalidMedia: they are no header, or not that of a volume.
        TooLarge: it has more voxels than are taken.
    """
    found = _version(head)
    if found is None:
        raise InvalidMedia("It is no NIfTI file.", cure="Send .nii or .nii.gz")
    order, version = found
    fields = _fields(head, order, version)
    shape = _shape(fields["dim"])
    if fields["datatype"] not in _DTYPES:
        kind = _OTHERS.get(fields["datatype"], f"numbers of type {fields['datatype']}")
        raise InvalidMedia(f"Its voxels are {kind}, which are no grey values.", cure="Store them as int16 or float32.")
    dtype = np.dtype(order + _DTYPES[fields["datatype"]])
    if fields["bitpix"] != dtype.itemsize * 8:
        raise InvalidMedia(
            f"Its header says {fields['bitpix']} bits a voxel and {dtype.name}, which has {dtype.itemsize * 8}.",
            cure="Send the file anew.",
        )
    begin = fields["vox_offset"]
    least = 352 if version == 1 else 544
    if not math.isfinite(begin) or begin < least or begin != int(begin) or begin > 1 << 28:
        raise InvalidMedia(f"Its voxels are said to begin at byte {begin:g}.", cure="Send the file anew.")
    slope, intercept = fields["slope"], fields["intercept"]
    if slope == 0 or math.isnan(slope):
        slope, intercept = 1.0, 0.0  # as the standard has it: no scaling
    elif not (math.isfinite(slope) and math.isfinite(intercept)):
        raise InvalidMedia(f"Its values are scaled by {slope} and {intercept}.", cure="Send the file anew.")
    return Header(shape, dtype, int(begin), slope, intercept, _affine(fields, problems))


def _version(head: bytes) -> tuple[str, int] | None:
    for order in "<>":
        size = unpack_from(order + "i", head)[0] if len(head) >= 348 else 0
        if size == 348 and head[344:348] == b"n+1\0":
            return order, 1
        if size == 540 and head[4:8] == b"n+2\0" and len(head) >= 540:
            return order, 2
    return None


def _fields(head: bytes, order: str, version: int) -> dict[str, Any]:
    """Return the fields that count, from either version of the header."""
    if version == 1:
        dim, (datatype, bitpix) = unpack_from(order + "8h", head, 40), unpack_from(order + "2h", head, 70)
        pixdim = unpack_from(order + "8f", head, 76)
        vox_offset, slope, intercept = unpack_from(order + "3f", head, 108)
        units = head[123]
        codes = unpack_from(order + "2h", head, 252)
        numbers = unpack_from(order + "18f", head, 256)
    else:
        dim, (datatype, bitpix) = unpack_from(order + "8q", head, 16), unpack_from(order + "2h", head, 12)
        pixdim = unpack_from(order + "8d", head, 104)
        (vox_offset,) = unpack_from(order + "q", head, 168)
        slope, intercept = unpack_from(order + "2d", head, 176)
        units = unpack_from(order + "i", head, 500)[0]
        codes = unpack_from(order + "2i", head, 344)
        numbers = unpack_from(order + "18d", head, 352)
    return {
        "dim": dim,
        "datatype": datatype,
        "bitpix": bitpix,
        "pixdim": pixdim,
        "vox_offset": vox_offset,
        "slope": slope,
        "intercept": intercept,
        "units": units & 7,
        "qform": codes[0],
        "sform": codes[1],
        "quaternion": numbers[:3],
        "offset": numbers[3:6],
        "rows": numbers[6:],
    }


def _shape(dim: tuple[int, ...]) -> tuple[int, int, int]:
    num = dim[0]
    if not 1 <= num <= 7 or min(dim[1 : num + 1]) < 1:
        raise InvalidMedia(f"Its header says {list(dim)} of its sizes.", cure="Send the file anew.")
    sizes = (*dim[1 : num + 1], 1, 1)
    if math.prod(sizes[3:]) != 1:
        raise InvalidMedia(
            f"It has {num} axes, {' x '.join(map(str, sizes[:num]))}: not one volume.",
            cure="Send one of its volumes by itself, as a file of three axes.",
        )
    if math.prod(sizes) > MOST_VOXELS:
        raise TooLarge(
            f"It is said to have {' x '.join(map(str, sizes[:3]))} voxels; {MOST_VOXELS} are taken.",
            cure="Send a part of it, or resample it.",
        )
    return sizes[0], sizes[1], sizes[2]


def _affine(fields: dict[str, Any], problems: Problems) -> npt.NDArray[np.float64]:
    """Return the place of the voxels: the sform counts, then the qform; without either nothing is told.

    Raises:
        InvalidMedia: what counts is no number, or flat.
    """
    pixdim = fields["pixdim"]
    sform = qform = None
    if fields["sform"] > 0:
        sform = np.vstack([np.array(fields["rows"], np.float64).reshape(3, 4), [0, 0, 0, 1]])
    if fields["qform"] > 0:
        qform = _from_quaternion(fields["quaternion"], fields["offset"], pixdim)
    affine = sform if sform is not None else qform
    if affine is None:
        sizes = [abs(size) if math.isfinite(size) and size else 1.0 for size in pixdim[1:4]]
        affine = np.diag([*sizes, 1.0])
        problems.found(
            "no_orientation",
            "Its header does not tell how it lies in the patient",
            accept="its axes are taken as right, front and up",
        )
    if not np.isfinite(affine).all():
        raise InvalidMedia("Its affine holds what is no number.", cure="Write the file with a proper sform or qform.")
    volume = abs(np.linalg.det(affine[:3, :3]))
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not volume or volume < 1e-6 * np.prod(lengths) or lengths.min() < 1e-6:
        raise InvalidMedia("Its affine is flat: voxels without a volume.", cure="Write the file with a proper sform.")
    if sform is not None and qform is not None:
        apart = float(np.abs(sform - qform)[:3].max())
        if not apart <= 0.01 * lengths.max():  # also where the qform is no number
            problems.found("two_places", "Its sform and its qform differ", keep="the sform counts")
    unit = _UNITS_MM.get(fields["units"], 1.0)
    if unit != 1.0:
        problems.note("units", f"Its lengths are told in units of {unit:g} mm, and were turned into mm.")
        affine[:3] *= unit
    return checked_affine(affine)


def _from_quaternion(
    quaternion: tuple[float, ...], offset: tuple[float, ...], pixdim: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    """Return the affine of a qform; formula: nifti1.h, method 2."""
    b, c, d = quaternion
    a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d))) if all(map(math.isfinite, quaternion)) else math.nan
    length = math.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = (each / length for each in (a, b, c, d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    affine = np.eye(4)
    left_handed = -1.0 if pixdim[0] < 0 else 1.0
    affine[:3, :3] = rotation * np.array([abs(pixdim[1]), abs(pixdim[2]), abs(pixdim[3]) * left_handed])
    affine[:3, 3] = offset
    return affine


def _fill(new_array: NewArray, given: _Input, header: Header, problems: Problems) -> None:
    """Read the voxels in pieces into one array: int16 as long as every value is one, then float32, as `Voxels` does."""
    shape_KJI, itemsize = header.shape_IJK[::-1], header.dtype.itemsize
    plain = header.slope == 1 and header.intercept == 0
    whole = header.dtype.kind in "iu" and header.slope.is_integer() and header.intercept.is_integer()
    flat = new_array(NAME, shape_KJI, "int16" if whole else "float32").reshape(-1)
    done, num_bad, num_rounded = 0, 0, 0
    while done < len(flat):
        num = min(_CHUNK // itemsize, len(flat) - done)
        values = np.frombuffer(given.take(num * itemsize), header.dtype)
        if not plain:
            with np.errstate(over="ignore", invalid="ignore"):  # told below
                values = values.astype(np.float64) * header.slope + header.intercept
        if flat.dtype == np.int16 and not _is_narrow(values):
            narrow, flat = flat, new_array(NAME, shape_KJI, "float32").reshape(-1)
            flat[:done] = narrow[:done]
            del narrow
        target = flat[done : done + num]
        with np.errstate(over="ignore", invalid="ignore"):
            target[...] = values
        if flat.dtype != np.int16 and (bad := ~np.isfinite(target)).any():
            num_bad += int(bad.sum())
            target[bad] = 0
        elif whole and flat.dtype != np.int16:
            num_rounded += int(np.count_nonzero(target != values))
        done += num
    if num_bad:
        problems.found("no_numbers", f"{num_bad} of its voxels are no finite numbers", repair="they are taken as 0")
    tell_rounded(num_rounded, problems)


def _is_narrow(values: npt.NDArray[Any]) -> bool:
    """Return whether int16 holds all of them."""
    ends = np.iinfo(np.int16)
    if values.dtype.itemsize == 1 or values.dtype.str[1:] == "i2":
        return True
    return bool(values.min() >= ends.min and values.max() <= ends.max)
