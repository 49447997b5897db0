"""What was captured is read again as it was."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from sightline.core.errors import InvalidInput, NotFound
from sightline.core.prediction import Boxes
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.sinks.capture import Capture
from sightline.packs.vision.sources.captures import Captures
from sightline.testing import FakePorts, make_context, make_frame


def seen(seq: int, level: int = 100) -> Sample[Frame]:
    boxes = Boxes(
        xyxy=np.array([[1, 2, 30, 40]], np.float32),
        confidence=np.array([0.4], np.float32),
        class_id=np.array([0]),
        class_name=("person",),
        model="nanodet-m@1",
    )
    return make_frame(level, seconds=seq, seq=seq, source="door", metadata={"room": 7}).with_prediction("people", boxes)


def captured(ports: FakePorts, *samples: Sample[Any], run: str = "r1") -> None:
    sink = Capture(every_s=0.1)
    sink.open(make_context(ports=ports, case="street", run=run))
    sink.write(samples)
    sink.close()


def read(ports: FakePorts, dropped: Counter[str] | None = None, **fields: Any) -> list[Sample[Frame]]:
    source = Captures(**fields)
    drops = Counter() if dropped is None else dropped
    source.open(make_context(ports=ports, source="main", dropped=lambda reason, num: drops.update({reason: num})))
    return list(source.read())


def test_picture_predictions_time_and_where_it_came_from_come_back() -> None:
    ports = FakePorts()
    captured(ports, seen(0, 50), seen(1, 200))

    first, second = read(ports)

    assert (first.id, second.id) == ("main/1/0", "main/1/1")
    assert first.time == seen(0).time
    assert abs(int(second.payload.pixels_HWC.mean()) - 200) <= 2
    boxes = second.prediction("people", Boxes)
    assert (boxes.model, boxes.class_name, boxes.xyxy.tolist()) == ("nanodet-m@1", ("person",), [[1, 2, 30, 40]])
    assert second.metadata["room"] == 7
    assert second.metadata["capture"] == {
        "picture": "captures/street/2026/11/20/door-120001-r1-1-1.jpg",
        "source": "door",
        "sample": "door/1/1",
        "case": "street",
        "run": "r1",
        "reasons": ["every"],
    }


def test_a_prefix_chooses_and_other_things_are_passed_over() -> None:
    ports = FakePorts()
    captured(ports, seen(0))
    ports.artifacts.put("captures/street/notes.json", b'{"text": 1}')
    ports.artifacts.put("captures/street/broken.json", b"{")
    ports.artifacts.put("captures/street/list.json", b"[]")

    assert len(read(ports)) == len(read(ports, prefix="")) == len(read(ports, prefix="captures/street/2026")) == 1
    with pytest.raises(NotFound, match="no captures"):
        read(ports, prefix="captures/other")
    with pytest.raises(InvalidInput):
        Captures(prefix="../x")


def test_a_capture_without_its_picture_or_with_a_damaged_one_is_left_out_and_counted() -> None:
    ports, dropped = FakePorts(), Counter[str]()
    captured(ports, *(seen(seq) for seq in range(4)))
    base = "captures/street/2026/11/20/door-12000{0}-r1-1-{0}"
    ports.artifacts.delete(base.format(0) + ".jpg")
    ports.artifacts.put(base.format(1) + ".jpg", b"\xff\xd8\xff broken")
    ports.artifacts.put(base.format(2) + ".json", json.dumps({"capture": {}, "predictions": 5}).encode())

    assert [sample.metadata["capture"]["sample"] for sample in read(ports, dropped)] == ["door/1/3"]
    assert dropped == {"no_picture": 1, "undecodable": 2}


def test_a_picture_that_was_decoded_smaller_knows_its_full_size() -> None:
    ports = FakePorts()
    small = make_frame(9, size=(32, 24), source="door")
    captured(ports, small.with_payload(Frame(small.payload.pixels_HWC, full_size=(64, 48))))

    [sample] = read(ports)

    assert sample.payload.pixels_HWC.shape == (24, 32, 3)
    assert sample.payload.size == (64, 48)
