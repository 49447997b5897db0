"""What one listener wants to hear of: cases, sources, runs, types of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sightline.core.errors import InvalidInput
from sightline.core.events import TRANSIENT, checked_short_type

_MOST = 100  # names in one filter


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A filter; what is empty lets everything pass.

    Attributes:
        types: short types; `line.*` stands for all that begin with `line.`.
        runs: ids; an event says in its data of which run it is, a prediction does not.
    """

    cases: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    families: tuple[str, ...] = ()
    runs: frozenset[str] = frozenset()

    @staticmethod
    def check_known(query: Mapping[str, str], *more: str) -> None:
        """Check that an address has no parameter besides `case`, `source`, `access_token` and `more`.

        Raises:
            InvalidInput: it has; a wrong name of a filter would let everything pass.
        """
        known = ("case", "source", *more, "access_token")
        for name in query:
            if name not in known:
                raise InvalidInput(f"Unknown parameter {name[:60]!r}.", cure=f"Known: {', '.join(known)}.")

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Wanted:
        """Return the filter of `?case=&source=&run=&type=`, each a list with commas.

        Raises:
            InvalidInput: a type is none.
        """
        return cls.of(_split(query, "case"), _split(query, "source"), _split(query, "type"), _split(query, "run"))

    @classmethod
    def of(cls, cases: Iterable[str], sources: Iterable[str], types: Iterable[str], runs: Iterable[str] = ()) -> Wanted:
        """Return a filter of names.

        Raises:
            InvalidInput: a type is none.
        """
        named = [checked_short_type(each.removesuffix(".*")) + ".*" * each.endswith(".*") for each in types]
        return cls(
            cases=frozenset(cases),
            sources=frozenset(sources),
            types=frozenset(each for each in named if not each.endswith(".*")),
            families=tuple(each.removesuffix("*") for each in named if each.endswith(".*")),
            runs=frozenset(runs),
        )

    @property
    def is_all(self) -> bool:
        """True when everything passes."""
        return not (self.cases or self.sources or self.types or self.families or self.runs)

    @property
    def has_transient(self) -> bool:
        """True when it may let events pass that are never recorded."""
        return any(self.takes_type(short_type) for short_type in TRANSIENT)

    def takes(self, short_type: str, case: str, source: str, data: Mapping[str, Any]) -> bool:
        """Return whether an event passes.

        Args:
            short_type: of the event.
            case: where it comes from; empty where it belongs to none.
            source: of the case; empty where it belongs to none.
            data: of the event.
        """
        is_of_run = not self.runs or data.get("run") in self.runs
        return is_of_run and self.takes_type(short_type) and self.takes_place(case, source)

    def takes_type(self, short_type: str) -> bool:
        """Return whether events of this type pass, wherever they come from."""
        if not (self.types or self.families):
            return True
        return short_type in self.types or short_type.startswith(self.families)

    def takes_place(self, case: str, source: str) -> bool:
        """Return whether what comes from a source of a case passes; empty names are of what belongs to none."""
        return (not self.cases or case in self.cases) and (not self.sources or source in self.sources)


def _split(query: Mapping[str, str], name: str) -> list[str]:
    given = query.get(name, "")
    names = [each.strip() for each in given.split(",") if each.strip()]
    if given and not names:
        raise InvalidInput(f"?{name}= names nothing.", cure="Give names with commas between, or leave it out.")
    if len(names) > _MOST:
        raise InvalidInput(f"?{name}= has more than {_MOST} names.", cure="Leave it out to hear of all.")
    return names
