"""What a model reference stands for now, and the handles that callers hold on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError

from sightline.core.errors import Cancelled, Conflict, DeadlineExceeded
from sightline.core.model import ModelCard
from sightline.core.ports import Array, ModelHandle, Tensors
from sightline.engine.call import Call, Priority, current_call
from sightline.engine.traffic import Shadow, Split
from sightline.engine.versions import Version, same_reading

_POLL_S = 0.2  # how often a waiting caller looks whether it has been given up


class Slot:
    """A reference and the version that it means now.

    Its attributes are replaced, never changed in place, so that callers read them without a lock.

    Attributes:
        ref: the reference, as callers give it.
        name: the model's name.
        current: the version that it means.
        split: shares for several versions; None where all calls go to `current`.
        shadow: gets copies of calls; None where nothing does.
    """

    def __init__(self, ref: str, current: Version) -> None:
        self.ref = ref
        self.name = current.name
        self.current = current
        self.split: Split | None = None
        self.shadow: Shadow | None = None

    def pick(self) -> Version:
        """Return the version for the next call."""
        split = self.split
        return self.current if split is None else split.pick()

    def versions(self) -> list[Version]:
        """Return all versions that the next call may get."""
        split = self.split
        return [self.current] if split is None else split.versions


class Handle(ModelHandle):
    """A caller's view of one reference.

    Args:
        slot: what the reference means.
        pinned: gives another version of the model of this slot.
    """

    def __init__(self, slot: Slot, pinned: Callable[[Slot, str], Version]) -> None:
        self._slot = slot
        self._pinned = pinned
        self._card: ModelCard | None = None
        self._began: Version | None = None
        self._fitting: frozenset[Version] = frozenset()
        self._choice: tuple[Call, Version] | None = None

    @property
    def card(self) -> ModelCard:
        """The card of the version that this call runs; opens the model."""
        call = current_call()
        version = self._version(call)
        opened = version.open(call)
        if self._card is None and call.pinned is None:
            self._card, self._began, self._fitting = opened.session.card, version, frozenset((version,))
        return opened.session.card

    @property
    def version(self) -> str:
        """`name@version` of what this call runs, or the next one would."""
        call = current_call()
        if call.pinned is not None or (self._choice is not None and self._choice[0] is call):
            return self._version(call).ref
        current = self._slot.current
        return current.ref if self._began is None or self._fits(current) else self._began.ref

    @property
    def is_open(self) -> bool:
        """True when `submit` returns at once; the model stays open for a moment, so that it can."""
        call = current_call()
        if call.pinned is not None:
            return self._version(call).touch()
        if self._slot.split is None and self._began is None:
            return self._slot.current.touch()
        wanted = [version if self._fits(version) else self._began for version in self._slot.versions()]
        return all(version is None or version.touch() for version in wanted)

    @property
    def is_stale(self) -> bool:
        """True when the reference means a version now that is read in another way than `card`."""
        return self._card is not None and not self._fits(self._slot.current)

    def submit(self, feeds: Tensors) -> Future[dict[str, Array]]:
        """Give work to the model and return at once; a model that is closed is opened first."""
        return self._submit(feeds, current_call())

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Return all outputs for `feeds`."""
        call = current_call()
        future = self._submit(feeds, call, here=True)
        while True:
            left_s = None if call.deadline_s is None else max(0.0, call.deadline_s - time.monotonic())
            wait_s = left_s if call.cancelled is None else min(_POLL_S, _POLL_S if left_s is None else left_s)
            try:
                return future.result(wait_s)
            except LateError:
                # Python 3.11 has one TimeoutError: this may be a runtime's own, and an answer may have come just now.
                if future.done():
                    return future.result()
            if call.cancelled is not None and call.cancelled.is_set():
                future.cancel()
                raise Cancelled("The caller gave up before the model answered.")
            if left_s is not None and call.deadline_s is not None and time.monotonic() >= call.deadline_s:
                future.cancel()
                raise DeadlineExceeded("The deadline passed before the model answered.")

    def _submit(self, feeds: Tensors, call: Call, *, here: bool = False) -> Future[dict[str, Array]]:
        version = self._version(call)
        work = version.submit(feeds, call, here=here)
        shadow = self._slot.shadow
        if shadow is not None and version is not shadow.candidate and call.priority is not Priority.JOB:
            shadow.copy(feeds, work)
        return work.future

    def _version(self, call: Call) -> Version:
        """Return the version for `call`, the same whenever the same call asks."""
        choice = self._choice
        if choice is not None and choice[0] is call:
            return choice[1]
        if call.pinned is not None:
            version = self._pinned(self._slot, call.pinned)
            if not self._fits(version):
                raise Conflict(
                    f"{version.ref} is read in another way than the version that was opened.",
                    cure=f"Open {version.ref} by this name.",
                )
        else:
            version = self._slot.pick()
            if self._began is not None and not self._fits(version):
                version = self._began
        self._choice = (call, version)
        return version

    def _fits(self, version: Version) -> bool:
        """Return whether `version` is read as the card that this handle gave; all are, before it gave one."""
        if self._card is None or version in self._fitting:
            return True
        if not same_reading(self._card, version.card or version.open().session.card):
            return False
        self._fitting |= {version}
        return True
