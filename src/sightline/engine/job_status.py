"""What is seen of a job while it is worked on: progress, its steps with their times, and the peak of memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from sightline.core.prediction import JsonObject

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class JobStatus:
    """The status of one attempt; read by the thread that reports while another one works.

    Args:
        steps: names of all steps in their order.
        attempt: number of the attempt, from 1.
        before: outcomes of the steps that were done in earlier attempts.
    """

    def __init__(self, steps: Sequence[str], attempt: int, before: Mapping[str, JsonObject]) -> None:
        self._steps: dict[str, dict[str, Any]] = {
            name: {"name": name, "state": "done" if name in before else "waiting"} | _cost(before.get(name, {}))
            for name in steps
        }
        self._attempt = attempt
        self._share = 0.0
        self._stage = ""
        self._message = ""
        self._made: Mapping[str, str] = {}
        self._files: Mapping[str, JsonObject] = {}
        self._lock = Lock()

    def begin(self, step: str) -> None:
        """Say that a step begins."""
        with self._lock:
            self._steps[step]["state"] = "running"
            self._stage, self._message, self._share = step, "", 0.0

    def progress(self, share: float, message: str = "") -> None:
        """Say how far the step is: from 0 to 1."""
        with self._lock:
            self._share, self._message = min(max(share, 0.0), 1.0), message

    def done(self, step: str, outcome: JsonObject) -> None:
        """Say that a step is done."""
        with self._lock:
            self._steps[step] |= {"state": "done"} | _cost(outcome)
            self._share = 0.0

    def broken(self) -> None:
        """Say that the step under way did not end."""
        with self._lock:
            for step in self._steps.values():
                if step["state"] == "running":
                    step["state"] = "waiting"
            self._share = 0.0

    def publish(self, made: Mapping[str, str], files: Mapping[str, JsonObject]) -> None:
        """Say what was made, and where it is."""
        with self._lock:
            self._made, self._files = dict(made), dict(files)

    def json(self, **more: Any) -> dict[str, Any]:
        """Return the status of the run."""
        with self._lock:
            num_done = sum(step["state"] == "done" for step in self._steps.values())
            share = self._share if num_done < len(self._steps) else 0.0
            return {
                "progress": round((num_done + share) / max(len(self._steps), 1), 4),
                "stage": self._stage,
                "message": self._message,
                "attempt": self._attempt,
                "steps": [dict(step) for step in self._steps.values()],
                "made": dict(self._made),
                "files": {word: dict(file) for word, file in self._files.items()},
                **more,
            }


class Cost:
    """Measures what a step takes: wall time, and the peak of this process's memory meanwhile."""

    def __init__(self) -> None:
        with suppress(OSError):  # Linux alone; elsewhere the peak since the begin of the process is told
            _CLEAR.write_bytes(b"5")
        self._begin_s = time.perf_counter()

    def taken(self) -> dict[str, float]:
        """Return `seconds` and `peak_mb`."""
        return {"seconds": round(time.perf_counter() - self._begin_s, 6), "peak_mb": round(_peak_mb(), 1)}


def _peak_mb() -> float:
    try:
        return int(_STATUS.read_bytes().partition(b"VmHWM:")[2].split(maxsplit=1)[0]) / 1024
    except (OSError, ValueError, IndexError):
        pass
    if sys.platform == "win32":
        return 0.0  # nothing in the standard library tells it
    import resource  # POSIX alone

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def _cost(outcome: JsonObject) -> dict[str, Any]:
    return {name: outcome[name] for name in ("seconds", "peak_mb") if name in outcome}
