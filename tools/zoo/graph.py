"""Edit an ONNX graph: find constants, fold what is constant, drop what nobody reads.

Knows nothing of a particular network.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[np.generic]


def expect(condition: bool, problem: str) -> None:
    """Stop where a model is not what these scripts were written for."""
    if not condition:
        raise ValueError(problem)


def constants(graph: onnx.GraphProto) -> dict[str, Array]:
    """Return every value of `graph` that does not depend on its inputs.

    Runs constant chains (Constant -> Reshape -> Cast ...) with the onnx reference evaluator.
    """
    known: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type != "Constant" and not all(name in known for name in node.input if name):
            continue
        inputs = {name: known[name] for name in node.input if name}
        for name, value in zip(node.output, ReferenceEvaluator(node).run(None, inputs), strict=True):
            known[name] = np.asarray(value)
    return known


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of `node` as plain Python values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def live(nodes: Iterable[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Return the nodes that `outputs` depend on, in their order."""
    wanted, kept = set(outputs), list[onnx.NodeProto]()
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def build(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    inputs: dict[str, list[int | str]],
    outputs: dict[str, list[int | str]],
) -> onnx.ModelProto:
    """Return a checked model of `nodes`; float32 inputs and outputs by name and shape."""
    nodes = live(nodes, outputs)
    used = {name for node in nodes for name in node.input}
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "sightline",
        [onnx.helper.make_tensor_value_info(name, float32, shape) for name, shape in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, float32, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if name in used],
    )
    model = onnx.helper.make_model(
        graph,
        # Old enough for every ONNX Runtime of the last years; nothing here needs a newer one.
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="sightline tools/zoo",
    )
    onnx.checker.check_model(model, full_check=True)
    return model
