"""The request log: a row for each request in the database, written behind the requests' backs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

import structlog

from sightline.core.access import RequestRow
from sightline.core.errors import Unavailable
from sightline.core.ports import ArtifactStore, Meter
from sightline.core.stores import Kept, MetadataStore
from sightline.serve.retention import MediaLimits, Retention

if TYPE_CHECKING:
    from sightline.settings.model import RecordsSettings

log = structlog.get_logger()
BATCH = 500
"""Rows in one transaction."""
MOST_WAITING = 20_000
"""Rows that wait for the database, some 10 MB; the oldest are given up then."""
EVERY_S = 1.0
_LONGEST_WAIT_S = 30.0  # between two tries while the database is away
_LAST_S = 5.0  # for the rest at the end


class RequestLog:
    """Takes rows from an event loop at once, and writes them about every second or every 500 rows.

    While the database is away rows wait; when too many do, the oldest are given up and counted. A process that is
    killed without warning loses what waits: the rows of its last second. With `request_days` 0 nothing is written.
    Old rows of every kind, and old media of events, are forgotten meanwhile, see `Retention`.

    Args:
        store: gives the database when it is needed.
        days: how long rows are kept: the settings `records`.
        meter: counts `request_log_rows` by outcome, `written` or `lost`; None: nobody does.
        artifacts: gives the store of the media of events; None: they are left alone.
        every_s: seconds that a row waits at most.
        batch: rows that are written at once.
        most_waiting: rows that may wait.
    """

    def __init__(
        self,
        store: Callable[[], MetadataStore],
        days: RecordsSettings,
        *,
        meter: Meter | None = None,
        artifacts: Callable[[], ArtifactStore] | None = None,
        every_s: float = EVERY_S,
        batch: int = BATCH,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.num_lost = 0
        self._store = store
        self._meter = meter
        self._every_s = every_s
        self._batch = batch
        self._rows: deque[RequestRow] = deque(maxlen=most_waiting)
        self._most_waiting = most_waiting
        self._wanted = days.request_days > 0
        self._wake = Event()
        self._stopping = Event()
        self._lock = Lock()
        self._thread: Thread | None = None
        kept: dict[Kept, int] = {
            "requests": days.request_days,
            "events": days.event_days,
            "predictions": days.prediction_days,
            "runs": days.run_days,
            "deliveries": days.event_days,
            "audit": days.audit_days,
        }
        media = None
        if artifacts is not None:
            most_bytes = None if days.media_gb is None else round(days.media_gb * 1e9)
            media = MediaLimits(artifacts=artifacts, days=days.media_days, most_bytes=most_bytes)
        self.retention = Retention(store, kept, media=media, artifacts=artifacts)

    def start(self) -> None:
        """Begin to write and to forget; rows that came before are not lost. A second call does nothing."""
        self.retention.start()
        if self._wanted and self._thread is None:
            self._thread = Thread(target=self._run, name="request-log", daemon=True)
            self._thread.start()

    def add(self, row: RequestRow) -> None:
        """Take a row; never waits, and may be called from any thread."""
        if not self._wanted or self._stopping.is_set():
            return
        with self._lock:
            if len(self._rows) == self._most_waiting:
                self.num_lost += 1
            self._rows.append(row)
            num = len(self._rows)
        if num == self._batch:
            self._wake.set()

    def close(self) -> None:
        """Write the rest, for some seconds at most, and end; a second call does nothing."""
        self._stopping.set()
        self._wake.set()
        self.retention.close()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_LAST_S)

    def _run(self) -> None:
        """Write batches until the end; a batch that the database did not take is tried again."""
        batch: list[RequestRow] = []
        wait_s = self._every_s
        is_away = False
        while True:
            is_last = self._stopping.is_set()
            if not is_last:
                self._wake.wait(wait_s)
                self._wake.clear()
            batch = batch or self._taken()
            while batch:
                try:
                    self._store().requests.record(batch)
                except Unavailable as error:
                    if not is_away:
                        log.warning("request log waits for the database", error=str(error))
                    is_away, wait_s = True, min(2 * wait_s, _LONGEST_WAIT_S)
                    self._wake.clear()
                    break
                except Exception as error:  # noqa: BLE001 - rows that nobody can write must not stop those behind them
                    log.error("rows of the request log lost", num=len(batch), error=str(error))
                    self._lost(len(batch))
                else:
                    self._count("written", len(batch))
                    if is_away:
                        log.info("request log writes again", lost=self.num_lost)
                    is_away, wait_s = False, self._every_s
                batch = self._taken()
            if is_last:
                if batch or self._rows:
                    num = len(batch) + len(self._rows)
                    log.error("rows of the request log lost", num=num, error="the database is away at the end")
                    self._lost(num)
                return

    def _taken(self) -> list[RequestRow]:
        with self._lock:
            return [self._rows.popleft() for _ in range(min(self._batch, len(self._rows)))]

    def _lost(self, num: int) -> None:
        with self._lock:
            self.num_lost += num
        self._count("lost", num)

    def _count(self, outcome: str, num: int) -> None:
        if self._meter is not None:
            self._meter.count("request_log_rows", num, outcome=outcome)
