"""A live address, connection after connection: states, waits and epochs, until somebody stops it.

Knows nothing of how a connection is made; every failure of one is only the beginning of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from threading import Event as Flag

import av
import structlog

from sightline.core.errors import SightlineError, SourceUnreachable
from sightline.core.plugins import Context, SourceState
from sightline.core.sample import Frame, Sample
from sightline.core.urls import redacted
from sightline.packs.vision.sources.backoff import Backoff
from sightline.packs.vision.sources.connection import Connection
from sightline.packs.vision.sources.opening import cause_of, is_hopeless, is_refusal
from sightline.packs.vision.sources.watchdog import Stalled

log = structlog.get_logger()
_NUDGE_S = 0.001
_GLANCE_S = 0.1  # how soon a wait notices that somebody does not want to wait
_SIGN_S = 5.0  # how often a source that waits says so, lest its thread be taken for lost


class LiveReading:
    """Reads one live address for ever.

    Args:
        context: of the source.
        url: for the log.
        connect: opens the address.
        timeout_s: after which a connection on which nothing comes is given up; for messages.
        retry_max_s: longest wait before it is opened again.
        monotonic: seconds.
    """

    def __init__(
        self,
        context: Context,
        url: str,
        *,
        connect: Callable[[], AbstractContextManager[Connection]],
        timeout_s: float,
        retry_max_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._context = context
        self._url = redacted(url)
        self._connect = connect
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._backoff = Backoff(retry_max_s)
        self._verdict: tuple[SourceState, str] | None = None
        self._lost = ""
        self._first_s: float | None = None
        self._media_s = 0.0
        self._tries = 0
        self._hurried = Flag()

    def reconnect(self) -> None:
        """Make the connection anew, now; called by any thread."""
        self._hurried.set()

    def samples(self) -> Iterator[Sample[Frame]]:
        """Yield frames until the source is stopped, whatever the other side does."""
        context = self._context
        epoch = context.epoch
        while not context.stopping.is_set():
            seq, error = 0, None
            try:
                with self._connect() as connection:
                    for sample in self._of_one(connection, epoch):
                        seq += 1
                        yield sample
                if context.stopping.is_set():
                    return
            except (av.FFmpegError, SightlineError, OSError, ValueError) as failure:
                error = failure
            epoch += bool(seq)
            self._wait(error)

    def _of_one(self, connection: Connection, epoch: int) -> Iterator[Sample[Frame]]:
        self._hurried.clear()  # what was asked for is made
        now_s = self._monotonic()
        self._first_s = now_s if self._first_s is None else self._first_s
        self._verdict = None
        # media time goes on in the next epoch; a sender that was faster than the clock must not turn it back
        base_s = max(now_s - self._first_s, self._media_s)
        try:
            for sample in connection.samples(epoch, base_s, None):
                self._media_s = (sample.clocks.pts_s or 0.0) + _NUDGE_S
                self._backoff.good(self._monotonic())
                self._judge(connection, epoch)
                yield sample
                if self._hurried.is_set():
                    raise SourceUnreachable("Somebody asked for a new connection.")
        except Stalled as error:
            self._context.state(SourceState.STALLED, error.message)  # before it is closed, which may take its time
            raise
        except (av.error.ExitError, av.error.TimeoutError):
            self._context.state(SourceState.STALLED, f"no packet for {self._timeout_s:g} s")
            raise

    def _judge(self, connection: Connection, epoch: int) -> None:
        """Tell how the connection is, when that has changed."""
        verdict = connection.verdict
        if verdict == self._verdict:
            return
        self._verdict = state, reason = verdict
        context = self._context
        context.state(state, reason)
        if reason:
            log.warning("source is odd", source=context.source, url=self._url, state=state.value, reason=reason)
            kind = "frozen" if state is SourceState.FROZEN else "rate"
            context.ports.meter.count("source_oddities", case=context.case, source=context.source, kind=kind)
        else:
            log.info("source is live", source=context.source, url=self._url, epoch=epoch)
            self._lost, self._tries = "", 0

    def _wait(self, error: Exception | None) -> None:
        """Report why the connection ended, once where it is the same again, and wait before the next."""
        context = self._context
        refused = error is not None and is_refusal(error)
        hopeless = error is not None and is_hopeless(error)
        reason = cause_of(error) if error else "the stream ended"
        wait_s = self._backoff.failed(self._monotonic(), hopeless=hopeless, refused=refused)
        if reason != self._lost:
            log.warning("source is lost", source=context.source, url=self._url, reason=reason)
        self._lost = reason
        self._tries += 1
        until_s = self._monotonic() + wait_s
        until, sign_s = context.now() + timedelta(seconds=wait_s), -_SIGN_S
        while (left_s := until_s - (now_s := self._monotonic())) > 0 and not self._hurried.is_set():
            if now_s - sign_s >= _SIGN_S:
                context.state(SourceState.UNAUTHORISED if refused else SourceState.BACKOFF, reason)
                context.retrying(until, self._tries)
                sign_s = now_s
            if context.stopping.wait(min(left_s, _GLANCE_S)):
                return
        self._hurried.clear()
        context.state(SourceState.CONNECTING, "")
