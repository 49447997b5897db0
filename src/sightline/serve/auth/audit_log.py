"""The audit lines of a process: into its log at once, and into the chain of the database behind the requests' backs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Condition, Thread

import structlog

from sightline.core.access import Caller
from sightline.core.audit import AuditEntry
from sightline.core.errors import Unavailable
from sightline.core.ports import Meter
from sightline.core.stores import MetadataStore
from sightline.serve.auth.audit import audit, chained, shown_path

log = structlog.get_logger()
MOST_WAITING = 20_000
"""Lines that wait for a database that is away, some 10 MB; the oldest are given up then."""
_BATCH = 500
_LONGEST_WAIT_S = 10.0
_LAST_S = 5.0  # for the rest at the end
_MOST_LETTERS = 256


class AuditLog:
    """Takes lines from any thread without waiting, and binds them to the chain within milliseconds.

    A process that is killed without warning loses what it has not bound yet; those lines are in its log. A call whose
    caller nobody knows is in the log alone: strangers shall not fill the database.

    Args:
        store: gives the database when it is needed.
        meter: counts `audit_lines` by outcome, `bound` or `lost`; None: nobody does.
    """

    def __init__(self, store: Callable[[], MetadataStore], meter: Meter | None = None) -> None:
        self._store = store
        self._meter = meter
        self._entries: deque[AuditEntry] = deque()
        self._changed = Condition()
        self._stopping = False
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to write; lines that came before are not lost. A second call does nothing."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="audit-log", daemon=True)
            self._thread.start()

    def note(self, caller: Caller, *, method: str, route: str, status: int, request_id: str, path: str = "") -> None:
        """Write down what was done; the arguments are those of `audit`."""
        shown = shown_path(path)
        audit(caller, method=method, route=route, status=status, request_id=request_id, path=shown)
        if status == 401:
            return
        entry = AuditEntry(
            time=datetime.now(UTC),
            caller=_kept(caller.id) or "anonymous",
            project=_kept(caller.project),
            method=_kept(method) or "-",
            route=_kept(route) or "-",
            path=_kept(shown),
            status=status,
            request=_kept(request_id),
        )
        with self._changed:
            if len(self._entries) >= MOST_WAITING:
                self._entries.popleft()
                self._count("lost", 1)
            self._entries.append(entry)
            self._changed.notify()

    def close(self) -> None:
        """Write the rest, for some seconds at most, and end; a second call does nothing."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_LAST_S)

    def _run(self) -> None:
        wait_s, is_away = 0.1, False
        while batch := self._next():
            try:
                lines = self._store().audit.append(batch)
            except Unavailable as error:
                if self._stopping:
                    self._give_up(batch, str(error))
                    return
                if not is_away:
                    log.warning("audit lines wait for the database", error=str(error))
                is_away = True
                with self._changed:
                    self._entries.extendleft(reversed(batch))
                    self._changed.wait_for(lambda: self._stopping, wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            except Exception as error:  # noqa: BLE001 - lines that cannot be bound must not stop those behind them
                self._give_up(batch, str(error))
            else:
                chained(lines[-1])
                self._count("bound", len(lines))
                wait_s, is_away = 0.1, False

    def _next(self) -> list[AuditEntry]:
        """Return what waits, as soon as something does; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._stopping)
            return [self._entries.popleft() for _ in range(min(_BATCH, len(self._entries)))]

    def _give_up(self, batch: list[AuditEntry], reason: str) -> None:
        log.error("audit lines are in the log alone", num=len(batch), error=reason)
        self._count("lost", len(batch))

    def _count(self, outcome: str, num: int) -> None:
        if self._meter is not None:
            self._meter.count("audit_lines", num, outcome=outcome)


def _kept(text: str) -> str:
    """Return a text as a database keeps it."""
    return text[:_MOST_LETTERS].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
