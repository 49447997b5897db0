"""The memory of open models: who has to go when another one comes.

What a model takes is an estimate. The resident memory of the process is read before and after its opening, which is
the truth while nothing else happens, and too much or too little when requests come and go meanwhile. So every opening
corrects the estimate half way, and it is never less than one and a half times the model's file: its weights, and some
buffers. What calls of many rows or large inputs take beyond a first call is not in it.
"""

from __future__ import annotations

import ctypes
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

import structlog

log = structlog.get_logger()
_PATIENCE_S = 0.2  # how long an opening waits for models that are in use this moment
_POLL_S = 0.005
_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_SHARE_OF_FILE = 1.5


def resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def give_back() -> None:
    """Return freed memory to the system, where the C library keeps it for later, as that of Linux does.

    Each thread that ran a model has a store of its own there; after a few openings and closings these add up to more
    than the models.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return


def estimate(file_bytes: int, growth: int | None = None, before: int | None = None) -> int:
    """Return what a model takes.

    Args:
        file_bytes: size of its file.
        growth: how much the process grew while it was opened; None before.
        before: the estimate of an earlier opening.
    """
    least = int(_SHARE_OF_FILE * file_bytes)
    if growth is None:
        return before or least
    return max(least, growth if before is None else (growth + before) // 2)


class Evictable(ABC):
    """A model that can be closed and opens again by itself."""

    ref: str
    last_used_s: float

    @property
    @abstractmethod
    def open_bytes(self) -> int:
        """What it takes now; 0 when it is closed."""

    @abstractmethod
    def evict(self) -> bool:
        """Close it unless somebody uses it; return whether it is closed."""


class MemoryBudget:
    """Keeps open models under a limit by closing those that were used least recently.

    Args:
        max_bytes: the limit; None: there is none.
        models: all that may be open.
    """

    def __init__(self, max_bytes: int | None, models: Callable[[], Sequence[Evictable]]) -> None:
        self._max_bytes = max_bytes
        self._models = models
        self._lock = Lock()
        self._reserved: dict[str, int] = {}

    def reserve(self, model: Evictable, num_bytes: int) -> None:
        """Make room for a model that is about to open.

        A model in use is never closed. So the limit is passed, with a warning, where all others are in use, or the
        model alone is larger.
        """
        if self._max_bytes is None:
            return
        with self._lock:
            self._reserved[model.ref] = num_bytes
            patient_until_s = time.monotonic() + _PATIENCE_S
            while self._trim(model) and self._others(model) and time.monotonic() < patient_until_s:
                time.sleep(_POLL_S)
            over = self._over()
        if num_bytes > self._max_bytes:
            log.warning("model is larger than models.memory_mb", model=model.ref, bytes=num_bytes, most=self._max_bytes)
        elif over > 0:
            log.warning("models in use take more than models.memory_mb", model=model.ref, bytes_over=over)

    def release(self, model: Evictable) -> None:
        """Say that the model is open, or could not be opened."""
        if self._max_bytes is not None:
            with self._lock:
                self._reserved.pop(model.ref, None)
                self._trim(model)

    def trim(self) -> None:
        """Close what is idle, as far as needed: for models that took more than expected, or were in use then."""
        if self._max_bytes is not None:
            with self._lock:
                self._trim(None)

    def _trim(self, spared: Evictable | None) -> bool:
        """Close models until the others fit; return whether it is still too much."""
        for model in self._others(spared):
            if self._over() <= 0:
                return False
            if model.evict():
                log.info("model closed to make room", model=model.ref)
        return self._over() > 0

    def _others(self, spared: Evictable | None) -> list[Evictable]:
        open_now = [model for model in self._models() if model is not spared and model.open_bytes]
        return sorted(open_now, key=lambda model: model.last_used_s)

    def _over(self) -> int:
        """Return by how many bytes the limit is passed."""
        taken = sum(model.open_bytes for model in self._models() if model.ref not in self._reserved)
        return taken + sum(self._reserved.values()) - (self._max_bytes or 0)
