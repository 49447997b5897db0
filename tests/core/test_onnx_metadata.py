from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sightline.core.errors import InvalidModel
from sightline.core.onnx_metadata import digest, read_props, write_props


def make_model(props: dict[str, str] | None = None, *, num_weights: int = 4) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "weights"], ["y"])],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", num_weights])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", num_weights])],
        [numpy_helper.from_array(np.arange(num_weights, dtype=np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests")
    helper.set_model_props(model, props or {})
    return bytes(model.SerializeToString())


def written(model: bytes, props: dict[str, str]) -> bytes:
    target = io.BytesIO()
    write_props(io.BytesIO(model), target, props)
    return target.getvalue()


def props_of(model: bytes) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load_model_from_string(model).metadata_props}


CARD = {"sightline.task": "object-detection", "sightline.labels": '["person", "велосипед"]', "sightline.empty": ""}


def test_what_onnx_writes_is_read() -> None:
    props = {"author": "somebody", **CARD}
    assert read_props(io.BytesIO(make_model(props))) == props
    assert read_props(io.BytesIO(make_model())) == {}


def test_what_is_written_is_read_by_onnx_by_onnx_runtime_and_by_us(tmp_path: Path) -> None:
    model = written(make_model({"author": "somebody"}), CARD)
    path = tmp_path / "net.onnx"
    path.write_bytes(model)

    expected = {"author": "somebody", **CARD}
    assert props_of(model) == expected
    assert read_props(io.BytesIO(model)) == expected
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == expected
    [out] = session.run(None, {"x": np.ones((1, 4), np.float32)})
    assert np.asarray(out).tolist() == [[1, 2, 3, 4]]


def test_entries_of_ours_are_replaced_and_those_of_others_stay_in_place() -> None:
    model = make_model({"author": "somebody", "sightline.task": "old", "zoo": "yes"})
    new = written(model, {"sightline.labels": "[]"})
    assert props_of(new) == {"author": "somebody", "zoo": "yes", "sightline.labels": "[]"}
    assert written(new, {}) == make_model({"author": "somebody", "zoo": "yes"})


def test_all_but_our_entries_stays_byte_for_byte() -> None:
    model = make_model({"author": "somebody"}, num_weights=1 << 20)  # longer than what is copied at once
    assert written(model, CARD).startswith(model)
    assert written(written(model, CARD), {}) == model


def test_the_digest_is_that_of_the_file_without_our_entries() -> None:
    model = make_model({"author": "somebody"})
    plain = f"sha256:{hashlib.sha256(model).hexdigest()}"
    assert digest(io.BytesIO(model)) == plain
    assert digest(io.BytesIO(written(model, CARD))) == plain
    assert digest(io.BytesIO(written(written(model, CARD), {"sightline.title": "new"}))) == plain
    assert digest(io.BytesIO(make_model({"author": "somebody else"}))) != plain


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])).map("sightline.".__add__),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    )
)
def test_any_text_survives(props: dict[str, str]) -> None:
    assert read_props(io.BytesIO(written(make_model(), props))) == props


def test_a_later_entry_of_a_key_wins_as_in_onnx_runtime(tmp_path: Path) -> None:
    model = make_model({"author": "first"}) + _entry(b"author", b"second")
    path = tmp_path / "net.onnx"
    path.write_bytes(model)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"author": "second"}
    assert read_props(io.BytesIO(model)) == {"author": "second"}


def _entry(key: bytes, value: bytes) -> bytes:
    body = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
    return b"\x72" + bytes([len(body)]) + body


@pytest.mark.parametrize("read", [read_props, digest])
def test_a_model_that_is_cut_anywhere_is_refused(read: Any) -> None:
    model = make_model()
    for cut in range(len(model)):
        with pytest.raises(InvalidModel):
            read(io.BytesIO(model[:cut]))


def test_a_cut_inside_the_metadata_is_refused_and_before_an_entry_cannot_be_seen() -> None:
    bare = make_model()
    model = written(bare, {"sightline.a": "1", "sightline.b": "2"})
    one = len(written(bare, {"sightline.a": "1"}))
    for cut in range(len(bare) + 1, len(model)):
        if cut == one:
            assert read_props(io.BytesIO(model[:cut])) == {"sightline.a": "1"}
            continue
        with pytest.raises(InvalidModel):
            read_props(io.BytesIO(model[:cut]))


def test_nothing_is_written_of_a_damaged_model() -> None:
    target = io.BytesIO()
    with pytest.raises(InvalidModel):
        write_props(io.BytesIO(make_model()[:-1]), target, CARD)
    assert target.getvalue() == b""


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_are_refused(protocol: int) -> None:
    with pytest.raises(InvalidModel) as raised:
        read_props(io.BytesIO(pickle.dumps({"weights": [1.5]}, protocol)))
    assert ("pickle" in str(raised.value)) == (protocol >= 2)
    assert "ONNX" in raised.value.cure


def test_archives_are_refused_even_empty_ones() -> None:
    for names in (["archive/data.pkl"], []):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, b"data")
        with pytest.raises(InvalidModel, match="ZIP"):
            read_props(file)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello world",
        b"<!DOCTYPE html><html></html>",
        b"{}",
        b"\x89HDF\r\n\x1a\n",
        b"\x08\x08",
        b"\x38\x01\x42\x00",  # a graph that is a number
        b"\x3a\x00",  # a graph and no operator set
        b"\xff" * 40,
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidModel):
        read_props(io.BytesIO(data))


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\x05abc",  # a key that is longer than its entry
        b"\x0a",
        b"\x0a\x01\xff",  # no UTF-8
        b"\x08\x01",  # a key that is a number
        b"\x0a" + b"\xff" * 90,
    ],
)
def test_a_damaged_entry_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidModel, match="damaged"):
        read_props(io.BytesIO(make_model() + b"\x72" + bytes([len(body)]) + body))


def test_a_length_without_an_end_is_refused_at_once() -> None:
    size = 8 << 20
    length = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80, size >> 21])
    with pytest.raises(InvalidModel, match="damaged"):
        read_props(io.BytesIO(make_model() + b"\x72" + length + b"\x0a" + b"\xff" * (size - 1)))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        read_props(io.BytesIO(data))
    except InvalidModel:
        return


@given(st.data())
def test_no_changed_byte_raises_anything_else(data: st.DataObject) -> None:
    model = bytearray(written(make_model({"author": "somebody"}), CARD))
    for _ in range(data.draw(st.integers(1, 4))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    try:
        digest(io.BytesIO(bytes(model)))
        read_props(io.BytesIO(bytes(model)))
    except InvalidModel:
        return
