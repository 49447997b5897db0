"""Tiny ONNX models for the engine's tests.

Shape letters: N rows, C columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sightline.core.model import ModelCard


def doubling_net(
    path: Path, *, rows: int | str = "n", columns: int | str = 2, card: ModelCard | None = None, factor: float = 2
) -> Path:
    """Write a net whose output y is its input x times two (or `factor`), both float32 [rows, columns]."""
    x_NC = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, columns])
    y_NC = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])
    return _saved(path, [helper.make_node("Mul", ["x", "two"], ["y"])], [x_NC], [y_NC], card, factor=factor)


def summing_net(path: Path) -> Path:
    """Write a net that gives one sum of all rows, and whose card does not say that its rows meet."""
    x_NC = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    y_1C = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    node = helper.make_node("ReduceSum", ["x", "first_axis"], ["sum"], keepdims=1)
    return _saved(path, [node, helper.make_node("Mul", ["sum", "two"], ["y"])], [x_NC], [y_1C], None)


def scaling_net(path: Path) -> Path:
    """Write a net with a scalar input: y = x * by."""
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 2]),
        helper.make_tensor_value_info("by", TensorProto.FLOAT, []),
    ]
    y_NC = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 2])
    return _saved(path, [helper.make_node("Mul", ["x", "by"], ["y"])], inputs, [y_NC], None)


def _saved(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    card: ModelCard | None,
    *,
    factor: float = 2,
) -> Path:
    constants = [
        numpy_helper.from_array(np.array(factor, np.float32), "two"),
        numpy_helper.from_array(np.array([0], np.int64), "first_axis"),
    ]
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {} if card is None else card.to_props())
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
