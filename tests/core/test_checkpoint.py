from __future__ import annotations

import io
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from sightline.core.checkpoint import (
    MAGIC,
    decode_predictions,
    decode_samples,
    encode_predictions,
    encode_samples,
)
from sightline.core.errors import InvalidInput
from sightline.core.prediction import (
    Boxes,
    Finding,
    Findings,
    Generated,
    Labels,
    Mask,
    Prediction,
    Rejected,
    Scalar,
)
from sightline.core.sample import Clocks, Frame, Reading, Sample, Text, Volume, Window

NOON = datetime(2026, 11, 20, 12, 0, 41, 200_001, tzinfo=UTC)
CLOCKS = Clocks(pts_s=1 / 3, monotonic_s=12.5, wall=NOON, sender=NOON)
RNG = np.random.default_rng(7)

PREDICTIONS: list[Prediction] = [
    Boxes(
        xyxy=RNG.random((2, 4), np.float32),
        confidence=RNG.random(2, np.float32),
        class_id=np.array([3, 1]),
        class_name=("a", "Бухта"),
        tracker_id=np.array([7, 8]),
        model="m@1",
        latency_ms=1 / 3,
    ),
    Boxes.none(),
    Labels(class_id=np.array([3]), confidence=np.array([1 / 3], np.float32), class_name=("cat",)),
    Mask(
        labels_HW=RNG.integers(0, 9, (4, 5, 6), np.uint16),
        class_name=("none", "lesion"),
        maps={"probability": RNG.random((4, 5, 6)).astype(np.float16)},
    ),
    Findings(
        items=(Finding(name="volume", value=1 / 3, unit="mm3", data={"deep": [1, {"x": None}]}), Finding(name="x"))
    ),
    Scalar(name="brightness", value=1e-300),
    Generated(text="so", num_tokens=3),
    Rejected(reason="too dark", stage="validation", by="usable"),
]

PAYLOADS: list[Any] = [
    None,
    Frame(RNG.integers(0, 255, (5, 7, 3), np.uint8), (70, 50)),
    Volume(np.asfortranarray(RNG.integers(-9, 9, (3, 4, 5), np.int16)), RNG.random((4, 4))),
    Volume(RNG.random((3, 4, 5)).astype(np.float32)[::2, ::-1], np.eye(4)),
    Text("Бухта"),
    Reading({"t": float("nan"), "p": 1 / 3}),
]


def make_sample(payload: Any = None, **fields: Any) -> Sample[Any]:
    return Sample(
        payload=payload, source="door", seq=4, epoch=2, clocks=CLOCKS, metadata={"study": {"n": [1]}}, **fields
    )


def same(one: Any, other: Any) -> bool:
    """Compare values of core all the way down: arrays by type, shape and bits."""
    if isinstance(one, np.ndarray):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return bool(alike and one.tobytes() == other.tobytes())
    if hasattr(one, "__dataclass_fields__"):
        alike = [same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)]
        return type(one) is type(other) and all(alike)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)  # NaN too


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda each: type(each).__name__)
def test_a_sample_comes_back_bit_for_bit(payload: Any) -> None:
    sample = make_sample(payload)
    [back] = decode_samples(encode_samples([sample]))
    assert same(sample, back)


def test_predictions_come_back_bit_for_bit() -> None:
    back = decode_predictions(encode_predictions([None, *PREDICTIONS]))
    assert back[0] is None
    assert same(PREDICTIONS, back[1:])


def test_a_sample_keeps_all_that_was_said_about_it() -> None:
    said = {str(number): each for number, each in enumerate(PREDICTIONS)}
    rejected = PREDICTIONS[-1]
    assert isinstance(rejected, Rejected)
    sample = make_sample(PAYLOADS[2], predictions=said, target=PREDICTIONS[3], rejected=rejected)
    assert same([sample, sample], decode_samples(encode_samples([sample, sample])))


def test_a_window_keeps_its_samples() -> None:
    window = Window(samples=(make_sample(PAYLOADS[1]), make_sample(PAYLOADS[5])), start=NOON, end=NOON, num_late=2)
    [back] = decode_samples(encode_samples([make_sample(window)]))
    assert same(back.payload, window)


def test_what_comes_back_cannot_be_written() -> None:
    [back] = decode_samples(encode_samples([make_sample(PAYLOADS[2])]))
    assert not back.payload.voxels_IJK.flags.writeable


def test_a_large_array_is_not_copied_to_be_written() -> None:
    voxels = np.zeros((200, 100, 100), np.int16)
    file = encode_samples([make_sample(Volume(voxels, np.eye(4)))])
    voxels[:] = 7  # seen through the stream: it reads where the array is
    [back] = decode_samples(file)
    assert back.payload.voxels_IJK.min() == 7


def test_the_stream_can_be_read_again_and_in_any_pieces() -> None:
    file = encode_samples([make_sample(payload) for payload in PAYLOADS])
    whole = file.read()
    assert file.seek(0, io.SEEK_END) == len(whole)
    file.seek(0)
    pieces = b"".join(iter(lambda: file.read(7), b""))
    assert pieces == whole
    file.seek(20)
    assert file.read(30) == whole[20:50]


def test_every_cut_is_noticed() -> None:
    whole = encode_samples([make_sample(PAYLOADS[1], predictions={"p": PREDICTIONS[0]})]).read()
    for end in range(0, len(whole), 5):
        with pytest.raises(InvalidInput):
            decode_samples(io.BytesIO(whole[:end]))


@pytest.mark.parametrize(
    "change",
    [
        (b'"<f4"', b'"|O8"'),
        (b'"shape":[5,7,3]', b'"shape":[5,7,9]'),
        (b'"shape":[5,7,3]', b'"shape":[-5,7,3]'),
        (b'"type":"frame"', b'"type":"other"'),
        (b'"pixels":0', b'"pixels":9'),
        (b'"schema":1', b'"schemA":"'),
        (MAGIC, b"SLCKPT99"),
    ],
)
def test_damage_is_told(change: tuple[bytes, bytes]) -> None:
    whole = encode_samples([make_sample(PAYLOADS[1], predictions={"p": PREDICTIONS[0]})]).read()
    assert change[0] in whole
    with pytest.raises(InvalidInput):
        decode_samples(io.BytesIO(whole.replace(change[0], change[1].ljust(len(change[0])))))


def test_a_file_of_one_kind_is_not_taken_for_the_other() -> None:
    with pytest.raises(InvalidInput):
        decode_samples(encode_predictions(PREDICTIONS))
    with pytest.raises(InvalidInput):
        decode_predictions(encode_samples([make_sample()]))


def test_what_only_a_plug_in_knows_is_refused() -> None:
    class Own(Prediction):
        pass

    with pytest.raises(InvalidInput, match="Own"):
        encode_predictions([Own()])
    with pytest.raises(InvalidInput, match="object"):
        encode_samples([make_sample(object())])
    with pytest.raises(InvalidInput, match="object"):
        encode_samples([replace(make_sample(), payload=Volume(np.full((1, 1, 1), None), np.eye(4)))])
