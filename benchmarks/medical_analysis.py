"""What the analysis of volumes costs: windows beside MONAI on torch, memory of a large volume, findings beside scipy.

`python -m benchmarks.medical_analysis --peer-python PYTHON`, where PYTHON is one that has monai and torch, in an
environment of its own; without it those rows are left out. Each side runs in processes of its own, alternately, on all
cores, with the net open before the clock starts; times are medians, memory is what the first call of a process takes
beyond the volume and the answer.

Both sides run one small U-Net with the same weights. With few channels the target holds; the wider a net, the more of
the time both spend in the same convolutions, where torch is as fast as ONNX Runtime: a second net, without a target,
tells how much is left there. Moving windows about takes ours 1 ms a window, so nothing beside the net is left to gain.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sightline.build import CaseBuildContext
from sightline.core.model import ModelCard
from sightline.core.ports import ModelHandle
from sightline.packs.medical.components import described
from sightline.packs.medical.profiles import Profile
from sightline.packs.medical.segmentation_model import SegmentationModel
from sightline.packs.medical.sliding import Windows, slide
from sightline.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
Floats = npt.NDArray[np.float32]
Row = tuple[str, str, str, bool]
"""Figure, target, what was measured, and whether the target is held."""

BLENDS = {"constant": 0.125, "gaussian": 0.25}
NETS = {"4 to 8 channels": ((4, 4, 8), 3), "16 to 32 channels": ((16, 16, 32), 1)}
"""Name -> channels of the net, and how often each process runs it."""

LEAST_FASTER, MOST_APART, MOST_MEMORY = 2.4, 1e-3, 0.25
MOST_LARGE_MB, LEAST_FINDINGS = 300, 8
_NUM_RUNS = 3
SCALED = {"kind": "fixed", "mean": 0, "std": 1000}


def main() -> int:
    """Measure what is asked for, print a table, and return 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", default=os.environ.get("SIGHTLINE_PEER_PYTHON", ""))
    parser.add_argument("--only", choices=["windows", "large", "findings"], action="append")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ours:
        run_ours(args.ours, args.runs)
        return 0
    wanted = args.only or ["findings", "large", "windows"]
    rows: list[Row] = []
    if "findings" in wanted:
        rows.append(findings_row())
    if "large" in wanted:
        rows.append(large_row())
    if "windows" in wanted and args.peer_python:
        rows += windows_rows(args.peer_python)
    elif "windows" in wanted:
        rows.append(("windows against MONAI on torch", "", "no Python with monai and torch was named", True))
    print("| figure | target | measured |\n| --- | --- | --- |")
    for figure, target, measured, held in rows:
        print(f"| {figure} | {target} | {measured}{'' if held else ' - missed'} |")
    return 0 if all(held for *_, held in rows) else 1


# Findings of many components.


def findings_row() -> Row:
    """Compare the figures of 2,000 components with those of scipy's functions for labels."""
    from scipy import ndimage

    numbered_IJK, num = _specks(2000)
    sure_IJK = np.random.default_rng(0).random(numbered_IJK.shape).astype(np.float16)
    sure32_IJK = sure_IJK.astype(np.float32)  # what scipy takes
    label = np.ones(num, np.int64)
    index = np.arange(1, num + 1)

    def theirs() -> Any:
        sizes = ndimage.sum_labels(np.ones(numbered_IJK.shape, np.uint8), numbered_IJK, index)
        means = ndimage.mean(sure32_IJK, numbered_IJK, index)
        greatest = ndimage.maximum(sure32_IJK, numbered_IJK, index)
        centres = ndimage.center_of_mass(numbered_IJK > 0, numbered_IJK, index)
        return sizes, means, greatest, centres, ndimage.find_objects(numbered_IJK)

    def ours() -> Any:
        return described(numbered_IJK, label, {"probability": sure_IJK})

    found, (sizes, means, greatest, centres, boxes) = ours(), theirs()
    np.testing.assert_array_equal(found.num_voxels, sizes)
    np.testing.assert_allclose(found.means["probability"], means, rtol=1e-5)
    np.testing.assert_allclose(found.greatest["probability"], greatest)
    np.testing.assert_allclose(found.centre_N3, centres)
    np.testing.assert_array_equal([[edge.start for edge in box] for box in boxes], found.low_N3)
    mine, other = _alternately(ours, theirs)
    return (
        f"findings of {num:,} components in 256^3 against scipy's label functions",
        f"at least {LEAST_FINDINGS}x faster",
        f"{other / mine:.1f}x ({mine * 1000:.0f} ms against {other * 1000:.0f} ms)",
        other / mine >= LEAST_FINDINGS,
    )


