"""Jobs on what lies in another system, and sinks that take up what others made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import World
from tests.engine.job_world import NOW, JobWorld, Journal, Lines, make_case

from sightline.adapters.database import SqlStore
from sightline.core.errors import InvalidInput, Unavailable
from sightline.core.plugins import Context, Sink
from sightline.core.run import RunState
from sightline.core.sample import Clocks, Sample, Text


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
        yield store


@dataclass(kw_only=True)
class Archived(Lines):
    """Texts of an archive."""

    def load_elsewhere(self, address: str) -> Iterator[Sample[Text]]:
        self.journal.note(address, self.context)
        yield Sample(payload=Text("abc"), source="", seq=0, clocks=Clocks(pts_s=None, monotonic_s=0, wall=NOW))


@dataclass(kw_only=True)
class Takes(Sink):
    """Tells what the sinks before it made."""

    journal: Any = None

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        self.journal.note(f"takes {dict(self.context.made)}", self.context)


def world_of(world: World, journal: Journal, *, sinks: int = 0) -> JobWorld:
    case = make_case(journal, sinks=sinks)
    case = replace(case, sources={"lines": Archived(journal=journal)}, sinks=(*case.sinks, Takes(journal=journal)))
    return JobWorld(world, case)


def test_the_object_of_a_job_may_lie_in_another_system(world: World) -> None:
    journal = Journal()
    texts = world_of(world, journal)
    run, _ = texts.jobs.submit("texts", "dicomweb:1.2.3/4.5")
    ended = texts.done(run)
    assert ended.state is RunState.COMPLETED, ended.error
    assert journal.lines == ["dicomweb:1.2.3/4.5", "length", "takes {}"]


def test_a_source_that_reads_from_nowhere_else_fails_the_job(world: World) -> None:
    texts = JobWorld(world, make_case(Journal()))
    run, _ = texts.jobs.submit("texts", "dicomweb:1.2.3/4.5")
    ended = texts.done(run)
    assert ended.state is RunState.FAILED
    assert "Lines loads nothing from dicomweb" in str(ended.error)


def test_another_scheme_is_a_key(world: World) -> None:
    texts = JobWorld(world, make_case(Journal()))
    with pytest.raises(InvalidInput, match="Not a store key"):
        texts.jobs.submit("texts", "http://10.0.0.1/x")


def test_a_later_sink_finds_what_was_made_before_it_also_in_an_earlier_attempt(world: World) -> None:
    def act(step: str, _: Context) -> None:
        if step.startswith("takes") and journal.lines.count(step) == 1:
            raise Unavailable("the archive is away")

    journal = Journal(act=act)
    texts = world_of(world, journal, sinks=2)
    run = texts.submit()
    assert texts.done(run).state is RunState.COMPLETED

    stem = f"runs/{run.id}/1/result"
    takes = f"takes {{'report0': '{stem}.0.txt', 'report1': '{stem}.1.txt'}}"
    assert journal.lines == ["reading", "length", "report0", "report1", takes, takes]
