from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simplejpeg
from pydantic import TypeAdapter, ValidationError

from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.codec import decode_sample
from sightline.core.errors import ConfigError, StorageFull
from sightline.core.ports import ArtifactStore
from sightline.core.prediction import Boxes, Finding, Findings, Labels
from sightline.core.sample import Frame, Reading, Sample
from sightline.packs.vision.sinks.capture import Capture
from sightline.testing import FakePorts, make_clocks, make_context, make_frame


def people(*confidence: float, class_name: str = "person", model: str | None = "nanodet-m@1") -> Boxes:
    num = len(confidence)
    return Boxes(
        xyxy=np.array([(10 * n, 10, 10 * n + 8, 30) for n in range(num)], np.float32).reshape(-1, 4),
        confidence=np.array(confidence, np.float32),
        class_id=np.zeros(num, np.int64),
        class_name=(class_name,) * num,
        model=model,
    )


def seen(seconds: float, *confidence: float, class_name: str = "person", source: str = "door") -> Sample[Frame]:
    frame = make_frame(100, seconds=seconds, seq=round(seconds * 10), source=source)
    return frame.with_prediction("people", people(*confidence, class_name=class_name))


def kept(samples: list[Sample[Any]], ports: FakePorts | None = None, **fields: Any) -> list[str]:
    """Return the names of the pictures that were kept."""
    ports = ports or FakePorts()
    sink = Capture(**fields)
    sink.open(make_context(ports=ports, case="street", run="r1"))
    for sample in samples:
        sink.write([sample])
    sink.close()
    return [key.rpartition("/")[2].removesuffix(".jpg") for key in ports.artifacts.list() if key.endswith(".jpg")]


def test_a_capture_is_a_picture_and_its_predictions_filed_by_date() -> None:
    ports = FakePorts()
    told = ports.bus.subscribe(types=["capture.stored"])
    sample = seen(3.5, 0.4)

    kept([sample], ports, below=0.5)

    base = "captures/street/2026/11/20/door-120003-r1-1-35"
    assert list(ports.artifacts.list()) == [f"{base}.jpg", f"{base}.json"]
    with ports.artifacts.open(f"{base}.jpg") as file:
        picture = simplejpeg.decode_jpeg(file.read(), colorspace="BGR")
    assert picture.shape == (48, 64, 3)
    assert abs(int(picture[5, 5, 0]) - 100) <= 2
    with ports.artifacts.open(f"{base}.json") as file:
        wire = json.loads(file.read())
    assert wire["capture"] == {"reasons": ["uncertain"], "picture": f"{base}.jpg", "run": "r1"}
    assert wire["predictions"]["people"]["model"] == "nanodet-m@1"
    assert decode_sample(wire).prediction("people", Boxes).confidence[0] == pytest.approx(0.4)
    event = told.get(timeout_s=1)
    assert event is not None
    assert (event.subject, event.source) == (f"{base}.json", "/cases/street/sources/door")  # type: ignore[union-attr]


def test_one_picture_in_every_so_many_seconds_of_each_source() -> None:
    samples = [seen(n / 10, source=source) for n in range(50) for source in ("door", "yard")]

    assert kept(samples, every_s=2.0) == [
        f"{s}-{t}" for s in ("door", "yard") for t in ("120000-r1-1-0", "120002-r1-1-20", "120004-r1-1-40")
    ]


def test_a_reconnect_does_not_begin_the_seconds_anew() -> None:
    first, second = seen(0.0), replace(seen(0.0), epoch=2, clocks=make_clocks(0.5))

    assert len(kept([first, second], every_s=2.0)) == 1


def test_uncertain_ones_are_kept_at_most_one_a_gap() -> None:
    samples = [seen(n / 10, 0.9, 0.3) for n in range(30)]

    assert len(kept(samples, below=0.5, gap_s=1.0)) == 3
    assert len(kept([seen(n / 10, 0.9) for n in range(30)], below=0.5)) == 0


def test_between_looks_for_the_middle() -> None:
    samples = [seen(n, confidence) for n, confidence in enumerate((0.2, 0.4, 0.59, 0.7))]

    assert kept(samples, between=(0.35, 0.6)) == ["door-120001-r1-1-10", "door-120002-r1-1-20"]


def test_classes_alone_ask_for_pictures_that_show_them() -> None:
    samples = [seen(n, 0.9, class_name=name) for n, name in enumerate(("person", "dog", "car"))]

    assert kept(samples, classes=("dog",)) == ["door-120001-r1-1-10"]


def test_classes_limit_whose_confidence_counts() -> None:
    samples = [seen(n, 0.3, class_name=name) for n, name in enumerate(("person", "dog"))]

    assert kept(samples, below=0.5, classes=("dog",)) == ["door-120001-r1-1-10"]


def test_an_unsure_classification_counts_by_its_best_class() -> None:
    labels = Labels(class_id=np.arange(2), confidence=np.array([0.4, 0.1], np.float32), class_name=("cat", "dog"))

    assert len(kept([make_frame(5).with_prediction("label", labels)], below=0.5)) == 1
    assert len(kept([make_frame(5).with_prediction("label", labels)], below=0.3)) == 0


def test_an_event_asks_for_its_picture_even_inside_the_gap() -> None:
    crossing = Findings(items=(Finding(name="crossing", event="line.crossed"),))
    samples = [seen(n / 10, 0.3) for n in range(5)]
    samples[3] = samples[3].with_prediction("lines", crossing)

    assert kept(samples, below=0.5, on_event=("line.crossed",)) == ["door-120000-r1-1-0", "door-120000-r1-1-3"]
    assert kept(samples, on_event=("zone.entered",)) == []


