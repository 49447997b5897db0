"""What every Meter does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sightline.core.errors import ConfigError
from sightline.core.ports import Meter


class MeterContract(ABC):
    """Inherit, provide a `meter` fixture and a way to read it back, and run pytest."""

    @abstractmethod
    @pytest.fixture
    def meter(self) -> Any:
        """Return a meter without numbers."""

    @abstractmethod
    def total(self, meter: Any, name: str, **labels: str) -> float:
        """Return the value of a counter or gauge, or the sum of a histogram, as its reader sees it."""

    @abstractmethod
    def num_observed(self, meter: Any, name: str, **labels: str) -> int:
        """Return the number of measurements in a histogram."""

    def test_a_count_adds_up(self, meter: Meter) -> None:
        meter.count("frames")
        meter.count("frames", 2.5)
        meter.count("frames", 0)
        assert self.total(meter, "frames") == 3.5

    def test_a_gauge_keeps_the_last(self, meter: Meter) -> None:
        meter.gauge("queue_length", 7)
        meter.gauge("queue_length", -2)
        assert self.total(meter, "queue_length") == -2

    def test_observations_are_summed_and_counted(self, meter: Meter) -> None:
        for seconds in (0.0001, 0.25, 1000.0):
            meter.observe("latency_seconds", seconds)
        assert self.total(meter, "latency_seconds") == pytest.approx(1000.2501)
        assert self.num_observed(meter, "latency_seconds") == 3

    def test_labels_keep_numbers_apart(self, meter: Meter) -> None:
        meter.count("dropped", 1, source="door", reason="stale")
        meter.count("dropped", 2, reason="stale", source="yard")
        meter.count("dropped", 4, reason="stale", source="door")
        assert self.total(meter, "dropped", source="door", reason="stale") == 5
        assert self.total(meter, "dropped", source="yard", reason="stale") == 2

    def test_label_values_may_be_any_text(self, meter: Meter) -> None:
        value = 'Eingang "Süd"\\\nzwei'
        meter.gauge("open_doors", 3, source=value)
        assert self.total(meter, "open_doors", source=value) == 3

    def test_one_name_has_one_kind_and_one_set_of_labels(self, meter: Meter) -> None:
        meter.count("frames", source="door")
        with pytest.raises(ConfigError, match="frames"):
            meter.gauge("frames", 1, source="door")
        with pytest.raises(ConfigError, match="frames"):
            meter.count("frames", case="street")
        with pytest.raises(ConfigError, match="frames"):
            meter.count("frames")
        with pytest.raises(ConfigError, match="frames"):
            meter.count("frames", source="door", case="street")
        assert self.total(meter, "frames", source="door") == 1

    def test_several_threads_lose_nothing(self, meter: Meter) -> None:
        def work(number: int) -> None:
            for _ in range(500):
                meter.count("work", source=str(number % 2))
                meter.observe("work_seconds", 0.5)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert self.total(meter, "work", source="0") == self.total(meter, "work", source="1") == 2000
        assert self.num_observed(meter, "work_seconds") == 4000
