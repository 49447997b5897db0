"""How much of the machine a model gets, and the memory of what was measured best.

A small file for each model says how many rows a call should have and how many workers with how many threads each;
it holds for one content of the model, one processor, one runtime and one device.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import numpy as np
import structlog

from sightline.core.model import ModelCard, TensorSpec
from sightline.core.ports import Array
from sightline.engine.work import Signature

log = structlog.get_logger()
_MOST = 1024  # of anything in a layout file: what is above was not written by us
_MAX_BYTES = 10_000  # of a layout file
_MAX_FEED_BYTES = 256 << 20


def num_cores() -> int:
    """Return the cores that this process may use, which in a container are often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class SessionLayout:
    """How much of the machine each model gets, as the settings say it.

    Attributes:
        device: where models run.
        num_workers: threads per model; None: measured, until then one for each core.
        max_batch: most rows in one call of the runtime; None: measured, until then 1.
        queue_rows: most rows that wait for one model.
        memory_bytes: memory for open models; None: no limit.
    """

    device: str = "auto"
    num_workers: int | None = field(default_factory=num_cores)
    max_batch: int | None = 8
    queue_rows: int = 256
    memory_bytes: int | None = None

    @property
    def is_explicit(self) -> bool:
        """True when there is nothing to measure."""
        return self.num_workers is not None and self.max_batch is not None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one model runs.

    Attributes:
        max_batch: most rows in one call.
        num_workers: calls side by side.
        num_threads: threads inside each call.
    """

    max_batch: int = 1
    num_workers: int = 1
    num_threads: int = 1


def start_layout(card: ModelCard) -> Layout:
    """Return how a model runs before anything was measured: a call for each core.

    One of volumes: one call at a time with a thread for each core. Its calls are long, so that threads are not waited
    for, and calls side by side would multiply what each takes, which is up to gigabytes.
    """
    if card.sees_volumes:
        return Layout(num_workers=1, num_threads=num_cores())
    return Layout(num_workers=num_cores())


class LayoutFiles:
    """Layouts by what they were measured on.

    Args:
        folder: where the files lie; made when the first is written.
        runtime: name and version of the runtime.
        settings: what was given and so not measured, and the device.
    """

    def __init__(self, folder: Path, *, runtime: str, settings: SessionLayout) -> None:
        self._folder = folder
        self._place = {
            "cpu": _cpu_model(),
            "cores": num_cores(),
            "runtime": runtime,
            "device": settings.device,
            "given": [settings.num_workers, settings.max_batch],
        }

    def find(self, digest: str) -> Layout | None:
        """Return the layout of the model of this digest; None where nothing is known or the file is damaged."""
        path, measured_on = self._at(digest)
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError("too large")
            found = json.loads(path.read_bytes())
            if found["measured_on"] != measured_on:
                return None
            values = {name: found["layout"][name] for name in ("max_batch", "num_workers", "num_threads")}
            if not all(type(value) is int and 1 <= value <= _MOST for value in values.values()):
                raise ValueError("numbers that cannot be")
            return Layout(**values)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("layout file is damaged, measuring again", path=str(path), error=str(error))
            return None

    def keep(self, digest: str, layout: Layout) -> None:
        """Remember `layout`; where the folder cannot be written, it is measured again next time."""
        path, measured_on = self._at(digest)
        part = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_text(json.dumps({"layout": asdict(layout), "measured_on": measured_on}, indent=2) + "\n")
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            log.warning("layout could not be remembered", path=str(path), error=str(error))

    def _at(self, digest: str) -> tuple[Path, dict[str, object]]:
        measured_on = {"digest": digest, **self._place}
        name = sha256(json.dumps(measured_on, sort_keys=True).encode()).hexdigest()[:32]
        return self._folder / f"layout-{name}.json", measured_on


def made_up_feeds(card: ModelCard, seen: Signature | None = None) -> dict[str, Array] | None:
    """Return one row of invented input, small numbers of the right types and shapes.

    Axes that may vary are as long as in `seen`, the types and shapes of real work; before any has come, as the card's
    preprocessing says. None where nobody knows how long they should be, or they would be huge.
    """
    shapes = {name: (dtype, shape) for name, dtype, shape in seen or ()}
    size = card.preprocessing.get("size")
    feeds: dict[str, Array] = {}
    for spec in card.inputs:
        dtype, shape = np.dtype(spec.dtype), _fixed(spec, shapes, size)
        if shape is None or dtype.itemsize * int(np.prod(shape, dtype=np.float64)) > _MAX_FEED_BYTES:
            return None
        if dtype.kind == "O":
            feeds[spec.name] = np.full(shape, "", object)
        elif dtype.kind == "f":
            # Zeros would be too easy: a net may skip them, or meet denormal numbers that are slow.
            feeds[spec.name] = np.random.default_rng(0).random(shape, np.float32).astype(dtype)
        else:
            feeds[spec.name] = np.zeros(shape, dtype)
    return feeds or None


def _fixed(spec: TensorSpec, shapes: Mapping[str, tuple[str, tuple[int, ...]]], size: object) -> tuple[int, ...] | None:
    """Return the shape of one row of an input, or of as many as the net insists on."""
    if not spec.shape:
        return ()
    first = spec.shape[0] if isinstance(spec.shape[0], int) else 1
    rest: tuple[int | str | None, ...] = spec.shape[1:]
    known = shapes.get(spec.name)
    if known is not None and len(known[1]) == len(rest):
        rest = known[1]
    elif len(rest) == 3 and isinstance(size, list | tuple) and len(size) == 2:
        sides = [side if isinstance(side, int) else 0 for side in rest]
        width, height = size
        rest = (height, width, sides[2]) if sides[2] in (1, 3, 4) else (sides[0] or 3, height, width)
    if not all(isinstance(side, int) and side > 0 for side in rest):
        return None
    return (first, *(side for side in rest if isinstance(side, int)))


def _cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(("model name", "CPU part")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
