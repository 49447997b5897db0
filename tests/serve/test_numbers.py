from types import SimpleNamespace
from typing import Any

import pytest

from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.plugins import SourceState
from sightline.engine.counters import RunCounters
from sightline.serve.numbers import ModelNumbers, StreamNumbers


@pytest.fixture
def meter() -> PrometheusMeter:
    return PrometheusMeter()


def value(meter: PrometheusMeter, series: str) -> float | None:
    """Return a number as Prometheus would read it; None where it is not there."""
    for line in meter.render().decode().splitlines():
        name, _, number = line.rpartition(" ")
        if name == f"sightline_{series}":
            return float(number)
    return None


def test_frames_and_drops_are_counted_by_reason(meter: PrometheusMeter) -> None:
    counters, numbers = RunCounters(), StreamNumbers(meter)
    counters.add("door")
    counters.state("door", SourceState.LIVE)
    for _ in range(5):
        counters.read("door", 1)
    counters.processed("door", 2)
    counters.dropped("door", "superseded", 2)
    counters.rejected("door", "dark")
    numbers.update([("run-1", "street", counters.snapshot(), {})])
    counters.read("door", 1)
    counters.dropped("door", "superseded")
    counters.failed("door", "people", 1, "not today", "ValueError")
    numbers.update([("run-1", "street", counters.snapshot(), {})])
    numbers.update([("run-1", "street", counters.snapshot(), {})])

    where = 'case="street"'
    assert value(meter, f'frames_total{{{where},source="door"}}') == 6
    assert value(meter, f'frames_processed_total{{{where},source="door"}}') == 2
    assert value(meter, f'frames_dropped_total{{{where},reason="superseded",source="door"}}') == 3
    assert value(meter, f'frames_rejected_total{{{where},reason="dark",source="door"}}') == 1
    assert value(meter, f'frames_failed_total{{{where},predictor="people",source="door"}}') == 1
    assert value(meter, f'source_live{{{where},source="door"}}') == 1


def test_the_next_run_of_a_case_adds_to_its_numbers(meter: PrometheusMeter) -> None:
    numbers = StreamNumbers(meter)
    for run in ("run-1", "run-2"):
        counters = RunCounters()
        counters.read("door", 1)
        numbers.update([(run, "street", counters.snapshot(), {})])
    numbers.update([("run-3", "street", {}, {})])
    assert value(meter, 'frames_total{case="street",source="door"}') == 2
    assert value(meter, 'source_live{case="street",source="door"}') == 0


def test_a_source_that_was_replaced_counts_from_nothing(meter: PrometheusMeter) -> None:
    numbers = StreamNumbers(meter)
    for num in (5, 2):
        counters = RunCounters()
        for _ in range(num):
            counters.read("door", 1)
        numbers.update([("run-1", "street", counters.snapshot(), {})])
    assert value(meter, 'frames_total{case="street",source="door"}') == 7


def test_a_source_that_gave_nothing_is_seen_as_zero(meter: PrometheusMeter) -> None:
    counters = RunCounters()
    counters.add("door")
    StreamNumbers(meter).update([("run-1", "street", counters.snapshot(), {})])
    assert value(meter, 'frames_total{case="street",source="door"}') == 0
    assert value(meter, 'source_live{case="street",source="door"}') == 0


def test_models_that_were_closed_hold_nothing(meter: PrometheusMeter) -> None:
    numbers = ModelNumbers(meter)
    person: Any = SimpleNamespace(ref="person@3", is_open=True, memory_bytes=1024, queue_rows=7)
    numbers.update([person])
    assert value(meter, 'model_memory_bytes{model="person@3"}') == 1024
    assert value(meter, 'model_queue_rows{model="person@3"}') == 7
    assert value(meter, "models_open") == 1
    numbers.update([])
    assert value(meter, 'model_memory_bytes{model="person@3"}') == 0
    assert value(meter, "models_open") == 0
