"""How this process is: what it takes of the machine, in all and for each camera and model, now and for ten minutes.

Sampled every two seconds by a thread of its own; who looks makes nothing be measured.
"""

from __future__ import annotations

import platform as machine
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import psutil
import structlog

from sightline import __version__
from sightline.core.codec import encode_time
from sightline.engine.surroundings import ALL_SOURCES
from sightline.serve.camera_numbers import Watched, camera_rows
from sightline.serve.disk_use import DiskUse
from sightline.serve.gpus import Gpus

log = structlog.get_logger()
EVERY_S = 2.0
KEPT = 300  # samples: ten minutes
_LIBRARIES = ("onnxruntime", "av", "numpy", "fastapi", "uvicorn")


class SystemWatch:
    """Samples the process.

    Args:
        platform: what all doors share.
        every_s: between two samples.
    """

    def __init__(self, platform: Watched, *, every_s: float = EVERY_S) -> None:
        self._platform = platform
        self._every_s = every_s
        self._process = psutil.Process()
        self._cpu = self._process.cpu_times()
        self._sampled_s = time.monotonic()
        self._threads: dict[tuple[str, str], tuple[float, float]] = {}
        self._cost: dict[tuple[str, str], float] = {}
        self._history: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._disk = DiskUse(platform.context.settings)
        self._gpus = Gpus()
        self._closed = Flag()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to sample."""
        self._thread = Thread(target=self._loop, name="system-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Sample no more."""
        self._closed.set()
        self._disk.close()
        if self._thread is not None:
            self._thread.join(1)

    def cost_ms_per_s(self, run: str, source: str) -> float | None:
        """Return the milliseconds of a processor that a source took for each second; None before that is known."""
        return self._cost.get((run, source))

    def told(self, since: datetime | None = None) -> dict[str, Any]:
        """Return all numbers, with the history behind `since`."""
        history = list(self._history)
        newest = history[-1] if history else self.sample()
        with self._process.oneshot():
            memory, threads = self._process.memory_info().rss, self._process.num_threads()
        wall = machine.uname()
        virtual = psutil.virtual_memory()
        after = "" if since is None else encode_time(since)
        return {
            "time": encode_time(datetime.now(UTC)),
            "process": {
                "uptime_s": round(time.monotonic() - self._platform.started_s, 1),
                "cpu_share": newest["cpu_share"],
                "rss_bytes": memory,
                "threads": threads,
                "requests": self._platform.num_running,
                "waiting_requests": self._platform.threads.num_waiting,
                "websockets": self._platform.num_sockets(),
            },
            "machine": {
                "name": wall.node,
                "system": f"{wall.system} {wall.machine}",
                "cores": psutil.cpu_count() or 1,
                "load_1_min": round(psutil.getloadavg()[0], 2),
                "memory_bytes": virtual.total,
                "memory_available_bytes": virtual.available,
            },
            "gpus": self._gpus.read(),
            "models": [asdict(each) for each in self._platform.context.sessions.loaded()],
            "cameras": camera_rows(self._platform),
            "stores": self._disk.read(),
            "versions": versions(),
            "safe_mode": self._platform.safe_mode(),
            "warnings": self._platform.warnings(),
            "every_s": self._every_s,
            "history": [each for each in history if each["time"] > after],
        }

    def sample(self) -> dict[str, Any]:
        """Measure once, and keep it."""
        now_s, cpu = time.monotonic(), self._process.cpu_times()
        passed_s = max(now_s - self._sampled_s, 1e-3)
        busy_s = cpu.user + cpu.system - self._cpu.user - self._cpu.system
        self._sampled_s, self._cpu = now_s, cpu
        self._measure_threads(now_s)
        cameras = {}
        for row in self._platform.streams.status():
            key = row["run"], row["source"]
            cameras["/".join(key)] = {
                "state": row["state"],
                "fps": row["fps"],
                "age_s": row["age_s"],
                "dropped": sum(row["dropped"].values()),
                "cpu_ms_per_s": self._cost.get(key),
            }
        models = {
            each.ref: {"queue_rows": each.queue_rows, "p50_ms": each.p50_ms, "p95_ms": each.p95_ms}
            for each in self._platform.context.sessions.loaded()
            if each.is_open
        }
        found = {
            "time": encode_time(datetime.now(UTC)),
            "cpu_share": round(busy_s / passed_s, 4),
            "rss_bytes": self._process.memory_info().rss,
            "requests": self._platform.num_running,
            "cameras": cameras,
            "models": models,
            "gpus": [each["busy_share"] for each in self._gpus.read()],
        }
        self._history.append(found)
        return found

    def _measure_threads(self, now_s: float) -> None:
        """Find out what each source has cost since the last time."""
        before, self._threads = self._threads, {}
        spent = _thread_seconds(self._process)
        for key, ids in self._platform.streams.threads().items():
            seconds = sum(spent.get(each, 0.0) for each in ids)
            self._threads[key] = now_s, seconds
            if key in before and seconds >= before[key][1] and key[1] != ALL_SOURCES:
                then_s, then = before[key]
                self._cost[key] = round(1000 * (seconds - then) / max(now_s - then_s, 1e-3), 2)
        self._cost = {key: cost for key, cost in self._cost.items() if key in self._threads}

    def _loop(self) -> None:
        failed = False
        while not self._closed.wait(self._every_s):
            try:
                self.sample()
                failed = False
            except Exception as error:  # noqa: BLE001 - numbers are for people; the process goes on without them
                if not failed:
                    log.warning("the process cannot be measured", error=str(error))
                failed = True


def versions() -> dict[str, str]:
    """Return the versions of what somebody asks about who looks for a fault."""
    found = {"sightline": __version__, "python": machine.python_version()}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _thread_seconds(process: psutil.Process) -> Mapping[int, float]:
    """Return the seconds of a processor that each thread has had; Linux tells them by the nanosecond."""
    tasks = Path("/proc/self/task")
    found: dict[int, float] = {}
    if (tasks / str(process.pid) / "schedstat").exists():
        for task in tasks.iterdir():
            with suppress(OSError, ValueError):  # it has just ended
                found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        return found
    return {each.id: each.user_time + each.system_time for each in process.threads()}
