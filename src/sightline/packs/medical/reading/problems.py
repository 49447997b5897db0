"""What is wrong with a study, and what is done about it: nothing is ever mended in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sightline.core.errors import InvalidMedia


class Policy(StrEnum):
    """What is done with a study whose geometry is not as it should be.

    `refuse`: any problem refuses it. `repair`: what can be mended without guessing is mended and told, the rest refuses
    it. `accept`: what cannot be mended is taken as well as it can be, and told.
    """

    REFUSE = "refuse"
    REPAIR = "repair"
    ACCEPT = "accept"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        code: stable word for it, see docs/explanation/geometry.md.
        severity: `repaired`, `accepted` (it is still there), or `note` (nothing was wrong with the geometry).
        slices: along K, in the volume that came out.
    """

    code: str
    message: str
    severity: str
    slices: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as the metadata of a study tell it."""
        return {"code": self.code, "message": self.message, "severity": self.severity, "slices": list(self.slices)}


class Problems:
    """Collects what is wrong with one study."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.items: list[Problem] = []
        self._refused: list[Problem] = []

    def note(self, code: str, message: str, slices: Sequence[int] = ()) -> None:
        """Tell what was done with values, not with places; no policy refuses it."""
        self.items.append(Problem(code=code, message=message, severity="note", slices=tuple(slices)))

    def found(
        self,
        code: str,
        what: str,
        *,
        repair: str | None = None,
        keep: str | None = None,
        accept: str | None = None,
        slices: Sequence[int] = (),
    ) -> bool:
        """Take up a problem; return True where it shall be mended now.

        Args:
            code: stable word.
            what: is wrong, as a sentence.
            repair: how it is mended, as a clause; None: it cannot be, so that `repair` refuses it.
            keep: how both `repair` and `accept` take it, because the volume can hold it as it is.
            accept: how `accept` takes it; None: it is mended there too.
            slices: along K.
        """
        mended = (
            self.policy is not Policy.REFUSE and repair is not None and (self.policy is Policy.REPAIR or accept is None)
        )
        taken = keep if self.policy is not Policy.REFUSE and keep is not None else None
        if taken is None and self.policy is Policy.ACCEPT:
            taken = accept
        problem = Problem(code=code, message=what, severity="accepted", slices=tuple(slices))
        if mended:
            self.items.append(replace(problem, message=f"{what}; {repair}.", severity="repaired"))
        elif taken is not None:
            self.items.append(replace(problem, message=f"{what}; {taken}."))
        else:
            self._refused.append(replace(problem, message=f"{what}."))
        return mended

    def refuse(self) -> None:
        """Refuse the study if something stands against it.

        Raises:
            InvalidMedia: with every problem that the policy does not let pass.
        """
        if not self._refused:
            return
        told = " ".join(f"{each.message} ({each.code})" for each in self._refused[:5])
        more = f" And {len(self._refused) - 5} more." if len(self._refused) > 5 else ""
        weaker = {Policy.REFUSE: "repair", Policy.REPAIR: "accept"}.get(self.policy)
        cure = f"Send the series anew, or let the profile {weaker} it (geometry: {weaker})." if weaker else ""
        raise InvalidMedia(told + more, cure=cure or "Send the series anew.")
