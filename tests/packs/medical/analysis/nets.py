"""Small nets of known weights, and volumes, for the tests of analysis.

Shape letters: IJK voxel axes, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.core.model import ModelCard
from sightline.core.ports import Session, Tensors
from sightline.core.sample import Sample, Volume
from sightline.testing import make_clocks

FEEDING: Mapping[str, Any] = {
    "input": "x", "inference": "sliding", "layout": "NCDHW", "size": 8, "normalise": {"kind": "none"},
}  # fmt: skip
READING: Mapping[str, Any] = {"output": "y", "activation": "none"}


def card_of(name: str = "net", *, labels: tuple[str, ...] = ("background", "lesion"), **fields: Any) -> ModelCard:
    """Return the card of a net of this module; `fields` beside those of `FEEDING` and `READING`."""
    reading: dict[str, Any] = {
        key: fields.pop(key) for key in ("activation", "background", "components", "fill_holes") if key in fields
    }
    return ModelCard(
        name=name,
        task="volume-segmentation",
        labels=labels,
        preprocessing={**FEEDING, **fields},
        postprocessing={**READING, **reading},
    )


def conv_net(path: Path, card: ModelCard, kernels: npt.NDArray[Any], *, channels_last: bool = False) -> Path:
    """Write a net of one convolution: kernels [C, 1, d, d, d], zeros around the volume, no bias."""
    side = kernels.shape[-1]
    free: list[str | int | None] = ["n", "d", "h", "w"]
    shape = [*free, 1] if channels_last else [free[0], 1, *free[1:]]
    out = [*free, len(kernels)] if channels_last else [free[0], len(kernels), *free[1:]]
    nodes = [helper.make_node("Conv", ["first", "kernels"], ["last"], pads=[side // 2] * 6)]
    if channels_last:
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["first"], perm=[0, 4, 1, 2, 3]))
        nodes.append(helper.make_node("Transpose", ["last"], ["y"], perm=[0, 2, 3, 4, 1]))
    else:
        nodes.insert(0, helper.make_node("Identity", ["x"], ["first"]))
        nodes.append(helper.make_node("Identity", ["last"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(kernels.astype(np.float32), "kernels")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, card.to_props())
    onnx.save(model, path)
    return path


def mean_kernel(side: int = 3) -> npt.NDArray[np.float32]:
    """Return the kernel [1, 1, d, d, d] that gives the mean of the neighbours."""
    return np.full((1, 1, side, side, side), 1 / side**3, np.float32)


def same_kernel(*factors: float) -> npt.NDArray[np.float32]:
    """Return kernels [C, 1, 1, 1, 1] that give the voxel itself, times each factor."""
    return np.array(factors, np.float32).reshape(-1, 1, 1, 1, 1)


class Counted(Session):
    """An open net that counts its calls."""

    def __init__(self, path: Path) -> None:
        self._session = OnnxRuntime().open(path)
        self.card = self._session.card
        self.calls = 0

    def run(self, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
        self.calls += 1
        return self._session.run(feeds)

    def close(self) -> None:
        self._session.close()


def sample_of(
    voxels_IJK: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None = None, **metadata: Any
) -> Sample[Volume]:
    """Return a sample with a volume; by default voxels of a millimetre in the order RAS."""
    volume = Volume(voxels_IJK, np.eye(4) if affine is None else affine)
    return Sample(payload=volume, source="study", seq=0, clocks=make_clocks(0), metadata=metadata)
