"""Arrays and their two wire forms, and every way in which they may not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sightline.core.errors import InvalidInput
from sightline.core.oip import DTYPES, checked_shape, datatype_of, from_list, from_raw, to_list, to_raw

NUMERIC = sorted(DTYPES)


@given(st.data())
def test_raw_bytes_give_the_array_back(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(NUMERIC))
    array = data.draw(hnp.arrays(np.dtype(DTYPES[datatype]), hnp.array_shapes(min_side=0, max_dims=4)))
    raw = bytes(to_raw(array))
    again = from_raw(raw, datatype, array.shape, "it")
    assert datatype_of(again.dtype) == datatype
    assert again.tobytes() == array.tobytes()  # bytes, for NaN is not equal to itself


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_texts_give_themselves_back(items: list[bytes]) -> None:
    array = np.empty(len(items), object)
    array[:] = items
    assert from_raw(bytes(to_raw(array)), "BYTES", (len(items),), "it").tolist() == items


@given(st.binary(max_size=40), st.integers(0, 5))
def test_random_bytes_are_texts_or_refused(raw: bytes, num: int) -> None:
    try:
        found = from_raw(raw, "BYTES", (num,), "it")
    except InvalidInput:
        return
    assert bytes(to_raw(found)) == raw


def test_an_array_of_fixed_size_is_a_view_and_no_copy() -> None:
    raw = np.arange(6, dtype=np.float32).tobytes()
    found = from_raw(memoryview(raw), "FP32", (2, 3), "it")
    assert np.shares_memory(found, np.frombuffer(raw, np.float32))


@pytest.mark.parametrize("datatype", NUMERIC)
def test_json_lists_give_the_array_back_nested_or_flat(datatype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]], DTYPES[datatype])
    assert from_list(array.tolist(), datatype, (2, 3), "it").tolist() == array.tolist()
    assert from_list(to_list(array, "it"), datatype, (2, 3), "it").dtype == array.dtype


@pytest.mark.parametrize(
    ("data", "datatype", "shape"),
    [
        ([1, 2, 3], "FP32", (2,)),
        ([1, 2], "FP32", (3,)),
        (["1", "2"], "FP32", (2,)),
        ([True, False], "FP32", (2,)),
        ([1.5], "INT32", (1,)),
        ([256], "UINT8", (1,)),
        ([-1], "UINT64", (1,)),
        ([2**64], "UINT64", (1,)),
        ([2**63], "INT64", (1,)),
        ([-1, 2**63], "INT64", (2,)),
        ([[1, 2], [3]], "FP32", (3,)),
        ([None], "FP32", (1,)),
        ([{"a": 1}], "FP32", (1,)),
        ([1], "BOOL", (1,)),
        ("abc", "FP32", (3,)),
        ("abc", "BYTES", (3,)),
        ([1], "BYTES", (1,)),
        (None, "FP32", (1,)),
    ],
)
def test_json_that_does_not_fit_is_refused(data: Any, datatype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="it"):
        from_list(data, datatype, shape, "it")


def test_deep_lists_of_texts_need_no_stack() -> None:
    deep: Any = ["a"]
    for _ in range(20_000):
        deep = [deep]
    assert from_list(deep, "BYTES", (1,), "it").tolist() == [b"a"]


@pytest.mark.parametrize("shape", [None, 3, "33", [-1], [1.0], [True], [2, None], [1] * 33, {"a": 1}])
def test_a_shape_is_a_list_of_whole_numbers(shape: Any) -> None:
    with pytest.raises(InvalidInput):
        checked_shape(shape, "it")


def test_a_shape_of_terabytes_allocates_nothing() -> None:
    with pytest.raises(InvalidInput, match="has 4 bytes"):
        from_raw(b"\0\0\0\0", "FP32", (1 << 40,), "it")
    with pytest.raises(InvalidInput, match="too short"):
        from_raw(b"\0\0\0\0", "BYTES", (1 << 40,), "it")


def test_a_bool_is_0_or_1() -> None:
    with pytest.raises(InvalidInput, match="0 and 1"):
        from_raw(b"\2", "BOOL", (1,), "it")
