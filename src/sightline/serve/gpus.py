"""The GPUs of this machine, where the extra `gpu` is installed and a driver answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import structlog

log = structlog.get_logger()
_FRESH_S = 1.0


class Gpus:
    """Asks NVIDIA's driver; without the library or the driver there are none.

    Args:
        load: gives the library; that of the extra `gpu` by default.
    """

    def __init__(self, load: Callable[[], Any] = lambda: import_module("pynvml")) -> None:
        self._load = load
        self._library: Any = None
        self._looked = False
        self._told: list[dict[str, Any]] = []
        self._read_s = float("-inf")

    def read(self) -> list[dict[str, Any]]:
        """Return `name busy_share memory_bytes memory_used_bytes temperature_c` of each, as of a second ago at most."""
        if time.monotonic() - self._read_s < _FRESH_S:
            return self._told
        library = self._opened()
        if library is not None:
            try:
                self._told = [_facts(library, number) for number in range(library.nvmlDeviceGetCount())]
            except Exception as error:  # noqa: BLE001 - the driver went away
                log.debug("GPUs do not answer", error=str(error))
                self._told = []
        self._read_s = time.monotonic()
        return self._told

    def _opened(self) -> Any:
        if not self._looked:
            self._looked = True
            try:
                library = self._load()
                library.nvmlInit()
                self._library = library
            except Exception as error:  # noqa: BLE001 - not installed, or no driver: there is none for us
                log.debug("no GPU is looked at", reason=str(error))
        return self._library


def _facts(library: Any, number: int) -> dict[str, Any]:
    handle = library.nvmlDeviceGetHandleByIndex(number)
    name = library.nvmlDeviceGetName(handle)
    memory = library.nvmlDeviceGetMemoryInfo(handle)
    return {
        "name": name.decode() if isinstance(name, bytes) else str(name),
        "busy_share": library.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
        "memory_bytes": int(memory.total),
        "memory_used_bytes": int(memory.used),
        "temperature_c": library.nvmlDeviceGetTemperature(handle, 0),
    }
