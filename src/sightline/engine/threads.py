"""Threads for requests that need more than a model: decoding, predictors, the database.

A bounded number of threads and a bounded queue before them: who comes when both are full hears it at once. A request
runs whole in one thread, so that it hops twice and no more.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any, TypeVar

from sightline.core.errors import Cancelled, DeadlineExceeded, Overloaded
from sightline.core.ports import Meter
from sightline.engine.call import Call, calling

T = TypeVar("T")
_JOIN_S = 5.0


class RequestThreads:
    """Runs functions for callers who wait.

    Args:
        num: most threads; they start when they are needed.
        queue: most requests that wait for one.
        meter: takes the numbers `requests_waiting`.
    """

    def __init__(self, num: int, *, queue: int, meter: Meter) -> None:
        self._num = num
        self._most = queue
        self._meter = meter
        self._waiting: deque[tuple[Future[Any], Call, Callable[[], Any], float]] = deque()
        self._threads: list[Thread] = []
        self._idle = 0
        self._closed = False
        self._changed = Condition()

    def submit(self, call: Call, work: Callable[[], T]) -> Future[T]:
        """Run `work` in a thread that works for `call`, and return its answer to come; waits for nothing.

        Raises:
            Overloaded: too many requests wait already.
            Cancelled: the server is being stopped.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise Cancelled("The server is being stopped.")
            if len(self._waiting) >= self._most:
                self._drop_abandoned()
            if len(self._waiting) >= self._most:
                raise Overloaded(f"{len(self._waiting)} requests wait already.", cure="Retry after a second.")
            self._waiting.append((future, call, work, time.monotonic()))
            if self._idle >= len(self._waiting):
                self._changed.notify()
            elif len(self._threads) < self._num:
                thread = Thread(target=self._work, name=f"request-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    @property
    def num_waiting(self) -> int:
        """Requests that wait for a thread."""
        return len(self._waiting)

    def close(self) -> None:
        """Refuse what waits, and wait a moment for what runs."""
        with self._changed:
            self._closed = True
            left, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for future, *_ in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(Cancelled("The server is being stopped."))
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _drop_abandoned(self) -> None:
        """Make room: whoever left, or will hear too late, needs no thread."""
        wanted = [not entry[0].cancelled() and _reason(entry[1]) is None for entry in self._waiting]
        gone = [entry for entry, is_wanted in zip(self._waiting, wanted, strict=True) if not is_wanted]
        self._waiting = deque(entry for entry, is_wanted in zip(self._waiting, wanted, strict=True) if is_wanted)
        for future, call, *_ in gone:
            if future.set_running_or_notify_cancel():
                future.set_exception(_reason(call) or Cancelled("The caller gave up."))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._waiting and not self._closed:
                    self._changed.wait()
                self._idle -= 1
                if self._closed:
                    return
                future, call, work, since_s = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            call.spent("queue", time.monotonic() - since_s)
            try:
                if error := _reason(call):
                    raise error
                with calling(call):
                    answer = work()
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who waits for it
                future.set_exception(error)
            else:
                future.set_result(answer)
            del future, call, work  # a thread that waits must not hold on to a picture


def _reason(call: Call) -> Exception | None:
    """Return why nobody wants the answer any more, or None."""
    if call.cancelled is not None and call.cancelled.is_set():
        return Cancelled("The caller left before the work began.")
    if call.deadline_s is not None and time.monotonic() > call.deadline_s:
        return DeadlineExceeded("The deadline passed while the request was waiting for a thread.")
    return None
