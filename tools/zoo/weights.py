"""Store the weights of a float32 model in fewer bytes; it computes in float32 all the same.

A kernel becomes a small constant and a Cast (float16), or a Cast and a Mul by its scale (int8).
ONNX Runtime folds both when it loads the file, so that nothing of this is left at run time. It
does not fold a DequantizeLinear, unless the session entry `session.disable_quant_qdq` is "1".
"""

from collections.abc import Callable

import numpy as np
import onnx
from graph import Array
from onnx import numpy_helper

FLOAT = onnx.TensorProto.FLOAT
# Smaller tensors are biases and shapes: nothing to gain, and biases want their precision.
SMALLEST_BYTES = 4096
# The small kernels are those near the picture and the narrow ones. They feel int8 most and weigh
# least: as float16 they cost the shipped files 0.5 MB and 0.9 MB and take away most of the error.
SMALL_KERNEL = 2**17

Stored = tuple[dict[str, Array], list[onnx.NodeProto]]


def float16(name: str, value: Array) -> Stored:
    """Store `value` as float16: half the bytes."""
    cast = onnx.helper.make_node("Cast", [f"{name}_f16"], [name], to=FLOAT)
    return {f"{name}_f16": value.astype(np.float16)}, [cast]


def int8(name: str, value: Array) -> Stored:
    """Store `value` as int8 with one scale per output channel (axis 0): a quarter of the bytes."""
    levels, scale = quantise(value)
    nodes = [
        onnx.helper.make_node("Cast", [f"{name}_i8"], [f"{name}_levels"], to=FLOAT),
        onnx.helper.make_node("Mul", [f"{name}_levels", f"{name}_scale"], [name]),
    ]
    return {f"{name}_i8": levels, f"{name}_scale": scale}, nodes


def int8_linear(name: str, value: Array) -> Stored:
    """Store `value` as `int8` does, with the operator made for it; only to compare the speed."""
    levels, scale = quantise(value)
    names = [f"{name}_i8", f"{name}_scale"]
    node = onnx.helper.make_node("DequantizeLinear", names, [name], axis=0)
    return {names[0]: levels, names[1]: scale.ravel()}, [node]


def mixed(name: str, value: Array) -> Stored:
    """Store a large kernel as int8 and a small one as float16."""
    return (int8 if value.size > SMALL_KERNEL else float16)(name, value)


def quantise(value: Array) -> tuple[Array, Array]:
    """Return int8 levels and float32 scales, one per row of axis 0; their product is `value`."""
    axes = tuple(range(1, value.ndim))
    scale = np.maximum(np.abs(value).max(axes, keepdims=True), 1e-12).astype(np.float32) / 127
    return np.rint(value / scale).astype(np.int8), scale


KINDS: dict[str, Callable[[str, Array], Stored] | None] = {
    "float32": None,
    "float16": float16,
    "int8": int8,
    "int8-linear": int8_linear,
    "mixed": mixed,
}


def shrink(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """Return a copy of `model` whose large float32 constants are stored as `kind` says."""
    store, small = KINDS[kind], onnx.ModelProto()
    small.CopyFrom(model)
    if store is None:
        return small
    constants, nodes = list(small.graph.initializer), list(small.graph.node)
    del small.graph.initializer[:], small.graph.node[:]
    for tensor in constants:
        value = numpy_helper.to_array(tensor)
        if tensor.data_type != FLOAT or value.nbytes < SMALLEST_BYTES or value.ndim < 2:
            small.graph.initializer.append(tensor)
            continue
        stored, unpack = store(tensor.name, value)
        small.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in stored.items())
        small.graph.node.extend(unpack)
    small.graph.node.extend(nodes)
    onnx.checker.check_model(small, full_check=True)
    return small
