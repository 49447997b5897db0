"""Static int8 (QDQ) of a cleaned model, to compare with; none is shipped. See the cards for why."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

Floats = npt.NDArray[np.float32]


class Images(CalibrationDataReader):  # type: ignore[misc]
    """Calibration images [1, 3, H, W], one after the other."""

    def __init__(self, images: Iterable[Floats]) -> None:
        """Keep `images`."""
        self._images = iter(images)

    def get_next(self) -> dict[str, Floats] | None:
        """Return the next feed, or None at the end."""
        return next(({"images": image} for image in self._images), None)


def static_int8(model: onnx.ModelProto, images: Iterable[Floats], edges: bool = True) -> onnx.ModelProto:
    """Return `model` with int8 weights per channel and uint8 values between the operators.

    With `edges` false, the first five convolutions stay float32, and so does all that comes after
    the last activation: there int8 hurts most.
    """
    model = onnx.load_from_string(model.SerializeToString())
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    names = [node.name for node in model.graph.node]
    sixth = [node.name for node in model.graph.node if node.op_type == "Conv"][5]
    kept = [] if edges else [*names[: names.index(sixth)], *behind_activations(model.graph)]
    with tempfile.TemporaryDirectory() as folder:
        plain, quantised = Path(folder, "plain.onnx"), Path(folder, "quantised.onnx")
        onnx.save(model, plain)
        quantize_static(
            plain,
            quantised,
            Images(images),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
        )
        return onnx.load(quantised)


def behind_activations(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes that no activation follows."""
    followed, names = set[str](), list[str]()
    for node in reversed(graph.node):
        if node.op_type in ("LeakyRelu", "Clip") or followed.intersection(node.output):
            followed.update(node.input)
        else:
            names.append(node.name)
    return names