def _specks(num: int) -> tuple[npt.NDArray[np.int32], int]:
    """Return `num` balls of 2 to 5 voxels of radius, numbered, in 256^3."""
    from scipy import ndimage

    random = np.random.default_rng(1)
    mask = np.zeros((256, 256, 256), np.uint8)
    cells = [(i, j, k) for i in range(13) for j in range(13) for k in range(13)]  # 19 voxels wide
    for at in random.permutation(len(cells))[:num]:
        centre = np.array(cells[at]) * 19 + 9
        radius = random.integers(2, 6)
        span = np.arange(-radius, radius + 1)
        ball = span[:, None, None] ** 2 + span[:, None] ** 2 + span**2 <= radius**2
        mask[tuple(slice(c - radius, c + radius + 1) for c in centre)] |= ball
    numbered_IJK, found = ndimage.label(mask, output=np.int32)
    return numbered_IJK, int(found)


def _alternately(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(_NUM_RUNS):
        for times, call in zip(taken, (ours, theirs), strict=True):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
    return statistics.median(taken[0]), statistics.median(taken[1])


# A large volume.


def large_row() -> Row:
    """Look at 1000 x 512 x 512 voxels by windows of 96, and watch the memory that is no file's."""
    shape = (1000, 512, 512)
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as file:
        folder = Path(name)
        write_net(folder, channels=(2, 2, 4), size=96, num_out=1)
        voxels: npt.NDArray[np.int16] = np.memmap(file, np.int16, "w+", shape=shape)
        voxels[::7, ::5, ::3] = 1000
        with model_of(folder / "net.onnx") as handle:
            model = SegmentationModel(handle, lambda _: handle)
            with watching() as peak:
                begin = time.perf_counter()
                model.probabilities(voxels, np.eye(4), Profile(name="bench"))
                seconds = time.perf_counter() - begin
    return (
        "1000 x 512 x 512, windows of 96, one label: memory beyond input and output",
        f"at most {MOST_LARGE_MB} MB",
        f"{peak[0]:.0f} MB ({seconds:.0f} s)",
        peak[0] <= MOST_LARGE_MB,
    )


@contextmanager
def watching() -> Iterator[list[float]]:
    """Give a list whose only item is, at the end, the most anonymous memory in MB that was taken meanwhile."""
    ended, peak = Event(), [0.0]
    before = _memory("RssAnon")

    def look() -> None:
        while not ended.wait(0.01):
            peak[0] = max(peak[0], _memory("RssAnon") - before)

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _memory(word: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(word)) / 1024


# Windows, beside MONAI.


def windows_rows(peer: str) -> list[Row]:
    """Compare time, memory and logits with MONAI's sliding window on torch."""
    return [row for name in NETS for row in _windows_of(peer, name)]


def _windows_of(peer: str, name: str) -> Iterator[Row]:
    channels, runs = NETS[name]
    blends = BLENDS if runs > 1 else {"gaussian": BLENDS["gaussian"]}
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        write_net(folder, channels=channels, size=64)
        np.save(folder / "volume.npy", np.random.default_rng(0).normal(size=(128, 128, 128)).astype(np.float32))
        ours = [sys.executable, "-m", "benchmarks.medical_analysis", "--ours", str(folder), "--runs", str(runs)]
        theirs = [peer, str(Path(__file__).with_name("medical_peer.py")), str(folder), str(os.cpu_count()), str(runs)]
        own: list[dict[str, Any]] = []
        other: list[dict[str, Any]] = []
        for _ in range(2):
            own += _told(ours)
            other += _told(theirs)
        for blend in blends:
            mine, peers = _median(own, blend, "seconds"), _median(other, blend, "seconds")
            cpu, peers_cpu = _median(own, blend, "cpu_s"), _median(other, blend, "cpu_s")
            apart = np.abs(np.load(folder / f"ours_{blend}.npy") - np.load(folder / f"monai_{blend}.npy")).max()
            memory, peers_memory = _extra(own), _extra(other)
            share = memory / peers_memory
            shown = (
                f"{peers / mine:.2f}x faster ({mine:.1f} s against {peers:.1f}), by processor time "
                f"{peers_cpu / cpu:.2f}x; logits within {apart:.0e}; memory {share:.2f} ({memory:.0f} MB against "
                f"{peers_memory:.0f})"
            )
            is_target = runs > 1
            held = peers / mine >= LEAST_FASTER and share <= MOST_MEMORY
            yield (
                f"windows of 64 in 128^3, net of {name}, {blend}, against MONAI on torch",
                f"at least {LEAST_FASTER}x faster, logits within {MOST_APART:.0e}, memory at most {MOST_MEMORY}"
                if is_target
                else f"logits within {MOST_APART:.0e}",
                shown,
                bool(apart <= MOST_APART and (held or not is_target)),
            )


def run_ours(folder: Path, runs: int) -> None:
    """Do what `medical_peer` does, with the windows of the pack and a model of the platform."""
    volume = np.load(folder / "volume.npy")
    answer = np.ones((2, *volume.shape), np.float32)  # of ones, so that its memory is there before the first call
    with model_of(folder / "net.onnx") as handle:
        model = SegmentationModel(handle, lambda _: handle)
        for blend, sigma in BLENDS.items():
            windows = Windows(tile=(64, 64, 64), overlap=0.5, blend=blend, sigma=sigma)
            for number in range(runs):
                Path("/proc/self/clear_refs").write_text("5")
                before, begin = _memory("VmRSS"), time.perf_counter()
                cpu = time.process_time()
                for slab in slide(volume, np.asarray, lambda piece: model._asked(piece, ()), windows):  # noqa: SLF001
                    answer[(slice(None), *slab.where)] = slab.outputs_CIJK
                seconds, cpu_s = time.perf_counter() - begin, time.process_time() - cpu
                told = {
                    "blend": blend,
                    "run": number,
                    "seconds": seconds,
                    "cpu_s": cpu_s,
                    "extra_mb": _memory("VmHWM") - before,
                }
                print(json.dumps(told), flush=True)
            np.save(folder / f"ours_{blend}.npy", answer)


def _told(command: list[str]) -> list[dict[str, Any]]:
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    return [json.loads(line) for line in shown.splitlines() if line.startswith("{")]


def _median(told: list[dict[str, Any]], blend: str, word: str) -> float:
    return statistics.median(float(each[word]) for each in told if each["blend"] == blend)


def _extra(told: list[dict[str, Any]]) -> float:
    """Return what the first call of a process took; later ones find the memory that is held already."""
    return statistics.median(
        float(each["extra_mb"]) for each in told if each["run"] == 0 and each["blend"] == "constant"
    )


@contextmanager
def model_of(path: Path) -> Iterator[ModelHandle]:
    """Open a model as every case does: behind the platform's sessions."""
    with tempfile.TemporaryDirectory() as data:
        loaded = load_settings(folder=path.parent, environ={"SIGHTLINE_DATA_ROOT": data})
        with CaseBuildContext(loaded) as build:
            yield build.sessions.load(str(path))


def write_net(folder: Path, *, channels: tuple[int, int, int], size: int, num_out: int = 2) -> None:
    """Write a small U-Net with random weights as `net.onnx`, and the weights as `weights.npz`."""
    random = np.random.default_rng(0)
    first, top, low = channels

    def kernel(num_out: int, num_in: int, side: int) -> Floats:
        spread = np.sqrt(2 / (num_in * side**3))
        return random.normal(0, spread, (num_out, num_in, side, side, side)).astype(np.float32)

    weights: dict[str, Any] = {
        "a": kernel(first, 1, 3), "b": kernel(top, first, 3), "c": kernel(low, top, 3), "d": kernel(low, low, 3),
        "e": kernel(low, top, 2), "f": kernel(top, 2 * top, 3), "g": kernel(num_out, top, 1),
    }  # fmt: skip
    np.savez(folder / "weights.npz", **weights)
    nodes: list[Any] = []

    def step(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def conv(value: str, weight: str, *, relu: bool = True, pads: int = 1) -> str:
        result = step("Conv", [value, weight], f"conv_{weight}", pads=[pads] * 6)
        return step("Relu", [result], f"relu_{weight}") if relu else result

    upper = conv(conv("x", "a"), "b")
    lower = step("MaxPool", [upper], "pooled", kernel_shape=[2] * 3, strides=[2] * 3)
    lower = conv(conv(lower, "c"), "d")
    up = step("ConvTranspose", [lower, "e"], "up", strides=[2] * 3)
    both = conv(step("Concat", [upper, up], "both", axis=1), "f")
    step("Identity", [conv(both, "g", relu=False, pads=0)], "y")
    card = ModelCard(
        name="net",
        task="volume-segmentation",
        labels=("background", "lesion"),
        batchable=False,
        preprocessing={
            "input": "x", "inference": "sliding", "layout": "NCDHW", "size": size, "normalise": SCALED,
        },
        postprocessing={"output": "y", "activation": "sigmoid" if num_out == 1 else "softmax"},
    )  # fmt: skip
    free = ["d", "h", "w"]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, *free])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", num_out, *free])],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, card.to_props())
    onnx.save(model, folder / "net.onnx")


if __name__ == "__main__":
    sys.exit(main())
