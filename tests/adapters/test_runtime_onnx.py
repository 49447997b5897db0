import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sightline.adapters.runtime_onnx import PROVIDERS, OnnxRuntime
from sightline.core.errors import ConfigError, Conflict, InvalidInput, InvalidModel
from sightline.core.model import ModelCard, TensorSpec
from sightline.testing.contracts import RuntimeContract


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any] | None = None) -> Any:
    graph = helper.make_graph(nodes, "test", inputs, outputs, weights or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _value(name: str, dtype: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


def _saved(model: Any, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def _adder() -> Any:
    rows = ["rows", 3]
    return _model(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [_value("a", TensorProto.FLOAT, rows), _value("b", TensorProto.FLOAT, rows)],
        [_value("sum", TensorProto.FLOAT, rows)],
    )


class TestOnnxRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self) -> OnnxRuntime:
        return OnnxRuntime()

    def add_model(self, folder: Path) -> Path:
        return _saved(_adder(), folder / "adder.onnx")

    @pytest.mark.parametrize(
        ("task", "inference", "holds"),
        [("addition", "", True), ("volume-segmentation", "sliding", True), ("volume-segmentation", "whole", False)],
    )
    def test_the_memory_of_a_call_is_held_for_the_next_one_but_of_a_volume_seen_whole(
        self, runtime: OnnxRuntime, tmp_path: Path, task: str, inference: str, holds: bool
    ) -> None:
        model, card = _adder(), ModelCard(name="adder", task=task, preprocessing={"inference": inference})
        for key, value in card.to_props().items():
            model.metadata_props.add(key=key, value=value)
        native: Any = runtime.open(_saved(model, tmp_path / "file.onnx"))._session
        assert native.get_session_options().enable_cpu_mem_arena == holds

    def test_the_card_in_the_file_wins(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        model = _adder()
        card = ModelCard(
            name="adder", version="3", task="addition", labels=("cat", None, "dog"), preprocessing={"x": 1},
            batchable=False,
        )  # fmt: skip
        for key, value in card.to_props().items():
            model.metadata_props.add(key=key, value=value)
        found = runtime.open(_saved(model, tmp_path / "file.onnx"), name="other").card
        rows = ("rows", 3)
        assert (found.ref, found.task, found.labels, found.batchable) == ("adder@3", "addition", card.labels, False)
        assert found.inputs == tuple(TensorSpec(name=name, dtype="float32", shape=rows) for name in "ab")
        assert found.outputs == (TensorSpec(name="sum", dtype="float32", shape=rows),)

    def test_metadata_that_is_no_json_is_refused(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        model = _adder()
        model.metadata_props.add(key="sightline.labels", value="cat, dog")
        with pytest.raises(InvalidModel, match=r"sightline\.labels"):
            runtime.open(_saved(model, tmp_path / "file.onnx"))

    def test_types_have_the_names_of_numpy(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        types = {
            "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16,
            "int64": TensorProto.INT64, "uint8": TensorProto.UINT8, "bool": TensorProto.BOOL,
            "object": TensorProto.STRING,
        }  # fmt: skip
        model = _model(
            [helper.make_node("Identity", [f"{name}_in"], [name]) for name in types],
            [_value(f"{name}_in", code, [None]) for name, code in types.items()],
            [_value(name, code, [None]) for name, code in types.items()],
        )
        session = runtime.open(_saved(model, tmp_path / "types.onnx"))
        assert {spec.name: spec.dtype for spec in session.card.outputs} == {name: name for name in types}
        feeds = {f"{name}_in": np.array(["ja", "nein"] if name == "object" else [0, 1], name) for name in types}
        for name, array in session.run(feeds).items():
            assert array.dtype == np.dtype(name)
            np.testing.assert_array_equal(array, feeds[f"{name}_in"])
        feeds["object_in"] = np.array(["ja", "nein"])
        np.testing.assert_array_equal(session.run(feeds)["object"], ["ja", "nein"])

    def test_a_scalar_input_takes_a_scalar(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        model = _model(
            [helper.make_node("Neg", ["x"], ["y"])],
            [_value("x", TensorProto.FLOAT, [])],
            [_value("y", TensorProto.FLOAT, [])],
        )
        session = runtime.open(_saved(model, tmp_path / "neg.onnx"))
        assert session.run({"x": np.array(3.0, np.float32)})["y"] == -3.0
        with pytest.raises(InvalidInput, match=r"float32\[\], not float32\[1\]"):
            session.run({"x": np.ones(1, np.float32)})

    def test_an_output_that_is_no_tensor_is_refused_with_a_cure(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        model = _model(
            [helper.make_node("SequenceConstruct", ["x"], ["y"])],
            [_value("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [1])],
        )
        with pytest.raises(InvalidModel, match=r"'y' is seq\(tensor\(float\)\)") as caught:
            runtime.open(_saved(model, tmp_path / "list.onnx"))
        assert "zipmap" in caught.value.cure

    def test_sizes_that_fit_no_operator_are_a_matter_of_the_input(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        model = _model(
            [helper.make_node("Reshape", ["x", "shape"], ["y"])],
            [_value("x", TensorProto.FLOAT, ["n"])],
            [_value("y", TensorProto.FLOAT, [None, 4])],
            [numpy_helper.from_array(np.array([-1, 4], np.int64), "shape")],
        )
        session = runtime.open(_saved(model, tmp_path / "reshape.onnx"))
        assert session.run({"x": np.ones(8, np.float32)})["y"].shape == (2, 4)
        with pytest.raises(InvalidInput, match=r"cannot run 'x' float32\[7\]"):
            session.run({"x": np.ones(7, np.float32)})

    def test_a_big_endian_array_is_refused_not_misread(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        session = runtime.open(self.add_model(tmp_path))
        with pytest.raises(InvalidInput, match="'a'"):
            session.run({"a": np.ones((1, 3), ">f4"), "b": np.ones((1, 3), np.float32)})

    def test_a_closed_session_runs_no_more(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        session = runtime.open(self.add_model(tmp_path))
        session.close()
        with pytest.raises(Conflict, match="closed"):
            session.run({"a": np.ones((1, 3), np.float32), "b": np.ones((1, 3), np.float32)})

    def test_a_pickle_is_named_and_never_loaded(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(pickle.dumps({"weights": np.ones(3)}))
        with pytest.raises(InvalidModel, match="pickle") as caught:
            runtime.open(path)
        assert "torch.onnx.export" in caught.value.cure

    def test_a_graph_without_sense_is_refused(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        model = _adder()
        model.graph.node[0].input[1] = "nowhere"
        with pytest.raises(InvalidModel, match="cannot open it") as caught:
            runtime.open(_saved(model, tmp_path / "model.onnx"))
        assert caught.value.cure

    def test_an_operator_that_does_not_exist_is_named(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        model = _adder()
        model.graph.node[0].op_type = "AddWithCare"
        with pytest.raises(InvalidModel, match="AddWithCare"):
            runtime.open(_saved(model, tmp_path / "model.onnx"))

    def test_bytes_flipped_in_the_middle_never_crash_the_process(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        data = self.add_model(tmp_path).read_bytes()
        path = tmp_path / "damaged.onnx"
        num_refused = 0
        for position in range(0, len(data), 3):
            path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
            try:
                runtime.open(path).close()
            except InvalidModel:
                num_refused += 1
        assert num_refused > 10

    def test_weights_beside_the_model_are_read(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        session = runtime.open(_with_weights_at("weights.bin", tmp_path / "model.onnx"))
        np.testing.assert_array_equal(session.run({"x": np.zeros(4, np.float32)})["y"], [0, 1, 2, 3])

    @pytest.mark.parametrize("place", ["../weights.bin", "absolute"])
    def test_weights_outside_the_folder_of_the_model_are_refused(
        self, runtime: OnnxRuntime, tmp_path: Path, place: str
    ) -> None:
        inner = tmp_path / "inner"
        inner.mkdir()
        location = str(tmp_path / "weights.bin") if place == "absolute" else place
        with pytest.raises(InvalidModel, match="weights beside the model") as caught:
            runtime.open(_with_weights_at(location, inner / "model.onnx"))
        assert "folder" in caught.value.cure

    def test_weights_that_are_missing_are_named(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        path = _with_weights_at("weights.bin", tmp_path / "model.onnx")
        (tmp_path / "weights.bin").unlink()
        with pytest.raises(InvalidModel, match=r"weights\.bin"):
            runtime.open(path)

    def test_automatic_takes_a_device_that_works(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        session = runtime.open(self.add_model(tmp_path), device="auto")
        ones = np.ones((1, 3), np.float32)
        assert session.run({"a": ones, "b": ones})["sum"][0, 0] == 2.0

    def test_a_device_that_was_asked_for_is_never_replaced(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        path = self.add_model(tmp_path)
        absent = [kind for kind in PROVIDERS if kind not in runtime.devices()]
        for kind in absent:
            with pytest.raises(ConfigError, match=f"'{kind}:1' is not there"):
                runtime.open(path, device=f"{kind}:1")

    def test_a_call_runs_in_the_thread_of_its_caller(self, runtime: OnnxRuntime, tmp_path: Path) -> None:
        options = runtime.open(self.add_model(tmp_path))._session.get_session_options()  # type: ignore[union-attr]
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    ("program", "wish", "reports"),
    [
        ("import sightline.adapters.runtime_onnx", {}, False),
        ("import sightline, onnxruntime", {"ORT_DISABLE_TELEMETRY": ""}, False),  # a plug-in that brings its own model
        ("import sightline, onnxruntime", {"ORT_DISABLE_TELEMETRY": "0"}, True),
    ],
)
def test_nothing_is_kept_for_the_maker_of_onnx_runtime_unless_somebody_wants_it(
    tmp_path: Path, program: str, wish: dict[str, str], reports: bool
) -> None:
    environ = {"HOME": str(tmp_path), **wish}  # nothing else: the variables of a CI switch it off as well
    subprocess.run([sys.executable, "-c", program], env=environ, cwd=tmp_path, timeout=60, check=True)
    assert any(tmp_path.rglob("deviceid")) == reports


def _with_weights_at(location: str, path: Path) -> Path:
    """Write a model that adds four numbers, which lie in another file at `location`."""
    weights = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    (path.parent / location).write_bytes(struct.pack("<4f", *range(4)))
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    entry: onnx.StringStringEntryProto = weights.external_data.add()
    entry.key, entry.value = "location", location
    model = _model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [_value("x", TensorProto.FLOAT, [4])],
        [_value("y", TensorProto.FLOAT, [4])],
        [weights],
    )
    return _saved(model, path)
