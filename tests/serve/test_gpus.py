"""GPUs as the driver tells them, and none where there is no driver."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sightline.serve.gpus import Gpus


class Driver:
    """What of the library is asked, with one card that goes away when it is told to."""

    def __init__(self) -> None:
        self.is_there = True
        self.num_asked = 0

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names
        """Begin."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self.num_asked += 1
        if not self.is_there:
            raise RuntimeError("GPU is lost")
        return 1

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802
        return number

    def nvmlDeviceGetName(self, _: int) -> bytes:  # noqa: N802
        return b"NVIDIA Test"

    def nvmlDeviceGetMemoryInfo(self, _: int) -> Any:  # noqa: N802
        return SimpleNamespace(total=1000, used=250)

    def nvmlDeviceGetUtilizationRates(self, _: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=40)

    def nvmlDeviceGetTemperature(self, _: int, __: int) -> int:  # noqa: N802
        return 55


def test_a_gpu_is_told_with_its_numbers_and_not_asked_too_often() -> None:
    driver = Driver()
    gpus = Gpus(lambda: driver)
    told = {
        "name": "NVIDIA Test",
        "busy_share": 0.4,
        "memory_bytes": 1000,
        "memory_used_bytes": 250,
        "temperature_c": 55,
    }
    assert gpus.read() == gpus.read() == [told]
    assert driver.num_asked == 1


def test_without_a_driver_there_is_none() -> None:
    driver = Driver()
    driver.is_there = False
    assert Gpus(lambda: driver).read() == []


def test_without_the_library_there_is_none() -> None:
    def load() -> Any:
        raise ModuleNotFoundError("No module named 'pynvml'")

    assert Gpus(load).read() == []
