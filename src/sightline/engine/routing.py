"""Which calls go to which version: the slots of this process, and the splits and shadows of their models."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import structlog

from sightline.core.errors import Conflict, ModelNotFound
from sightline.core.prediction import JsonObject
from sightline.engine.slots import Slot
from sightline.engine.traffic import Shadow, Split
from sightline.engine.versions import READING, Version

log = structlog.get_logger()


class Routing:
    """The slots, each with the version that its reference means and the traffic of its model.

    A slot that names a version, or an alias other than `production`, has no traffic: who names a version gets it.
    """

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}
        self._splits: dict[str, Split] = {}
        self._shadows: dict[str, Shadow] = {}
        self._lock = Lock()

    def find(self, ref: str) -> Slot | None:
        """Return the slot of a reference."""
        with self._lock:
            return self._slots.get(ref)

    def slots(self) -> list[Slot]:
        """Return all slots."""
        with self._lock:
            return list(self._slots.values())

    def add(self, ref: str, version: Version) -> Slot:
        """Return the slot of a reference, made with `version` if there is none."""
        with self._lock:
            slot = self._slots.setdefault(ref, Slot(ref, version))
            self._route(slot)
            return slot

    def move(self, slot: Slot, version: Version) -> None:
        """Let a slot mean another version; where that is the model's main one, its split and a won trial are over."""
        with self._lock:
            slot.current = version
            won: Shadow | None = None
            if _is_main(slot):
                self._splits.pop(slot.name, None)
                won = self._shadows.get(slot.name)
                if won is not None and won.candidate is version:
                    del self._shadows[slot.name]
                else:
                    won = None
            for other in self._slots.values():
                self._route(other)
        if won is not None:
            won.close()

    def wanted(self) -> set[int]:
        """Return the identities of all versions that some call may get."""
        with self._lock:
            meant = {id(version) for slot in self._slots.values() for version in slot.versions()}
            return meant | {id(shadow.candidate) for shadow in self._shadows.values()}

    def split(self, current: Version, parts: Sequence[tuple[Version, float]]) -> None:
        """Share the calls of a model among versions, which are opened and run once before; no parts: all to `current`.

        Raises:
            Conflict: a version is read in another way than the current one.
        """
        for version, weight in parts:
            if weight > 0:
                version.warm()
                _refuse_other(current, version, READING)
        with self._lock:
            self._splits.pop(current.name, None)
            if parts:
                self._splits[current.name] = Split(parts)
            for slot in self._slots.values():
                self._route(slot)
        log.info("calls are split", model=current.name, weights={version.ref: weight for version, weight in parts})

    def shares(self, name: str) -> dict[str, float]:
        """Return the share of each version of a model whose calls are split; else nothing."""
        with self._lock:
            split = self._splits.get(name)
        return {} if split is None else split.shares

    def shadow(self, current: Version, candidate: Version, share: float) -> None:
        """Copy a share of the calls of a model to another version, which is opened and run once before.

        Raises:
            InvalidInput: the share is not above 0 and at most 1.
            Conflict: the candidate takes other inputs, or is the current version.
        """
        if candidate is current:
            raise Conflict(f"{candidate.ref} is the version that answers already.", cure="Name another version.")
        candidate.warm()
        _refuse_other(current, candidate, ("inputs", "preprocessing"))
        self._replace_shadow(current.name, Shadow(candidate, share))
        log.info("calls are copied", model=current.name, candidate=candidate.ref, share=share)

    def report(self, name: str) -> JsonObject:
        """Return what the shadow of a model has found.

        Raises:
            ModelNotFound: it has none.
        """
        with self._lock:
            shadow = self._shadows.get(name)
        if shadow is None:
            raise ModelNotFound(f"The model {name!r} has no shadow.", cure="Start one first.")
        return shadow.report()

    def has_shadow(self, name: str) -> bool:
        """Return whether calls of a model are copied to another version."""
        with self._lock:
            return name in self._shadows

    def stop_shadow(self, name: str) -> None:
        """Copy no more calls of a model."""
        self._replace_shadow(name, None)

    def close(self) -> None:
        """Forget all slots and end all traffic."""
        with self._lock:
            shadows = list(self._shadows.values())
            self._slots, self._splits, self._shadows = {}, {}, {}
        for shadow in shadows:
            shadow.close()

    def _replace_shadow(self, name: str, shadow: Shadow | None) -> None:
        with self._lock:
            before = self._shadows.pop(name, None)
            if shadow is not None:
                self._shadows[name] = shadow
            for slot in self._slots.values():
                self._route(slot)
        if before is not None:
            before.close()

    def _route(self, slot: Slot) -> None:
        """Let a slot know the traffic of its model."""
        if _is_main(slot):
            slot.split, slot.shadow = self._splits.get(slot.name), self._shadows.get(slot.name)


def _is_main(slot: Slot) -> bool:
    """Return whether a slot's reference is a model's plain name, or that with the alias that it stands for."""
    return slot.ref in (slot.name, f"{slot.name}@production")


def _refuse_other(current: Version, version: Version, fields: Sequence[str]) -> None:
    """Raise Conflict where two versions differ in one of `fields` of their cards."""
    one, other = current.open().session.card, version.open().session.card
    for name in fields:
        if getattr(one, name) != getattr(other, name):
            raise Conflict(
                f"{version.ref} differs from {current.ref} in its {name}.",
                cure="Such versions cannot take each other's place; move the alias instead.",
            )
