"""The lanes of a run, and how they come to be those that are wanted: one source at a time, the others untouched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock

import structlog

from sightline.core.plugins import Source
from sightline.engine.lanes import Lane

log = structlog.get_logger()
_LEFT = "it did not stop by itself and was left behind"
_EPOCHS_PER_TOKEN = 10_000
_EPOCHS_UNSEEN = 1_000  # reconnects that a process may have had after its last report


def first_epoch(token: int, last_seen: int = 0) -> int:
    """Return the epoch with which a source begins, so that no event of a run ever has the id of an earlier one.

    Args:
        token: of the holder; each process that takes the run up has a higher one.
        last_seen: the newest epoch of this source that an earlier holder reported.
    """
    return 1 + max((token - 1) * _EPOCHS_PER_TOKEN, last_seen + _EPOCHS_UNSEEN if last_seen else 0)


class Lineup:
    """The lanes of a run.

    `want` and `stop` may be called by any thread, all else by the one that executes the run.

    Args:
        make: name of a source, the source and its first epoch -> its lane.
        first: name of a source -> the epoch with which it begins when it is read for the first time.
        removed: told of a source that is gone.
        left: told of a source that does not stop by itself, and what is said of it.
        stuck: told of a source whose thread is left behind while it is read; another one follows.
        patience_s: how long a source may stay inside one call of foreign code after it was told to stop.
    """

    def __init__(
        self,
        make: Callable[[str, Source, int], Lane],
        *,
        first: Callable[[str], int],
        removed: Callable[[str], None],
        left: Callable[[str, str], None],
        stuck: Callable[[str], None],
        patience_s: float,
    ) -> None:
        self._make = make
        self._first = first
        self._removed = removed
        self._left = left
        self._stuck = stuck
        self._patience_s = patience_s
        self._wanted: dict[str, Source] = {}
        self._lanes: dict[str, Lane] = {}
        self._next_epochs: dict[str, int] = {}
        self._by: dict[str, str] = {}  # who asked for what is still to be done
        self._stopped = False
        self._lock = Lock()  # of `_lanes` and `_stopped`

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that there are now, those too that have ended by themselves."""
        with self._lock:
            return tuple(self._lanes.values())

    @property
    def wanted(self) -> Mapping[str, Source]:
        """The sources that shall be read."""
        return self._wanted

    @property
    def running(self) -> bool:
        """True while a source is being read, or what it gave is being analysed, or a lane is still to be changed."""
        lanes = self.lanes
        if any(lane.running for lane in lanes):
            return True
        # By identity: fields of a plug-in may be anything, arrays for instance, that cannot be compared.
        return not self._stopped and {lane.name: id(lane.wanted) for lane in lanes} != {
            name: id(source) for name, source in self._wanted.items()
        }

    def want(self, sources: Mapping[str, Source], by: str = "") -> None:
        """Say which sources shall be read from now on, and who asks; those that stay the same are not touched."""
        for source in sources.values():
            replace(source)  # one that cannot be copied is told to the caller, before it does harm
        before = self._wanted
        wanted = {
            name: before[name] if name in before and _same(before[name], source) else source
            for name, source in sources.items()
        }
        self._by |= {name: by for name in before | wanted if before.get(name) is not wanted.get(name)}
        self._wanted = wanted

    def tend(self) -> None:
        """Stop lanes that are not wanted, leave behind those that are stuck, and start what is missing."""
        wanted = self._wanted
        for lane in self.lanes:
            if wanted.get(lane.name) is not lane.wanted:
                why = "the source was changed" if lane.name in wanted else "the source was removed"
                lane.stop(why, self._by.get(lane.name, ""))
                self._look_after(lane)
                if not lane.running:
                    self._drop(lane, is_gone=lane.name not in wanted)
            elif lane.is_stuck:
                log.error("source is stuck; its thread is left behind", source=lane.name, epoch=lane.epoch)
                lane.leave("the source was stuck")
                self._stuck(lane.name)
                self._drop(lane, is_gone=False)
        for name, source in wanted.items():
            if name not in self._lanes:
                self._start(name, source)

    def stop(self, by: str = "") -> None:
        """Stop all lanes, and say who asks; none is started any more."""
        with self._lock:
            self._stopped = True
            lanes = tuple(self._lanes.values())
        for lane in lanes:
            lane.stop(by=by)

    def have_ended(self) -> bool:
        """Look after lanes that were stopped; return True when none is running."""
        lanes = self.lanes
        for lane in lanes:
            self._look_after(lane)
        return not any(lane.running for lane in lanes)

    def _look_after(self, lane: Lane) -> None:
        """Wait no longer for a source that is stuck in foreign code."""
        if lane.stuck_s > self._patience_s:
            log.warning("source does not stop; left behind", source=lane.name)
            lane.leave(_LEFT)
            self._left(lane.name, _LEFT)

    def _drop(self, lane: Lane, *, is_gone: bool) -> None:
        self._next_epochs[lane.name] = lane.epoch + 1
        with self._lock:
            del self._lanes[lane.name]
        if is_gone:
            self._by.pop(lane.name, None)
            self._removed(lane.name)

    def _start(self, name: str, source: Source) -> None:
        lane = self._make(name, source, self._next_epochs.get(name) or self._first(name))
        lane.by = self._by.pop(name, "")
        with self._lock:
            if self._stopped:
                return
            self._lanes[name] = lane
        lane.start()


def _same(one: Source, other: Source) -> bool:
    """Return whether two sources are configured alike; what cannot be compared is not."""
    if one is other:
        return True
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - fields of a plug-in may be anything, arrays for instance
        return False
