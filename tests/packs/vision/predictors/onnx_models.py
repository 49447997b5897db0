"""Tiny ONNX models that really look at the picture, made and opened by the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.core.ports import Session

Shape = list[int | str]


def opened(
    folder: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Shape],
    outputs: dict[str, tuple[int, Shape]],
    constants: dict[str, npt.NDArray[Any]] | None = None,
) -> Session:
    """Write a model into `folder` and open it with ONNX Runtime."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path = folder / "net.onnx"
    onnx.save(model, path)
    return OnnxRuntime().open(path, device="cpu")


def white_finder(folder: Path, *, batched: bool, layout: str = "NCHW") -> Session:
    """Open a net of any size whose one box, in torchvision's layout, is that of the pixels above 128.

    The picture is [1, 3, H, W], or [3, H, W] as torchvision's exports take it.
    """
    shape: Shape = ["height", "width"]
    shape = [3, *shape] if layout == "NCHW" else [*shape, 3]
    axes = {"colours": 0, "rows": 1, "columns": 2} if layout == "NCHW" else {"colours": 2, "rows": 0, "columns": 1}
    first = 1 if batched else 0
    squeezed = [axes["colours"] + first, *([0] if batched else [])]
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["floats"], ["grey_HW"], axes=squeezed, keepdims=0),
        helper.make_node("Greater", ["grey_HW", "limit"], ["white"]),
        helper.make_node("Cast", ["white"], ["white_HW"], to=TensorProto.INT32),
        helper.make_node("ReduceMax", ["white_HW"], ["white_W"], axes=[0], keepdims=0),
        helper.make_node("ReduceMax", ["white_HW"], ["white_H"], axes=[1], keepdims=0),
        helper.make_node("ArgMax", ["white_W"], ["left"], axis=0),
        helper.make_node("ArgMax", ["white_H"], ["top"], axis=0),
        helper.make_node("ArgMax", ["white_W"], ["right_pixel"], axis=0, select_last_index=1),
        helper.make_node("ArgMax", ["white_H"], ["bottom_pixel"], axis=0, select_last_index=1),
        helper.make_node("Add", ["right_pixel", "one"], ["right"]),
        helper.make_node("Add", ["bottom_pixel", "one"], ["bottom"]),
        helper.make_node("Concat", ["left", "top", "right", "bottom"], ["corners"], axis=0),
        helper.make_node("Cast", ["corners"], ["floating"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["floating", "zero"], ["boxes"]),
        helper.make_node("Identity", ["one"], ["labels"]),
        helper.make_node("Identity", ["sure"], ["scores"]),
    ]
    return opened(
        folder,
        nodes,
        {"image": ["n", *shape] if batched else shape},
        {
            "boxes": (TensorProto.FLOAT, [1, 4]),
            "labels": (TensorProto.INT64, [1]),
            "scores": (TensorProto.FLOAT, [1]),
        },
        {
            "limit": np.array(128, np.float32),
            "one": np.array([1], np.int64),
            "zero": np.array([0], np.int64),
            "sure": np.array([0.9], np.float32),
        },
    )


def answering(
    folder: Path, outputs: dict[str, npt.NDArray[Any]], *, width: int, height: int, batch: int | str = "n"
) -> Session:
    """Open a net that gives `outputs` for each picture of a size, plus the picture's mean (0 for a black one)."""
    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1)]
    kinds: dict[str, tuple[int, Shape]] = {}
    constants: dict[str, npt.NDArray[Any]] = {}
    for name, value in outputs.items():
        constants[f"{name}_value"] = value
        constants[f"{name}_shape"] = np.array([-1, *[1] * (value.ndim - 1)], np.int64)
        nodes.append(helper.make_node("Reshape", ["mean", f"{name}_shape"], [f"{name}_mean"]))
        nodes.append(helper.make_node("Add", [f"{name}_mean", f"{name}_value"], [name]))
        kinds[name] = (TensorProto.FLOAT, [batch, *value.shape[1:]])
    return opened(folder, nodes, {"images": [batch, 3, height, width]}, kinds, constants)
