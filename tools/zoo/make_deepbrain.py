"""Make the shipped brain segmenter: python tools/zoo/make_deepbrain.py IN.onnx OUT.onnx.

IN is the graph inside PyPI deepbrain 0.1 as tf2onnx writes it. The conversion kept the branch of the training: six
dropouts that draw new random numbers at each call. OUT is the same network without them, as its authors run it
(`training: False`), with colours first and its card inside.
"""

import argparse
from pathlib import Path

import onnx
from cards import DEEPBRAIN
from graph import Array, attributes, build, constants, expect
from seal import seal

SIDE = 128
KEPT = 0.7  # share of the values that the training's dropout kept: it multiplies the others by 1 / 0.7
NUM_DROPOUTS = 6


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` without dropout, without reshapes, and without what only served them."""
    known = constants(model.graph)
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}
    seen = {model.graph.input[0].name: "volume"}  # old value -> new value
    num_dropouts = 0
    for node in model.graph.node:
        op, result = node.op_type, node.output[0]
        if result in known or node.input[0] not in seen or op == "Shape":
            continue  # constant, or the random numbers of a dropout
        if op in ("Reshape", "Transpose"):  # one channel: before the others or behind them is the same order
            seen[result] = seen[node.input[0]]
        elif op == "Mul":
            scaled = node.input[1] in known
            expect(not scaled or abs(float(known[node.input[1]]) * KEPT - 1) < 1e-6, f"{result}: not a dropout")
            num_dropouts += scaled
            seen[result] = seen[node.input[0]]
        elif op in ("Conv", "ConvTranspose", "Relu", "MaxPool", "Concat", "Sigmoid"):
            name = "probability" if op == "Sigmoid" else f"{op}_{len(nodes)}"
            inputs = []
            for number, value in enumerate(node.input):
                if value in seen:
                    inputs.append(seen[value])
                    continue
                expect(value in known, f"{result}: what is {value}?")
                inputs.append(f"{name}_{number}")
                weights[inputs[-1]] = known[value]
            nodes.append(onnx.helper.make_node(op, inputs, [name], **attributes(node)))
            seen[result] = name
        else:
            raise NotImplementedError(op)
    expect(num_dropouts == NUM_DROPOUTS, f"{num_dropouts} dropouts")
    shape: list[int | str] = ["n", 1, SIDE, SIDE, SIDE]
    return build(nodes, weights, {"volume": shape}, {"probability": shape})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.write_bytes(seal(clean(onnx.load(args.original)), DEEPBRAIN))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")
