"""Small ONNX models in the layouts that users bring: they answer the same whatever they see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


def write_constant(
    path: Path, *, picture: Shape, answers: Mapping[str, npt.NDArray[np.float32] | npt.NDArray[np.int64]]
) -> Path:
    """Write a model with the input `images` of shape `picture` that gives `answers`.

    Where the picture has a batch axis, each answer has one too and is repeated along it.
    """
    nodes, constants, outputs = [], [], []
    batched = len(picture) == 4
    if batched:
        nodes += [
            helper.make_node("Shape", ["images"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["rows"]),
        ]
        constants.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    # Something must depend on the picture, else the runtime leaves the input out: nothing times the mean.
    nodes += [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    for name, answer in answers.items():
        constants.append(numpy_helper.from_array(answer, f"{name}_value"))
        shape: list[int | str] = list(answer.shape)
        last = f"{name}_value"
        if batched:
            ones = numpy_helper.from_array(np.ones(answer.ndim - 1, np.int64), f"{name}_ones")
            constants.append(ones)
            nodes += [
                helper.make_node("Concat", ["rows", f"{name}_ones"], [f"{name}_times"], axis=0),
                helper.make_node("Tile", [last, f"{name}_times"], [f"{name}_tiled"]),
            ]
            last, shape[0] = f"{name}_tiled", picture[0]
        kind = TYPES[str(answer.dtype)]
        if answer.dtype == np.float32:
            nodes.append(helper.make_node("Add", [last, "nothing"], [name]))
        else:
            nodes.append(helper.make_node("Identity", [last], [name]))
        outputs.append(helper.make_tensor_value_info(name, kind, shape))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, list(picture))
    graph = helper.make_graph(nodes, "constant", [images], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def write_yolo(path: Path, *, num_classes: int = 2, side: int = 64) -> Path:
    """Write a model in the layout of YOLOv8: [1, 4 + C, N], boxes as centre and size in input pixels.

    It sees one thing of the last class in the middle of the picture, half as wide and high as that.
    """
    answer = np.zeros((1, 4 + num_classes, 8), np.float32)
    answer[0, :4, 0] = [side / 2, side / 2, side / 2, side / 2]
    answer[0, 3 + num_classes, 0] = 0.9
    return write_constant(path, picture=["n", 3, side, side], answers={"output0": answer})


def write_torchvision_detector(path: Path) -> Path:
    """Write a model like torchvision's detectors: a picture [3, H, W] in, boxes, labels and scores out."""
    return write_constant(
        path,
        picture=[3, "height", "width"],
        answers={
            "boxes": np.array([[10, 20, 110, 220], [0, 0, 5, 5]], np.float32),
            "labels": np.array([1, 1], np.int64),
            "scores": np.array([0.95, 0.1], np.float32),
        },
    )


def write_classifier(path: Path, *, num_classes: int = 5, best: int = 3, side: int = 224) -> Path:
    """Write a model like torchvision's MobileNetV3: scores of the classes, without a softmax."""
    scores = np.zeros((1, num_classes), np.float32)
    scores[0, best] = 9.0
    return write_constant(path, picture=["n", 3, side, side], answers={"logits": scores})
