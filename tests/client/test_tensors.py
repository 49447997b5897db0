"""What the client writes the server reads, and the other way round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sightline.client.tensors import read_answer, split_model, write_request
from sightline.core.codec import to_json
from sightline.core.errors import InvalidInput, SightlineError
from sightline.core.oip import DTYPES
from sightline.serve.oip.wire import WantedOutput, read_request, write_answer

NUMBERS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: hnp.arrays(DTYPES[name], hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
TEXTS = hnp.arrays(object, hnp.array_shapes(max_side=3), elements=st.text(max_size=9))


def texts(*values: Any) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@given(NUMBERS)
def test_numbers_arrive_as_they_were(array: np.ndarray[Any, Any]) -> None:
    parts, head = write_request({"a": array, "b": array[..., ::-1] if array.ndim else array})
    found = read_request(b"".join(parts), str(head)).inputs
    assert (found["a"].dtype, found["a"].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found["a"], array)
    np.testing.assert_array_equal(found["b"], array[..., ::-1] if array.ndim else array)


@given(TEXTS)
def test_texts_arrive_as_they_were(array: np.ndarray[Any, Any]) -> None:
    parts, head = write_request({"a": array, "n": np.ones(2, np.float32)})
    found = read_request(b"".join(parts), str(head)).inputs
    assert found["a"].tolist() == np.vectorize(str.encode, otypes=[object])(array).tolist()


@pytest.mark.parametrize("binary", [True, False])
@given(array=NUMBERS | TEXTS)
def test_answers_come_back_as_they_were(binary: bool, array: np.ndarray[Any, Any]) -> None:
    if not binary and array.dtype.kind == "f":
        array = np.nan_to_num(array, posinf=1, neginf=1)
    body, head = write_answer({"y": array}, [WantedOutput("y", binary)], model="m", version="1")
    found = read_answer(body, str(head or ""))["y"]
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_a_large_tensor_is_not_copied() -> None:
    array = np.zeros((3, 224, 224), np.float32)
    parts, _ = write_request({"x": array})
    assert np.shares_memory(np.frombuffer(parts[1], np.uint8), array)


def test_big_endian_is_turned() -> None:
    parts, head = write_request({"x": np.array([1, 2], ">i4")})
    assert read_request(b"".join(parts), str(head)).inputs["x"].tolist() == [1, 2]


@pytest.mark.parametrize("wrong", [np.array([1j]), np.array(["2020"], "M8[s]"), texts("a", 3)])
def test_what_cannot_be_sent_is_refused(wrong: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InvalidInput, match="'x'"):
        write_request({"x": wrong})


def output(**changes: Any) -> dict[str, Any]:
    return {"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}, **changes}


@pytest.mark.parametrize(
    "described",
    [
        output(shape=[3]),
        output(datatype="FP99"),
        output(shape="x"),
        output(parameters={"binary_data_size": 9}),
        output(parameters={"binary_data_size": -1}),
        output(parameters={"binary_data_size": "8"}),
        output(parameters={}),
        output(datatype="BYTES"),
        "y",
        {},
    ],
)
def test_a_damaged_answer_is_told(described: Any) -> None:
    head = to_json({"outputs": [described]})
    with pytest.raises(SightlineError, match="none of the Open Inference Protocol"):
        read_answer(head + b"\xff" * 8, str(len(head)))


@pytest.mark.parametrize("header", ["x", "999", "-3"])
def test_a_wrong_length_is_told(header: str) -> None:
    with pytest.raises(SightlineError, match="none of the Open Inference Protocol"):
        read_answer(to_json({"outputs": []}), header)


def test_versions_stand_in_the_name_or_beside_it() -> None:
    assert split_model("a", None) == ("a", None)
    assert split_model("a@production", None) == ("a", "production")
    assert split_model("a", 3) == ("a", "3")
    with pytest.raises(InvalidInput, match="already"):
        split_model("a@1", 2)
