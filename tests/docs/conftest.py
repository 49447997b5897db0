"""Files that the pages take for granted: a street video, a photograph, a YOLOv8 export."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.docs.runner import ROOT

CLIP = ROOT / "src/sightline/cases/street_people/street.mp4"
PHOTO = ROOT / "tests/data/photos/german-shepherd.jpg"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Return a folder with the files that a reader is said to have."""
    shutil.copy(CLIP, tmp_path / "street.mp4")
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    yolo_like(tmp_path / "yolov8n.onnx")
    return tmp_path


def yolo_like(path: Path) -> None:
    """Write a net with the inputs and outputs of a YOLOv8 export, which finds one person in every picture."""
    found = np.zeros((1, 84, 8400), np.float32)
    found[0, :5, 0] = 320, 320, 100, 200, 0.9  # centre x, centre y, width, height, score of class 0
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["found", "nothing"], ["output0"]),
    ]
    constants = [numpy_helper.from_array(found, "found"), numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    graph = helper.make_graph(
        nodes,
        "yolo",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 640, 640])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 84, 8400])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
