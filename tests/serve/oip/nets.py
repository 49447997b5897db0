"""ONNX models that give back what they are given, one for each datatype, and a slow one."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def echo_net(path: Path, datatype: str) -> Path:
    """Write a model whose output `y` is its input `x`, [n, 3]."""
    kind = ONNX_TYPES[datatype]
    tensors = [helper.make_tensor_value_info(name, kind, ["n", 3]) for name in "xy"]
    return _saved(path, [helper.make_node("Identity", ["x"], ["y"])], tensors)


def slow_net(path: Path, *, rounds: int = 40) -> Path:
    """Write a model that multiplies matrices for a while, some 5 ms a round: float32 [n, 384, 384]."""
    names = ["x", *(f"h{number}" for number in range(rounds - 1)), "y"]
    nodes = [helper.make_node("MatMul", [names[step], "x"], [names[step + 1]]) for step in range(rounds)]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 384, 384]) for name in "xy"]
    return _saved(path, nodes, tensors)


def _saved(path: Path, nodes: list[onnx.NodeProto], tensors: list[onnx.ValueInfoProto]) -> Path:
    graph = helper.make_graph(nodes, "echo", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path
