from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from sightline.core.errors import InvalidInput, ModelNotFound
from sightline.core.events import make_event
from sightline.core.model import ModelCard
from sightline.core.ports import Tensors
from sightline.testing import (
    START,
    FakeClock,
    FakeSession,
    Tally,
    fake_ports,
    make_context,
    make_frame,
    make_reading,
)


def test_the_clock_stands_until_it_is_told_to_go_on() -> None:
    clock = FakeClock()
    assert clock() == clock() == START
    clock.advance(1.5)
    assert clock() == START + timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


def test_the_model_answers_what_it_was_told_and_remembers_what_it_was_asked() -> None:
    session = FakeSession({"y": np.ones(3)}, ModelCard(name="net", version="2"))
    handle = make_context(session=session).open_model("net@production")
    asked = np.zeros(2)

    np.testing.assert_array_equal(handle.run({"x": asked})["y"], np.ones(3))
    asked += 5

    assert (handle.version, handle.card.name) == ("net@2", "net")
    np.testing.assert_array_equal(session.feeds[0]["x"], np.zeros(2))


def test_the_model_may_be_a_function() -> None:
    def double(feeds: Tensors) -> dict[str, np.ndarray]:
        if "x" not in feeds:
            raise InvalidInput("x is missing")
        return {"y": 2 * feeds["x"]}

    handle = make_context(models={"net": FakeSession(double)}).open_model("net")

    answer: Future[dict[str, np.ndarray]] = handle.submit({"x": np.ones(2)})
    np.testing.assert_array_equal(answer.result(0)["y"], [2, 2])
    with pytest.raises(InvalidInput, match="x is missing"):
        handle.submit({}).result(0)


def test_a_model_that_nobody_gave_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="other"):
        make_context(models={"net": FakeSession({})}).open_model("other")


def test_the_ports_work() -> None:
    ports = fake_ports()
    assert ports.artifacts.put("key", b"data") == 4
    subscription = ports.bus.subscribe()
    ports.bus.publish(make_event("prediction", source="/cases/x", time=START, data={}))
    assert subscription.get(1) is not None
    assert "cpu" in ports.runtime.devices()
    ports.meter.count("frames")
    assert ports.store.predictions.list() == []
    assert ports.artifacts is ports.artifacts
    assert fake_ports().artifacts is not ports.artifacts
    ports.store.close()


def test_the_context_takes_whatever_a_plug_in_needs(tmp_path: Path) -> None:
    dropped = Tally()
    context = make_context(source="door", outputs=tmp_path, dropped=dropped, epoch=3)
    context.dropped("late", 2)
    context.dropped("late", 1)
    assert (context.source, context.epoch, context.outputs, dropped["late"]) == ("door", 3, tmp_path, 3)
    assert context.now() == START


def test_frames_and_readings_carry_times_that_fit_their_numbers() -> None:
    frame = make_frame(7, size=(4, 3), seq=50)
    assert frame.payload.size == (4, 3)
    assert int(frame.payload.pixels_HWC.max()) == 7
    assert (frame.seconds, frame.time) == (2.0, START + timedelta(seconds=2))
    reading = make_reading(3, seq=2)
    assert (dict(reading.payload.values), reading.time) == ({"value": 3.0}, START + timedelta(seconds=2))
    assert make_reading({"t": 1.0}, seconds=9).clocks.sender == START + timedelta(seconds=9)
