"""One object to one volume: what a study is made of is known by its content, never by its name.

Runs in a process of its own, see `Context.isolated`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core.errors import InvalidMedia, TooLarge
from sightline.core.plugins import NewArray
from sightline.packs.medical.reading.archives import is_zip, unpacked
from sightline.packs.medical.reading.frames import slices_of
from sightline.packs.medical.reading.geometry import Grid, axis_codes, grid_of, steps_mm
from sightline.packs.medical.reading.nifti import MOST_VOXELS, is_nifti, read_nifti
from sightline.packs.medical.reading.pixels import StoredPixels, inverted
from sightline.packs.medical.reading.problems import Policy, Problems
from sightline.packs.medical.reading.series import chosen_of
from sightline.packs.medical.reading.slices import Slice, Unfit
from sightline.packs.medical.reading.voxels import Voxels, tell_rounded

_HEAD = 1024
_UNITS = frozenset(("CT", "PT"))  # modalities whose values are measures: large is not bright, but much
File = tuple[str, Path]


def read_study(new_array: NewArray, files: Sequence[Sequence[str]], policy: str) -> dict[str, Any]:
    """Make the array `voxels` (K, J, I) of a study; return its metadata, with `affine` beside them.

    Args:
        new_array: see `Context.isolated`.
        files: name and path of each file that was sent: one file of any kind, or the files of a folder.
        policy: `refuse`, `repair` or `accept`.

    Raises:
        InvalidMedia: it cannot be read, or the policy refuses its geometry.
    """
    problems = Problems(Policy(policy))
    given, container = opened(files)
    if container == "nifti":
        return _nifti(new_array, given[0], problems)
    return _dicom(new_array, given, problems) | {"container": container}


def opened(files: Sequence[Sequence[str]]) -> tuple[list[File], str]:
    """Return name and path of each file, those in a ZIP in place of it, and what they came in.

    Raises:
        InvalidMedia: it is empty, or a ZIP that could do harm.
    """
    given = [(name, Path(path)) for name, path in files]
    if len(given) > 1:
        return given, "dicom"
    with given[0][1].open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise InvalidMedia("It is empty.", cure="Send the file anew.")
    if head[:2] == b"\x1f\x8b" or is_nifti(head):
        return given, "nifti"
    if not is_zip(head):
        return given, "dicom"
    folder = Path("unpacked").absolute()
    folder.mkdir()
    return unpacked(given[0][1], folder), "zip"


def scanned(files: Sequence[File]) -> tuple[list[Slice], list[Unfit]]:
    """Return the slices in files, and what is none; a slice that was sent twice is there twice."""
    work = Path("inflated").absolute()
    work.mkdir(exist_ok=True)
    slices: list[Slice] = []
    unfit: list[Unfit] = []
    for name, path in files:
        found = slices_of(path, name, work)
        if isinstance(found, Unfit):
            unfit.append(found)
        else:
            slices += found
    return slices, unfit


def _nifti(new_array: NewArray, file: File, problems: Problems) -> dict[str, Any]:
    header, digest = read_nifti(new_array, file[1], problems)
    problems.refuse()
    return {
        "container": "nifti",
        "modality": "",
        "dimensions": list(header.shape_IJK),
        "spacing": steps_mm(header.affine),
        "orientation": axis_codes(header.affine),
        "series": {"uid": "", "description": "", "number": None},
        "rest": [],
        "problems": [each.as_json() for each in problems.items],
        "slices": [],
        "digest": digest,
        "affine": header.affine.tolist(),
    }


def _dicom(new_array: NewArray, files: Sequence[File], problems: Problems) -> dict[str, Any]:
    slices, unfit = scanned(files)
    with ThreadPoolExecutor(1) as pool:
        # Reading releases the interpreter, and so does hashing.
        digest = pool.submit(_digest, files, slices, unfit)
        return volume_of(new_array, slices, unfit, problems) | {"digest": digest.result()}


def volume_of(
    new_array: NewArray, slices: Sequence[Slice], unfit: Sequence[Unfit], problems: Problems
) -> dict[str, Any]:
    """Make the array `voxels` (K, J, I) of what `scanned` gave; return the metadata, without container and digest.

    Raises:
        InvalidMedia: there is no volume, or the policy refuses its geometry.
    """
    chosen = chosen_of(slices, unfit, problems)
    with StoredPixels() as pixels:
        grid = grid_of(chosen.slices, problems, lambda one, other: _is_same(pixels, one, other))
        _tell_labels(grid, problems)
        problems.refuse()
        shape = _decode(grid, new_array, pixels, problems)
        problems.refuse()
    series = chosen.series
    return {
        "modality": series.modality,
        "dimensions": list(shape),
        "spacing": steps_mm(grid.affine),
        "orientation": axis_codes(grid.affine),
        "series": {"uid": series.uid, "description": series.description, "number": series.number},
        "rest": list(chosen.rest),
        "problems": [each.as_json() for each in problems.items],
        "slices": [_told(k, each, grid.positions_mm[k]) for k, each in enumerate(grid.slices)],
        "affine": grid.affine.tolist(),
    }


def _decode(grid: Grid, new_array: NewArray, pixels: StoredPixels, problems: Problems) -> tuple[int, int, int]:
    """Decode the slices of a grid into an array; return its size I, J, K."""
    present = [(k, each) for k, each in enumerate(grid.slices) if each is not None]
    first = present[0][1].pixels
    shape = (len(grid.slices), first.rows, first.columns)
    if shape[0] * shape[1] * shape[2] > MOST_VOXELS:
        told = " x ".join(map(str, shape[::-1]))
        raise TooLarge(f"It has {told} voxels; {MOST_VOXELS} are taken.", cure="Send a part of it.")
    whole = all(each.slope.is_integer() and each.intercept.is_integer() for _, each in present)
    voxels = Voxels(new_array, shape, whole=whole)
    turned = []
    for k, each in sorted(present, key=lambda pair: (pair[1].path, pair[1].frame)):
        stored = pixels.of(each, voxels.room(k))
        if each.pixels.inverted and each.series.modality not in _UNITS:
            stored = inverted(stored, each.pixels)
            turned.append(k)
        voxels.put(k, stored, each.slope, each.intercept, each.pixels.ends)
    there = [k for k, _ in present]
    for k in set(range(shape[0])).difference(there):
        voxels.fill(k, max(each for each in there if each < k), min(each for each in there if each > k))
    if turned:
        problems.note("monochrome1", "Large was dark: the values were turned over, so that large is bright.", turned)
    tell_rounded(voxels.num_rounded, problems)
    scales = Counter((each.slope, each.intercept) for _, each in present)
    if len(scales) > 1:
        problems.note("slope_changes", f"{len(scales)} scales of values; each slice was scaled by its own.")
    if pixels.overlaid:
        problems.note(
            "overlay_bits", f"{len(pixels.overlaid)} slices hold other data beside their pixels, which were cut."
        )
    if pixels.mislabelled:
        num = len(set(pixels.mislabelled))
        problems.found(
            "transfer_syntax",
            f"{num} files are encoded in another way than they say",
            repair="they are read as they are",
        )
    return shape[2], shape[1], shape[0]


def _tell_labels(grid: Grid, problems: Problems) -> None:
    wrong = [k for k, each in enumerate(grid.slices) if each is not None and each.mislabelled]
    if wrong:
        problems.found(
            "transfer_syntax",
            f"{len(wrong)} slices are written in another way than their transfer syntax says",
            repair="they are read as they are",
            slices=wrong,
        )


def _is_same(pixels: StoredPixels, one: Slice, other: Slice) -> bool:
    if (one.slope, one.intercept) != (other.slope, other.intercept):
        return False
    return bool(np.array_equal(pixels.of(one).copy(), pixels.of(other)))


def _told(k: int, each: Slice | None, position_mm: float) -> dict[str, Any]:
    """Return what the slice map holds of one slice; one that was interpolated has no file."""
    told = {
        "index": k,
        "sop_uid": "" if each is None else each.sop_uid,
        "file": "" if each is None else each.file,
        "position_mm": round(position_mm, 6),
    }
    if each is not None and each.pixels.num_frames > 1:
        told["frame"] = each.frame
    return told


def _digest(files: Sequence[File], slices: Sequence[Slice], unfit: Sequence[Unfit]) -> str:
    """Return the digest of the DICOM files, in the order of their SOP UIDs, whatever their names and container."""
    uids = {each.file: each.sop_uid for each in slices} | {
        each.file: each.sop_uid for each in unfit if each.sop_uid or each.broken
    }
    whole = hashlib.sha256()
    single = []
    for name, path in files:
        if name in uids:
            with path.open("rb", buffering=0) as file:
                single.append((uids[name], hashlib.file_digest(file, "sha256").digest()))
    for uid, digest in sorted(set(single)):
        whole.update(uid.encode() + b"\0" + digest)
    return f"sha256:{whole.hexdigest()}"
