import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

import jsonschema_rs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sightline.adapters.meter_emf import MOST_VALUES, EmfMeter
from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.errors import InvalidInput
from sightline.testing.contracts import MeterContract
from sightline.testing.fakes import FakeClock

SCHEMA = jsonschema_rs.validator_for(json.loads((Path(__file__).parents[1] / "data" / "emf.schema.json").read_text()))


class Stdout:
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def __call__(self, line: bytes) -> None:
        self.lines.append(line)

    def documents(self) -> list[dict[str, Any]]:
        return [checked(line) for line in self.lines]


def checked(line: bytes) -> dict[str, Any]:
    """Return the document of a line that CloudWatch would take."""
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    document: dict[str, Any] = json.loads(line)
    SCHEMA.validate(document)
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for dimension in chain.from_iterable(directive["Dimensions"]):
            assert isinstance(document[dimension], str)
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            values = value if isinstance(value, list) else [value]
            assert 1 <= len(values) <= MOST_VALUES
            assert all(type(each) in (int, float) for each in values)
    return document


@pytest.fixture
def stdout() -> Stdout:
    return Stdout()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def meter(stdout: Stdout, clock: FakeClock) -> Iterator[EmfMeter]:
    meter = EmfMeter(
        PrometheusMeter(), service="door-camera", log_every=50, write=stdout, now=lambda: 1.5, clock=clock.monotonic
    )
    yield meter
    meter.close()


class TestEmfMeter(MeterContract):
    @pytest.fixture
    def meter(self, stdout: Stdout) -> Iterator[EmfMeter]:
        meter = EmfMeter(PrometheusMeter(), write=stdout)
        yield meter
        meter.close()

    def total(self, meter: Any, name: str, **labels: str) -> float:
        names = [f"sightline_{name}{end}" for end in ("_total", "", "_sum")]
        return next(value for found, value in self.samples(meter, labels) if found in names)

    def num_observed(self, meter: Any, name: str, **labels: str) -> int:
        return int(dict(self.samples(meter, labels))[f"sightline_{name}_count"])

    def samples(self, meter: EmfMeter, labels: dict[str, str]) -> Iterator[tuple[str, float]]:
        for family in text_string_to_metric_families(meter.page()[0].decode()):
            yield from ((sample.name, sample.value) for sample in family.samples if sample.labels == labels)


def test_every_fifty_frames_make_one_line(meter: EmfMeter, stdout: Stdout, clock: FakeClock) -> None:
    for number in range(99):
        clock.advance(0.1)
        meter.observe("frame_seconds", number / 1000, case="street", source="door")
        if number in (3, 60):
            meter.count("frames_failed", 2, case="street", source="door", predictor="people")

    meter.close()

    first, rest = stdout.documents()
    assert first["Latency"] == [float(number) for number in range(50)]
    assert (first["FPS"], first["Errors"]) == (10.0, 2)
    assert (first["service"], first["kind"]) == ("door-camera", "frames")
    assert first["_aws"]["Timestamp"] == 1500
    [directive] = first["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"][0]) == ("Sightline", ["service"])
    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == {
        "Latency": "Milliseconds",
        "FPS": "Count/Second",
        "Errors": "Count",
    }
    assert (len(rest["Latency"]), rest["Errors"]) == (49, 2)


def test_requests_are_told_apart_from_frames(meter: EmfMeter, stdout: Stdout) -> None:
    for status in ("200", "404", "503", "500"):
        meter.count("requests", route="/predict", method="POST", status=status)
    for _ in range(50):
        meter.observe("request_seconds", 0.002, route="/predict")
    meter.observe("frame_seconds", 1.0, case="street", source="door")

    meter.close()

    by_kind = {document["kind"]: document for document in stdout.documents()}
    assert by_kind["requests"]["Errors"] == 2
    assert by_kind["requests"]["Latency"] == [2.0] * 50
    assert by_kind["frames"]["Latency"] == [1000.0]


def test_more_than_a_hundred_latencies_become_several_lines(stdout: Stdout, clock: FakeClock) -> None:
    meter = EmfMeter(PrometheusMeter(), log_every=250, write=stdout, clock=clock.monotonic)
    for number in range(250):
        meter.observe("request_seconds", number, route="/predict")
    meter.close()

    lines = stdout.documents()
    assert [len(line["Latency"]) for line in lines] == [100, 100, 50]
    assert sum(("FPS" in line) + ("Errors" in line) for line in lines) == 2
    assert list(chain.from_iterable(line["Latency"] for line in lines)) == [1000.0 * number for number in range(250)]


def test_what_is_no_latency_makes_no_line(meter: EmfMeter, stdout: Stdout) -> None:
    for value in (float("nan"), float("inf"), -1.0):
        meter.observe("request_seconds", value, route="/predict")
    meter.observe("model_seconds", 1.0, model="m@1")
    meter.gauge("models_open", 1)
    meter.close()
    assert stdout.lines == []


def test_threads_lose_no_frame_and_mix_no_lines(stdout: Stdout) -> None:
    meter = EmfMeter(PrometheusMeter(), log_every=7, write=stdout)

    def work(number: int) -> None:
        for _ in range(100):
            meter.observe("frame_seconds", number, case="c", source=str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    meter.close()

    latencies = chain.from_iterable(line["Latency"] for line in stdout.documents())
    assert sorted(latencies) == sorted(1000.0 * number for number in range(8) for _ in range(100))


def test_a_reader_who_stops_reading_holds_up_nobody() -> None:
    release = Event()

    def stuck(_: bytes) -> None:
        release.wait(30)

    meter = EmfMeter(PrometheusMeter(), log_every=1, write=stuck)
    begin = time.monotonic()
    for _ in range(2000):
        meter.observe("frame_seconds", 0.1, case="c", source="s")
    assert time.monotonic() - begin < 15
    release.set()
    meter.close()


def test_a_reader_who_has_gone_is_no_error() -> None:
    def gone(_: bytes) -> None:
        raise BrokenPipeError

    meter = EmfMeter(PrometheusMeter(), log_every=1, write=gone)
    for _ in range(3):
        meter.observe("frame_seconds", 0.1, case="c", source="s")
    meter.close()
    assert b"sightline_frame_seconds_count" in meter.page()[0]


def test_lines_go_to_stdout_by_setting(tmp_path: Path) -> None:
    program = """
from sightline.build import CaseBuildContext
from sightline.settings import load_settings
with CaseBuildContext(load_settings(overrides={"meter.emf": True, "meter.service": "yard", "meter.log_every": 3})) as c:
    for _ in range(7):
        c.meter.observe("request_seconds", 0.5, route="/predict")
"""
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True, timeout=100)
    documents = [checked(line) for line in answer.stdout.splitlines(keepends=True)]
    assert [len(document["Latency"]) for document in documents] == [3, 3, 1]
    assert {document["service"] for document in documents} == {"yard"}


@pytest.mark.parametrize("wrong", [{"service": ""}, {"namespace": "x" * 256}])
def test_a_name_that_cloudwatch_refuses_is_an_error(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="1 to 255"):
        EmfMeter(PrometheusMeter(), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "broken", [{"_aws": {}}, {"_aws": {"Timestamp": 1.5, "CloudWatchMetrics": []}}, {"service": "a"}]
)
def test_the_schema_refuses_what_is_wrong(broken: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(broken)
