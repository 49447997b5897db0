"""What reading a series costs beside SimpleITK: 256 slices of 512 x 512 to one volume with its place in the patient.

`python -m benchmarks.medical_reading --peer-python PYTHON`, where PYTHON is one that has SimpleITK (installed into an
environment of its own). Both read the same files, in turns, each time in a fresh process that has read them once
before the clock starts. The series is a CT as scanners write it: 12 bits, unsigned, intercept -1024, with noise.
What ours does beyond SimpleITK (the digest of the files, a process of its own) has rows of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
MOST = {"raw": 0.25, "rle": 0.10, "jpeg-ls": 1.1}
ROUNDS = {"raw": 5, "rle": 2, "jpeg-ls": 5}  # SimpleITK takes long for RLE
_PEER = """
import json, resource, sys, time
import SimpleITK
def read():
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(sys.argv[1]))
    return reader.Execute()
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
read()
begin, before = time.perf_counter(), cpu()
image = read()
told = {"wall": time.perf_counter() - begin, "cpu": cpu() - before}
print(json.dumps(told | {"sum": int(SimpleITK.GetArrayViewFromImage(image).sum(dtype="int64"))}))
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", default=os.environ.get("SIGHTLINE_PEER_PYTHON", ""))
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    parser.add_argument("--how", default="volume", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ours:
        print(json.dumps(measured(Path(args.ours), args.how)))
        return
    print("| figure | target | measured |\n| --- | --- | --- |")
    for row in rows(args.peer_python):
        print(f"| {' | '.join(row)} |", flush=True)


def rows(peer: str) -> Iterator[tuple[str, str, str]]:
    """Yield figure, target and what was measured; `peer`: a Python with SimpleITK, or empty."""
    from tests.packs.medical.phantoms import nifti, phantom

    with tempfile.TemporaryDirectory() as name:
        for syntax, most in MOST.items():
            folder = Path(name) / syntax
            folder.mkdir()
            write_series(folder, syntax)
            figure = f"256 x 512 x 512 series to volume, {syntax}, SimpleITK = 1"
            ours, theirs = _in_turns(folder, peer, ROUNDS[syntax])
            mine = _median(ours, "wall")
            if not theirs:
                yield figure, f"at most {most}", f"{mine:.2f} s; no Python with SimpleITK was named"
                continue
            if ours[0]["sum"] != theirs[0]["sum"]:
                raise SystemExit(f"{syntax}: both read other voxels")
            share, cpu = mine / _median(theirs, "wall"), _median(ours, "cpu") / _median(theirs, "cpu")
            told = f"{share:.2f} ({mine:.2f} s against {_median(theirs, 'wall'):.2f} s; processor time {cpu:.2f})"
            yield figure, f"at most {most}", told + ("" if share <= most else " - missed")
            if syntax == "raw":
                whole = [_ours(folder, "study") for _ in range(ROUNDS["raw"])]
                apart = [_ours(folder, "isolated") for _ in range(ROUNDS["raw"])]
                yield "the same, raw, with the digest of its files", "", f"{_median(whole, 'wall'):.2f} s"
                yield "the same, raw, in a process of its own", "", f"{_median(apart, 'wall'):.2f} s"
        (Path(name) / "small.nii").write_bytes(nifti(phantom()))
        empty = [_ours(Path(name), "start") for _ in range(ROUNDS["raw"])]
        yield "a process of its own for a small file", "", f"{_median(empty, 'wall'):.2f} s"


def write_series(folder: Path, syntax: str) -> None:
    """Write a CT of 256 slices."""
    from pydicom.uid import UID, JPEGLSLossless, RLELossless
    from tests.packs.medical.phantoms import Phantom, phantom, series, set_pixels, written

    made = phantom((512, 512, 1), (0.7, 0.7, 1.0))
    random = np.random.default_rng(0)
    for k in range(256):
        shade = 900 + made.voxels_IJK[:, :, 0] // 8 + k
        slice_ = np.clip(shade + random.normal(0, 8, shade.shape), 0, 4095).astype(np.int16)
        affine = made.affine.copy()
        affine[2, 3] += k
        [dataset] = series(Phantom(slice_[:, :, None], made.mask_IJK, affine), intercept=-1024)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{k + 1}")
        dataset.InstanceNumber = k + 1
        set_pixels(dataset, slice_.T.astype(np.uint16), bits_stored=12)
        if syntax != "raw":
            uid = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless}[syntax]
            dataset.compress(uid, generate_instance_uid=False)
        (folder / f"{k:03}.dcm").write_bytes(written(dataset))


def measured(folder: Path, how: str) -> Mapping[str, float]:
    """Read a series twice; return what the second time took, and the sum of its voxels."""
    from sightline.engine.isolated import Arrays
    from sightline.engine.isolation import run_isolated
    from sightline.packs.medical.reading.problems import Policy, Problems
    from sightline.packs.medical.reading.studies import read_study, scanned, volume_of

    files = [(path.name, path) for path in sorted(folder.iterdir()) if path.is_file()]
    given = [[name, str(path)] for name, path in files]
    made: dict[str, Any] = {}

    def new_array(name: str, shape: Any, dtype: str) -> Any:
        made[name] = np.zeros(shape, dtype)
        return made[name]

    def read() -> None:
        if how == "volume":
            volume_of(new_array, *scanned(files), Problems(Policy.REFUSE))
        elif how == "study":
            read_study(Arrays(4 << 30), given, "refuse")
        elif how == "isolated":
            made.update(run_isolated(read_study, [given, "refuse"], memory_mb=4096, timeout_s=300)[1])
        else:
            run_isolated(read_study, [[["small", str(folder / "small.nii")]], "refuse"], memory_mb=512, timeout_s=60)

    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        read()
        begin, before = time.perf_counter(), _cpu()
        read()
        told = {"wall": time.perf_counter() - begin, "cpu": _cpu() - before}
    voxels = made.get("voxels")
    return told | {"sum": 0 if voxels is None else int(voxels.sum(dtype=np.int64))}


def _in_turns(folder: Path, peer: str, rounds: int) -> tuple[list[Mapping[str, float]], list[Mapping[str, float]]]:
    ours: list[Mapping[str, float]] = []
    theirs: list[Mapping[str, float]] = []
    for _ in range(rounds):
        ours.append(_ours(folder, "volume"))
        if peer:
            theirs.append(_told([peer, "-c", _PEER, str(folder)]))
    return ours, theirs


def _ours(folder: Path, how: str) -> Mapping[str, float]:
    return _told([sys.executable, "-m", "benchmarks.medical_reading", "--ours", str(folder), "--how", how])


def _told(command: list[str]) -> Mapping[str, float]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _median(told: list[Mapping[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in told)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