def test_the_budget_of_a_day_holds_over_a_restart_and_ends_with_the_day() -> None:
    ports = FakePorts()
    samples = [seen(n * 10, 0.3) for n in range(5)]
    tomorrow = [replace(seen(0, 0.3), clocks=make_clocks(86400.0))]

    assert len(kept(samples[:2], ports, below=0.5, budget_per_day=3)) == 2
    assert len(kept(samples[2:], ports, below=0.5, budget_per_day=3)) == 3
    assert len(kept(tomorrow, ports, below=0.5, budget_per_day=3)) == 4


def shown(seconds: float, *, seed: int, noise: float = 0.0, light: float = 1.0, source: str = "door") -> Sample[Frame]:
    """Return a picture of one of many scenes."""
    scene = np.random.default_rng(seed).uniform(30, 200, (6, 8, 3))
    pixels = scene.repeat(40, axis=0).repeat(40, axis=1) * light
    pixels += np.random.default_rng(round(seconds * 100)).normal(0, noise, pixels.shape)
    return make_frame(np.clip(pixels, 0, 255).astype(np.uint8), seconds=seconds, seq=round(seconds), source=source)


def test_pictures_that_look_like_one_before_are_dropped() -> None:
    ports = FakePorts()
    scenes = (1, 1, 2, 1, 2, 3, 3)
    samples = [shown(n, seed=seed, noise=2.0, light=1.0 + 0.02 * (n % 3)) for n, seed in enumerate(scenes)]

    assert len(kept(samples, every_s=0.5)) == 7
    assert [name.rpartition("-")[2] for name in kept(samples, ports, every_s=0.5, similar_bits=6)] == ["0", "2", "5"]
    assert isinstance(ports.meter, PrometheusMeter)
    assert b'sightline_captures_total{case="street",outcome="duplicate"} 4.0' in ports.meter.render()


def test_each_source_has_its_own_pictures_and_only_the_last_are_remembered() -> None:
    samples = [shown(n // 2, seed=1, source=source) for n, source in enumerate(("door", "yard") * 3)]
    assert len(kept(samples, every_s=0.5, similar_bits=3)) == 2
    around = [shown(n, seed=seed) for n, seed in enumerate((1, 2, 3, 1, 2, 3))]
    assert len(kept(around, every_s=0.5, similar_bits=3, remember=2)) == 6


def test_a_picture_with_an_event_is_kept_though_it_looks_like_another() -> None:
    crossing = Findings(items=(Finding(name="crossing", event="line.crossed"),))
    samples = [shown(n, seed=1) for n in range(3)]
    samples[2] = samples[2].with_prediction("lines", crossing)

    assert len(kept(samples, every_s=0.5, similar_bits=3, on_event=("line.*",))) == 2
    assert len(kept(samples, on_event=("zone.*",))) == 0


def test_a_run_keeps_no_more_than_its_most() -> None:
    assert len(kept([seen(n) for n in range(5)], every_s=0.5, most=3)) == 3


def test_two_runs_of_a_case_never_write_over_each_other() -> None:
    ports = FakePorts()
    for run in ("0011223344", "5566778899", "", ""):
        sink = Capture(every_s=1, to="")
        sink.open(make_context(ports=ports, case="street", run=run))
        sink.write([seen(3.5)])
        sink.close()

    keys = list(ports.artifacts.list())
    assert len(keys) == 8
    assert {"street/2026/11/20/door-120003-00112233-1-35.jpg", "street/2026/11/20/door-120003-55667788-1-35.jpg"} < set(
        keys
    )


def test_a_strange_source_name_stays_inside_its_folder() -> None:
    assert kept([seen(0, source="../a b/c")], every_s=1) == ["_a_b_c-120000-r1-1-0"]


def test_samples_without_a_picture_are_passed_over() -> None:
    reading: Sample[Reading] = make_frame(0).with_payload(Reading({"x": 1.0}))

    assert kept([reading], every_s=1) == []


class FullStore(ArtifactStore):
    """Takes pictures, but has no room for more."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def put(self, key: str, data: Any) -> int:
        if key.endswith(".json"):
            raise StorageFull("full")
        self.keys.append(key)
        return len(data)

    def open(self, key: str) -> Any:
        raise NotImplementedError

    def size(self, key: str) -> int:
        raise NotImplementedError

    def list(self, prefix: str = "") -> Iterator[str]:
        return iter(self.keys)

    def delete(self, key: str) -> None:
        self.keys.remove(key)


def test_a_full_store_is_told_and_the_picture_came_first() -> None:
    ports = FakePorts()
    ports.__dict__["artifacts"] = store = FullStore()

    with pytest.raises(StorageFull):
        kept([seen(0)], ports, every_s=1)
    assert [key[-4:] for key in store.keys] == [".jpg"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "no rule"),
        ({"between": (0.6, 0.3)}, "between"),
        ({"below": 0.0}, "below"),
        ({"every_s": 1, "quality": 0}, "quality"),
        ({"every_s": -1}, "negative"),
        ({"every_s": 1, "most": -1}, "negative"),
        ({"every_s": 1, "similar_bits": 64}, "similar_bits"),
        ({"on_event": ("Line",)}, "on_event"),
    ],
)
def test_wrong_rules_are_refused(fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Capture(**fields)


def test_pydantic_builds_it_from_a_case_file() -> None:
    adapter = TypeAdapter(Capture)

    assert adapter.validate_python({"between": [0.3, 0.6], "on_event": ["line.crossed"]}).between == (0.3, 0.6)
    with pytest.raises(ValidationError):
        adapter.validate_python({"every": 5})
