import math
import timeit
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from sightline.adapters.meter_prometheus import MOST_SERIES, PrometheusMeter
from sightline.core.errors import ConfigError, InvalidInput
from sightline.testing.contracts import MeterContract


def _read(meter: PrometheusMeter, name: str, labels: dict[str, str]) -> float | None:
    """Return the value of a series in the text that Prometheus would read."""
    for family in text_string_to_metric_families(meter.render().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


class TestPrometheusMeter(MeterContract):
    @pytest.fixture
    def meter(self) -> PrometheusMeter:
        return PrometheusMeter()

    def total(self, meter: Any, name: str, **labels: str) -> float:
        found = [_read(meter, f"sightline_{name}{end}", labels) for end in ("_total", "", "_sum")]
        return next(value for value in found if value is not None)

    def num_observed(self, meter: Any, name: str, **labels: str) -> int:
        return int(_read(meter, f"sightline_{name}_count", labels) or 0)

    def test_each_number_says_what_it_counts(self, meter: PrometheusMeter) -> None:
        meter.count("requests", route="/predict")
        meter.gauge("doors_open", 2)
        text = meter.render().decode()
        assert "# HELP sightline_requests_total Requests that were answered" in text
        assert "# HELP sightline_doors_open Doors open." in text

    def test_buckets_reach_from_half_a_millisecond_to_a_minute(self, meter: PrometheusMeter) -> None:
        for seconds in (0.0004, 0.3, 59.0, 61.0):
            meter.observe("latency_seconds", seconds)
        edges = {
            float(sample.labels["le"]): sample.value
            for family in text_string_to_metric_families(meter.render().decode())
            for sample in family.samples
            if sample.name == "sightline_latency_seconds_bucket"
        }
        assert (min(edges), sorted(edges)[-2], max(edges)) == (0.0005, 60.0, math.inf)
        assert (edges[0.0005], edges[0.25], edges[0.5], edges[60.0], edges[math.inf]) == (1, 1, 2, 3, 4)

    def test_two_meters_share_nothing(self, meter: PrometheusMeter) -> None:
        meter.count("frames")
        assert b"sightline_frames" not in PrometheusMeter().render()

    @pytest.mark.parametrize("name", ["with space", "with-dash", "ümlaut"])
    def test_a_name_that_prometheus_refuses_is_an_error(self, meter: PrometheusMeter, name: str) -> None:
        with pytest.raises(ConfigError, match="cannot be kept"):
            meter.count(name)

    def test_a_name_that_would_be_another_series_is_an_error(self, meter: PrometheusMeter) -> None:
        meter.count("frames")
        with pytest.raises(ConfigError, match="cannot be kept"):
            meter.gauge("frames_total", 1)

    @pytest.mark.parametrize("value", [-1, math.nan])
    def test_a_counter_does_not_fall(self, meter: PrometheusMeter, value: float) -> None:
        with pytest.raises(InvalidInput, match="only rises"):
            meter.count("frames", value)

    def test_rows_and_bytes_have_edges_of_their_own(self, meter: PrometheusMeter) -> None:
        meter.observe("model_batch_rows", 5, model="m@1")
        meter.observe("body_bytes", 5000)
        text = meter.render().decode()
        assert 'sightline_model_batch_rows_bucket{le="4.0",model="m@1"} 0.0' in text
        assert 'sightline_model_batch_rows_bucket{le="8.0",model="m@1"} 1.0' in text
        assert 'sightline_body_bytes_bucket{le="4096.0"} 0.0' in text
        assert 'sightline_body_bytes_bucket{le="16384.0"} 1.0' in text

    def test_labels_without_end_share_one_series(self, meter: PrometheusMeter) -> None:
        for number in range(MOST_SERIES + 50):
            meter.count("requests", route=str(number))
        meter.count("requests", route="0")
        assert self.total(meter, "requests", route="other") == 50
        assert self.total(meter, "requests", route="0") == 2
        assert meter.render().count(b"sightline_requests_total{") == MOST_SERIES + 1

    def test_values_that_look_like_label_names_stay_apart(self, meter: PrometheusMeter) -> None:
        meter.count("a", b="c", c="d")
        with pytest.raises(ConfigError, match="labels"):
            meter.count("a", b="c")
        meter.count("a", c="c", b="d")
        assert (self.total(meter, "a", b="c", c="d"), self.total(meter, "a", b="d", c="c")) == (1, 1)

    def test_the_process_is_on_the_page(self, meter: PrometheusMeter) -> None:
        page, content_type = meter.page("text/html, */*")
        assert content_type.startswith("text/plain; version=0.0.4")
        for name in (b"process_cpu_seconds_total", b"process_resident_memory_bytes", b"python_threads"):
            assert b"\n" + name + b" " in page
        assert b"gpu" not in PrometheusMeter(nvml=NoDriver).render()

    def test_the_page_is_openmetrics_for_those_who_ask(self, meter: PrometheusMeter) -> None:
        meter.count("frames", source="door")
        page, content_type = meter.page("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert content_type.startswith("application/openmetrics-text; version=1.0.0")
        assert page.endswith(b"# EOF\n")
        read: Any = openmetrics.text_string_to_metric_families
        families = {family.name: family for family in read(page.decode())}
        assert [sample.value for sample in families["sightline_frames"].samples] == [1.0]

    def test_a_gpu_is_on_the_page(self) -> None:
        page = PrometheusMeter(nvml=OneGpu).render().decode()
        assert 'sightline_gpu_memory_used_bytes{gpu="0",name="H100"} 3e+09' in page
        assert 'sightline_gpu_busy_ratio{gpu="0",name="H100"} 0.25' in page
        assert 'sightline_gpu_power_watts{gpu="0",name="H100"} 70.5' in page

    def test_numbers_are_cheap(self, meter: PrometheusMeter, record_property: Callable[[str, object], None]) -> None:
        def write() -> None:
            meter.count("requests", route="/predict", method="POST", status="200")
            meter.observe("request_seconds", 0.01, route="/predict")

        best_us = min(timeit.repeat(write, number=2000, repeat=5)) / 2000 * 1e6
        record_property("microseconds for a count and an observation", best_us)
        assert best_us < 20  # 2.3 measured; a busy machine is no error

    def test_two_hundred_series_are_read_at_once(self, meter: PrometheusMeter) -> None:
        for number in range(100):
            meter.observe("request_seconds", 0.1, route=str(number))
            meter.count("requests", route=str(number))
        assert min(timeit.repeat(meter.render, number=1, repeat=3)) < 0.2  # 0.014 measured


class NoDriver:
    """The library of NVIDIA on a machine without a GPU."""

    class NVMLError(Exception):
        pass

    @classmethod
    def nvmlInit(cls) -> None:  # noqa: N802 - its name
        raise cls.NVMLError


class OneGpu:
    """The library of NVIDIA on a machine with one GPU."""

    NVML_TEMPERATURE_GPU = 0
    NVMLError = NoDriver.NVMLError
    nvmlInit = staticmethod(lambda: None)
    nvmlDeviceGetCount = staticmethod(lambda: 1)
    nvmlDeviceGetHandleByIndex = staticmethod(lambda index: index)
    nvmlDeviceGetName = staticmethod(lambda _: b"H100")
    nvmlDeviceGetMemoryInfo = staticmethod(lambda _: SimpleNamespace(used=3e9, total=8e10))
    nvmlDeviceGetUtilizationRates = staticmethod(lambda _: SimpleNamespace(gpu=25))
    nvmlDeviceGetTemperature = staticmethod(lambda _, sensor: 40 + sensor)
    nvmlDeviceGetPowerUsage = staticmethod(lambda _: 70_500)
