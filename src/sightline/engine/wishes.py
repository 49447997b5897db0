"""What is wanted of a run: its sources in this process, and its spec in the record, which every process may write.

The spec holds `{"sources": {id: {"use": name of the plug-in, field: value, ...}}}`, without fields that have their
default, and what else was written into it (`stands`). With `follows` the sources are those of the case, but for `own`,
the ids of those that were changed by hand. What is secret (user names and passwords in addresses) is hidden as
everywhere: `***`. So a spec shows what a run reads, and it can change a run that goes on, for an entry that nobody
touched stays with the source that this process has. To begin the run anew one needs the case, and what
`SourceSpecs.keep` kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Literal, TypeAlias

import structlog

from sightline.core.errors import Conflict, InvalidInput, NotFound, SightlineError
from sightline.core.plugins import Source
from sightline.core.ports import Ports
from sightline.core.prediction import JsonObject
from sightline.core.run import Run

log = structlog.get_logger()
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
OWN, FOLLOWS = "own", "follows"
Only: TypeAlias = Literal["new", "known", "any"]
"""Which sources may be changed: those that are not there yet, those that are, or both."""


def checked_source_id(name: str) -> str:
    """Return `name`, which stands in ids of samples, addresses of events and names of files.

    Raises:
        InvalidInput: it cannot be the id of a source.
    """
    if not _ID.fullmatch(name):
        raise InvalidInput(f"{name!r} cannot be the id of a source.", cure="Use letters, digits, '.', '_', '-'.")
    return name


def _named(source: Source) -> JsonObject:
    return {"use": type(source).__name__}


def _none_made(entries: Mapping[str, JsonObject]) -> Mapping[str, Source]:
    raise NotFound(f"Nothing here can make the source {next(iter(entries))!r} from its entry.")


@dataclass(frozen=True, kw_only=True)
class SourceSpecs:
    """How sources stand in the record of a run.

    Attributes:
        entry: source -> its entry, with secrets hidden.
        make: id -> entry of sources that are new or changed -> those sources; raises a SightlineError for a wrong one.
        keep: told of the sources that the case does not tell, before they are recorded, so that what is hidden in their
            entries can be kept.
        forget: told that the run is over.
    """

    entry: Callable[[Source], JsonObject] = _named
    make: Callable[[Mapping[str, JsonObject]], Mapping[str, Source]] = _none_made
    keep: Callable[[Mapping[str, Source]], None] = lambda _: None
    forget: Callable[[], None] = lambda: None


class Wishes:
    """What is wanted of one run; any thread may ask and change it.

    Attributes:
        trouble: why what another process wrote was not applied; empty when it was.
    """

    def __init__(self, run: Run, sources: Mapping[str, Source], specs: SourceSpecs, ports: Ports) -> None:
        self.trouble = ""
        self._run_id = run.id
        self._revision = run.revision
        self._sources = dict(sources)
        self._specs = specs
        self._ports = ports
        self._spec = self._with(run.spec, sources)
        self._lock = Lock()  # so that what this process writes is not read back as another one's wish

    @property
    def spec(self) -> JsonObject:
        """The spec as this process knows it."""
        return self._spec

    @property
    def revision(self) -> int:
        """The revision of `spec`."""
        return self._revision

    def keep(self) -> None:
        """Keep what the record hides, before the run is recorded."""
        self._specs.keep(self._by_hand(self._spec, self._sources))

    def forget(self) -> None:
        """Forget it: the run is over."""
        self._specs.forget()

    def replace(self, sources: Mapping[str, Source]) -> None:
        """Want these sources; the record says so with the next change."""
        with self._lock:
            self._sources, self._spec = dict(sources), self._with(self._spec, sources)

    @contextmanager
    def changed(
        self, changes: Mapping[str, Source | None], revision: int | None, only: Only, *, by_hand: bool = True
    ) -> Iterator[Mapping[str, Source]]:
        """Record changes and give all sources that are wanted now; see `StreamRun.change`."""
        with self._lock:
            for name, source in changes.items():
                checked_source_id(name)
                if name not in self._sources and (only == "known" or source is None):
                    known = ", ".join(self._sources) or "none"
                    raise NotFound(f"The run {self._run_id} has no source {name!r}. It has: {known}.")
                if name in self._sources and only == "new":
                    raise Conflict(
                        f"The run {self._run_id} has a source {name!r}.", cure="Change it, or take another name."
                    )
            wanted = {**self._sources, **changes}
            sources = {name: source for name, source in wanted.items() if source is not None}
            for source in sources.values():
                replace(source)  # one that cannot be copied is told to the caller, before anything is recorded
            own = {OWN: sorted({*self._spec.get(OWN, ()), *changes})} if by_hand else {}
            spec = self._with({**self._spec, **own}, sources)
            self._specs.keep(self._by_hand(spec, sources))
            run = self._ports.store.runs.amend(self._run_id, revision=revision or self._revision, spec=spec)
            self._sources, self._spec, self._revision = sources, spec, run.revision
            yield sources

    @contextmanager
    def written(self, run: Run) -> Iterator[Mapping[str, Source] | None]:
        """Give all sources that are wanted now if another process has changed the record, else None."""
        with self._lock:
            if run.revision <= self._revision:
                yield None
                return
            self._revision = run.revision  # also when it is wrong: it is told once
            try:
                sources = self._read(run.spec)
            except SightlineError as error:
                log.warning("a change of the run was not applied", run=run.id, revision=run.revision, error=str(error))
                self.trouble = str(error)
                yield None
                return
            self.trouble = ""
            self._specs.keep(self._by_hand(run.spec, sources))
            self._sources, self._spec = sources, dict(run.spec)
            yield sources

    def _with(self, spec: JsonObject, sources: Mapping[str, Source]) -> dict[str, Any]:
        """Return the spec for other sources."""
        return {**spec, "sources": {name: self._specs.entry(source) for name, source in sources.items()}}

    @staticmethod
    def _by_hand(spec: JsonObject, sources: Mapping[str, Source]) -> Mapping[str, Source]:
        """Return the sources that the case does not tell."""
        own = spec.get(OWN, ()) if spec.get(FOLLOWS) else sources
        return {name: source for name, source in sources.items() if name in own}

    def _read(self, spec: JsonObject) -> dict[str, Source]:
        """Return the sources of a spec; an entry that nobody touched means the source that is there."""
        entries = dict(spec.get("sources") or {})
        before = self._spec["sources"]
        new = {name: entry for name, entry in entries.items() if name not in before or before[name] != entry}
        made = self._specs.make(new) if new else {}
        return {name: made[name] if name in new else self._sources[name] for name in entries}
