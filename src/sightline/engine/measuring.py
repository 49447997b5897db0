"""Finds out, while nobody needs the machine, how many rows, workers and threads suit a model best.

Real work goes first: before each run the stopwatch waits until all models are idle, and a run that real work
came into is not counted. What a model is given is made up from its card. All runs for one model together take
about a second and a half. Larger batches are tried while they take less than a quarter of a second, so that nobody
waits longer than that, or than one call of the model takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event as Flag
from threading import Lock, Thread

import numpy as np
import structlog

from sightline.core.errors import SightlineError
from sightline.core.onnx_metadata import digest
from sightline.core.ports import Runtime, Session, Tensors
from sightline.engine.layouts import Layout, LayoutFiles, SessionLayout, made_up_feeds, num_cores
from sightline.engine.opened import OpenedModel
from sightline.engine.versions import Version

log = structlog.get_logger()
_BUDGET_S = 1.5
_LONGEST_S = 0.25
_IDLE_S = 0.1  # so long nobody has asked for anything: an idle moment
_POLL_S = 0.02
_RUNS = 3
_TRIES = 20  # a run is disturbed this often at most before the model is left for a later moment
_GAIN_OF_BATCH = 1.05  # larger batches make single callers wait longer, so they must pay
_GAIN_OF_THREADS = 1.25  # threads inside a call burn time waiting for each other, and neighbours feign small gains
_LARGEST_PAIR = 1 << 30  # bytes of a model and its double, that is opened to try threads inside calls
_BATCHES = (2, 4, 8, 16, 32)


class OutOfTime(Exception):
    """There is no time left for this model; what was found so far holds."""


class Disturbed(Exception):
    """Real work goes on all the time, or the process ends; nothing was found."""


class Stopwatch:
    """Times runs that nothing disturbs.

    Args:
        is_idle: tells whether nobody needs the machine.
        stopping: ends all.
        now: gives the time in seconds.
    """

    def __init__(
        self, is_idle: Callable[[], bool], stopping: Flag, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._is_idle = is_idle
        self._stopping = stopping
        self._now = now
        self._left_s = _BUDGET_S

    def best(self, run: Callable[[], object], *, runs: int = _RUNS) -> float:
        """Return the seconds of the fastest of `runs` undisturbed runs.

        Raises:
            OutOfTime: the time for this model is spent.
            Disturbed: it never was quiet, or the process ends.
        """
        seconds: list[float] = []
        for _ in range(_TRIES):
            self.await_quiet()
            if self._left_s <= 0:
                raise OutOfTime
            begin_s = self._now()
            run()
            taken_s = self._now() - begin_s
            self._left_s -= taken_s
            if self._is_idle():
                seconds.append(taken_s)
            if len(seconds) == runs or (seconds and taken_s > _LONGEST_S):
                return min(seconds)
        raise Disturbed

    def await_quiet(self) -> None:
        """Wait until nobody needs the machine.

        Raises:
            Disturbed: the process ends.
        """
        while not self._is_idle():
            if self._stopping.wait(_POLL_S):
                break
        if self._stopping.is_set():
            raise Disturbed


def best_batch(session: Session, row: Tensors, first_s: float, watch: Stopwatch) -> int:
    """Return how many rows a call should have for the most rows a second; joining the rows is part of the price.

    Args:
        session: the model.
        row: input of one row.
        first_s: seconds that one row takes.
        watch: times the runs.
    """
    best, best_s = 1, first_s
    for num in _BATCHES:
        # Where twice as many rows take less time each, the next twice may too; else the end is reached.
        if num * best_s > _LONGEST_S or num > 4 * best:
            break
        rows = [row] * num
        try:
            each_s = watch.best(lambda rows=rows: session.run(_joined(rows))) / num  # type: ignore[misc]
        except (OutOfTime, SightlineError):  # a net may refuse many rows at once, or have no memory for them
            break
        if each_s * _GAIN_OF_BATCH < best_s:
            best, best_s = num, each_s
    return best


def _joined(rows: Sequence[Tensors]) -> Tensors:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def rows_a_second(session: Session, feeds: Tensors, num_workers: int, watch: Stopwatch) -> float:
    """Return how many calls a second `num_workers` callers get through together."""
    each = 2

    def loop(_: int) -> None:
        for _ in range(each):
            session.run(feeds)

    with ThreadPoolExecutor(num_workers) as pool:
        list(pool.map(loop, range(num_workers)))  # so that the threads are there
        seconds = watch.best(lambda: list(pool.map(loop, range(num_workers))))
    return each * num_workers / seconds


class Measuring:
    """Measures models one after the other in a thread of its own, which ends when there is nothing to do.

    Args:
        runtime: opens models with other numbers of threads.
        layout: what the settings say; only what they leave open is measured.
        files: remembers.
        is_idle: tells whether no model has anything to do, nor had a moment ago.
        now: gives the time in seconds.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        layout: SessionLayout,
        files: LayoutFiles | None,
        is_idle: Callable[[float], bool],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._runtime = runtime
        self._layout = layout
        self._files = files
        self._is_idle = is_idle
        self._now = now
        self._stopping = Flag()
        self._lock = Lock()
        self._waiting: list[Version] = []
        self._thread: Thread | None = None

    def add(self, version: Version) -> None:
        """Measure a version when there is time."""
        with self._lock:
            if self._stopping.is_set() or version in self._waiting:
                return
            self._waiting.append(version)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="measuring", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Measure nothing more."""
        self._stopping.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(5)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._stopping.is_set() or not self._waiting:
                    self._thread = None
                    return
                version = self._waiting[0]
            again = False
            try:
                self._measure(version)
            except Disturbed:
                again = True
            except Exception as error:  # noqa: BLE001 - a model that cannot be measured stays as it is; the others wait
                log.warning("model could not be measured", model=version.ref, error=str(error))
            with self._lock:
                self._waiting.remove(version)
                if again:
                    self._waiting.append(version)

    def _measure(self, version: Version) -> None:
        watch = Stopwatch(lambda: self._is_idle(_IDLE_S), self._stopping, self._now)
        watch.await_quiet()
        sum_ = version.digest or _digest(version)
        found = self._files.find(sum_) if self._files is not None else None
        opened = version.opened
        if opened is None:
            return  # it will be measured when it is opened again
        session: Session | None = None
        if found is None:
            best = self._found(version, opened, watch)
            if best is None:
                return
            found, session = best
            if version.opened is not opened:  # closed meanwhile: what was found is about a session that failed
                if session is not None:
                    session.close()
                return
            if self._files is not None:
                self._files.keep(sum_, found)
            log.info(
                "model measured",
                model=version.ref,
                max_batch=found.max_batch,
                workers=found.num_workers,
                threads=found.num_threads,
            )
        elif found.num_threads != opened.layout.num_threads and self._layout.num_workers is None:
            session = self._with_threads(version, found.num_threads)
        version.change_layout(found, session)

    def _found(self, version: Version, opened: OpenedModel, watch: Stopwatch) -> tuple[Layout, Session | None] | None:
        """Return the best layout, and the session that was opened for it where it needs another one.

        None where nothing can be measured: nobody knows what the net takes, or a call is long, so that nothing matters.
        """
        layout = opened.layout
        row = made_up_feeds(opened.session.card, opened.seen)
        if row is None:
            return None
        session: Session | None = None
        try:
            # The first run of a session is the slowest. One that is long for all that shows that nothing can be gained.
            first_s = watch.best(lambda: opened.session.run(row), runs=1)
            if first_s > _LONGEST_S:
                return None
            first_s = watch.best(lambda: opened.session.run(row))
        except (OutOfTime, SightlineError):
            return None
        if self._layout.num_workers is None and first_s < _LONGEST_S / 2:
            layout, session = self._threads(version, opened, row, watch)
        try:
            if session is not None:
                with suppress(OutOfTime):
                    first_s = watch.best(lambda: session.run(row))
            if (batch := self._layout.max_batch) is None:
                free = opened.batchable and opened.fixed_rows is None
                batch = best_batch(session or opened.session, row, first_s, watch) if free else opened.fixed_rows or 1
        except BaseException:
            if session is not None:
                session.close()
            raise
        return Layout(max_batch=batch, num_workers=layout.num_workers, num_threads=layout.num_threads), session

    def _threads(
        self, version: Version, opened: OpenedModel, row: Tensors, watch: Stopwatch
    ) -> tuple[Layout, Session | None]:
        """Return the better of: a call for each core, or one call at a time with a thread for each core."""
        plain, cores = opened.layout, num_cores()
        device = self._layout.device
        on_cpu = (self._runtime.devices() or ("",))[0] == "cpu" if device == "auto" else device == "cpu"
        room = min(self._layout.memory_bytes or _LARGEST_PAIR, _LARGEST_PAIR) // 2
        if cores < 2 or not on_cpu or version.open_bytes > room:
            return plain, None
        session: Session | None = None
        try:
            rate = rows_a_second(opened.session, row, plain.num_workers, watch)
            session = self._with_threads(version, cores)
            if session is not None:
                session.run(row)
                if rows_a_second(session, row, 1, watch) > _GAIN_OF_THREADS * rate:
                    return Layout(num_workers=1, num_threads=cores), session
        except (OutOfTime, SightlineError):
            pass
        except BaseException:
            if session is not None:
                session.close()
            raise
        if session is not None:
            session.close()
        return plain, None

    def _with_threads(self, version: Version, num: int) -> Session | None:
        runtime = self._runtime.with_threads(num)
        return None if runtime is None else runtime.open(version.path, name=version.name, device=self._layout.device)


def _digest(version: Version) -> str:
    with version.path.open("rb") as file:
        return digest(file)
