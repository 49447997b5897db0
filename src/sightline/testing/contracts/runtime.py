"""What every Runtime does, shown on models that the adapter's test provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.core.errors import ConfigError, FileMissing, InvalidInput, InvalidModel
from sightline.core.ports import Runtime


class RuntimeContract(ABC):
    """Inherit, provide a `runtime` fixture and `add_model`, and run pytest.

    The model of `add_model` has the inputs `a` and `b`, float32 with axes (`rows`, 3), and the output
    `sum` = a + b of the same type and shape.
    """

    @abstractmethod
    @pytest.fixture
    def runtime(self) -> Any:
        """Return the runtime."""

    @abstractmethod
    def add_model(self, folder: Path) -> Path:
        """Write the model into `folder` and return its path; it carries no metadata."""

    def test_a_model_answers_by_name(self, runtime: Runtime, tmp_path: Path) -> None:
        session = runtime.open(self.add_model(tmp_path), device="cpu")
        out = session.run({"a": _rows(2, 1.0), "b": _rows(2, 2.0)})
        assert list(out) == ["sum"]
        assert out["sum"].dtype == np.float32
        np.testing.assert_array_equal(out["sum"], _rows(2, 3.0))

    def test_the_number_of_rows_may_change(self, runtime: Runtime, tmp_path: Path) -> None:
        session = runtime.open(self.add_model(tmp_path), device="cpu")
        for num_rows in (1, 5, 0, 2):
            feeds = {"a": _rows(num_rows, 1.0), "b": _rows(num_rows, 1.0)}
            assert session.run(feeds)["sum"].shape == (num_rows, 3)

    def test_an_array_need_not_be_contiguous(self, runtime: Runtime, tmp_path: Path) -> None:
        session = runtime.open(self.add_model(tmp_path), device="cpu")
        wide = np.arange(24, dtype=np.float32).reshape(4, 6)
        out = session.run({"a": wide[:, ::2], "b": np.asfortranarray(wide[:, 1::2])})
        np.testing.assert_array_equal(out["sum"], wide[:, ::2] + wide[:, 1::2])

    def test_a_read_only_array_is_taken(self, runtime: Runtime, tmp_path: Path) -> None:
        session = runtime.open(self.add_model(tmp_path), device="cpu")
        rows = _rows(1, 1.0)
        rows.flags.writeable = False
        assert session.run({"a": rows, "b": rows})["sum"][0, 0] == 2.0

    def test_the_card_tells_inputs_and_outputs(self, runtime: Runtime, tmp_path: Path) -> None:
        card = runtime.open(self.add_model(tmp_path), name="adder").card
        assert card.name == "adder"
        assert [(spec.name, spec.dtype, spec.shape[1]) for spec in card.inputs] == [
            ("a", "float32", 3),
            ("b", "float32", 3),
        ]
        assert not isinstance(card.inputs[0].shape[0], int)
        assert [(spec.name, spec.dtype) for spec in card.outputs] == [("sum", "float32")]

    def test_without_a_name_the_file_gives_it(self, runtime: Runtime, tmp_path: Path) -> None:
        path = self.add_model(tmp_path)
        named = path.rename(path.with_name(f"my adder (2){path.suffix}"))
        assert runtime.open(named).card.name == "my-adder-2"

    @pytest.mark.parametrize(
        ("feeds", "words"),
        [
            ({"a": np.ones((1, 3), np.float32)}, ["'b'"]),
            ({}, ["'a'", "'b'"]),
            ({"a": np.ones((1, 3), np.float32), "c": np.ones((1, 3), np.float32)}, ["'b'", "'c'"]),
            ({name: np.ones((1, 3), np.float32) for name in "abc"}, ["'c'"]),
            ({"a": np.ones((1, 3), np.float64), "b": np.ones((1, 3), np.float32)}, ["'a'", "float64", "float32"]),
            ({"a": np.ones((1, 3), np.float32), "b": np.ones((1, 4), np.float32)}, ["'b'", "4", "3"]),
            ({"a": np.ones((1, 3), np.float32), "b": np.ones(3, np.float32)}, ["'b'", "[3]"]),
            ({"a": np.ones((2, 3), np.float32), "b": np.ones((5, 3), np.float32)}, ["'a'", "'b'"]),
        ],
    )
    def test_feeds_that_do_not_fit_are_named(
        self, runtime: Runtime, tmp_path: Path, feeds: dict[str, Any], words: list[str]
    ) -> None:
        session = runtime.open(self.add_model(tmp_path), device="cpu")
        with pytest.raises(InvalidInput) as caught:
            session.run(feeds)
        for word in words:
            assert word in caught.value.message
        ones = np.ones((1, 3), np.float32)
        assert session.run({"a": ones, "b": ones})["sum"][0, 0] == 2.0, "the session is not usable any more"

    def test_several_threads_run_one_session(self, runtime: Runtime, tmp_path: Path) -> None:
        session = runtime.open(self.add_model(tmp_path), device="cpu")

        def ask(number: int) -> float:
            return float(session.run({"a": _rows(3, number), "b": _rows(3, 1.0)})["sum"][2, 2])

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(200))) == [number + 1.0 for number in range(200)]

    def test_closing_twice_is_fine(self, runtime: Runtime, tmp_path: Path) -> None:
        session = runtime.open(self.add_model(tmp_path))
        session.close()
        session.close()

    def test_a_missing_file_is_named(self, runtime: Runtime, tmp_path: Path) -> None:
        with pytest.raises(FileMissing, match=r"nowhere\.onnx"):
            runtime.open(tmp_path / "nowhere.onnx")

    @pytest.mark.parametrize("data", [b"", b"\x80\x04\x95pickle", b"PK\x03\x04zip", b"text, no model", b"\0" * 4096])
    def test_a_file_that_is_no_model_is_refused_with_a_cure(
        self, runtime: Runtime, tmp_path: Path, data: bytes
    ) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(data)
        with pytest.raises(InvalidModel) as caught:
            runtime.open(path)
        assert caught.value.cure
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_a_model_that_was_cut_off_is_refused(self, runtime: Runtime, tmp_path: Path, share: float) -> None:
        path = self.add_model(tmp_path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InvalidModel) as caught:
            runtime.open(path)
        assert caught.value.cure

    def test_every_device_it_names_can_be_asked_for(self, runtime: Runtime, tmp_path: Path) -> None:
        devices = runtime.devices()
        assert "cpu" in devices
        assert "auto" not in devices
        runtime.open(self.add_model(tmp_path), device="cpu")

    @pytest.mark.parametrize("device", ["toaster", "cpu:x", ""])
    def test_a_device_that_is_not_there_is_refused(self, runtime: Runtime, tmp_path: Path, device: str) -> None:
        with pytest.raises(ConfigError, match="device"):
            runtime.open(self.add_model(tmp_path), device=device)


def _rows(num_rows: int, value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.full((num_rows, 3), value, np.float32)
