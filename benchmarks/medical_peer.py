"""MONAI's sliding window on torch, for `benchmarks.medical_analysis`: run by a Python that has monai and torch.

Takes a folder with `weights.npz` and `volume.npy`; writes `monai_<blend>.npy`, and prints a line of JSON for each run.
Imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference


class Net(torch.nn.Module):  # type: ignore[misc]
    """The small U-Net that `medical_analysis.write_net` writes as ONNX, with the same weights."""

    def __init__(self, weights: Mapping[str, Any]) -> None:
        """Take the weights by their names."""
        super().__init__()
        for name, array in weights.items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, x: Any) -> Any:
        """Return two channels."""
        f = torch.nn.functional
        top = f.relu(f.conv3d(x, self.a, padding=1))
        top = f.relu(f.conv3d(top, self.b, padding=1))
        low = f.relu(f.conv3d(f.max_pool3d(top, 2), self.c, padding=1))
        low = f.relu(f.conv3d(low, self.d, padding=1))
        up = f.conv_transpose3d(low, self.e, stride=2)
        both = f.relu(f.conv3d(torch.cat([top, up], 1), self.f, padding=1))
        return f.conv3d(both, self.g)


def memory(word: str) -> int:
    """Return kilobytes that /proc tells under a word, for instance VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(word))


def main(folder: Path, threads: int, runs: int) -> None:
    """Run each blend."""
    torch.set_num_threads(threads)
    net = Net(dict(np.load(folder / "weights.npz"))).eval()
    volume = torch.from_numpy(np.load(folder / "volume.npy"))[None, None]
    with torch.inference_mode():
        for blend, sigma in (("constant", 0.125), ("gaussian", 0.25)):
            for number in range(runs):
                Path("/proc/self/clear_refs").write_text("5")
                before, begin = memory("VmRSS"), time.perf_counter()
                cpu = time.process_time()
                answer = sliding_window_inference(
                    volume, (64, 64, 64), 4, net, overlap=0.5, mode=blend, sigma_scale=sigma
                )
                seconds, cpu_s = time.perf_counter() - begin, time.process_time() - cpu
                told = {
                    "blend": blend,
                    "run": number,
                    "seconds": seconds,
                    "cpu_s": cpu_s,
                    "extra_mb": (memory("VmHWM") - before) / 1024 - answer.nbytes / 2**20,
                }
                print(json.dumps(told), flush=True)
            np.save(folder / f"monai_{blend}.npy", answer[0].numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
