import math
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sightline.adapters.meter_prometheus import PrometheusMeter
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
