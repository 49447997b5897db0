"""What a run does for its sinks, and what it does when they fail."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.engine.conftest import World
from tests.engine.plugins import Keep, Numbers

from sightline.core.case import Case
from sightline.core.errors import BrokenPlugin
from sightline.core.run import RunState


def seqs(keep: Keep) -> list[int]:
    return [sample.seq for sample in keep.kept]


def test_a_sink_that_fails_ends_the_run_and_the_others_are_complete_and_closed(world: World) -> None:
    closed: list[str] = []
    first = Keep(name="first", closed=closed)
    full = Keep(name="full", closed=closed, bad=(5,))
    last = Keep(name="last", closed=closed)
    outcome = world.execute(Case(name="case", sources={"a": Numbers(num=100_000)}, sinks=(first, full, last)))
    assert outcome.run.state is RunState.FAILED
    assert isinstance(outcome.error, BrokenPlugin)
    assert "Sink Keep failed: OSError: [Errno 28] No space left on device" in str(outcome.error)
    read = outcome.run.status["sources"]["a"]["read"]
    assert read < 100_000
    assert seqs(first) == seqs(last) == list(range(read))
    # What it took before it failed stays; it is asked no more, since its file may end anywhere.
    assert seqs(full) == list(range(len(full.kept)))
    assert len(full.kept) <= 5
    assert outcome.run.status["sinks"]["lost"] == {"Keep": read - len(full.kept)}
    assert closed == ["first", "full", "last"]


def test_a_sink_that_may_fail_is_counted_and_asked_again(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    shaky, sound = Keep(bad=(3, 4, 9), on_error="continue"), Keep()
    outcome = world.execute(Case(name="case", sources={"a": Numbers(num=20)}, sinks=(shaky, sound)), chunk=1)
    assert outcome.error is None
    assert outcome.run.state is RunState.COMPLETED
    assert seqs(shaky) == [seq for seq in range(20) if seq not in (3, 4, 9)]
    assert seqs(sound) == list(range(20))
    assert outcome.run.status["sinks"] == {"written": 20, "lost": {"Keep": 3}}
    assert capsys.readouterr().out.count("sink failed") == 1


def test_a_sink_that_cannot_be_opened_fails_the_run_before_anything_is_read(world: World) -> None:
    closed: list[str] = []
    sinks = (Keep(name="first", closed=closed), Keep(name="second", closed=closed, fail_open=True), Keep(name="third"))
    outcome = world.execute(Case(name="case", sources={"a": Numbers(closed=closed)}, sinks=sinks))
    assert outcome.run.state is RunState.FAILED
    assert "the folder is gone" in str(outcome.error)
    assert closed == ["first"]
    assert outcome.run.status["sources"]["a"]["read"] == 0


def test_a_sink_that_does_not_close_fails_the_run_and_the_others_are_closed(world: World) -> None:
    closed: list[str] = []
    sinks = (Keep(name="first", closed=closed, fail_close=True), Keep(name="second", closed=closed))
    outcome = world.execute(Case(name="case", sources={"a": Numbers()}, sinks=sinks))
    assert outcome.run.state is RunState.FAILED
    assert "cannot be finished" in str(outcome.error)
    assert closed == ["first", "second"]


def test_a_sink_that_may_fail_may_also_fail_to_close(world: World) -> None:
    outcome = world.execute(
        Case(name="case", sources={"a": Numbers()}, sinks=(Keep(fail_close=True, on_error="continue"),))
    )
    assert outcome.error is None


def test_what_the_sinks_leave_behind_is_in_the_outcome(world: World) -> None:
    class Makes(Keep):
        @property
        def made(self) -> Mapping[str, str]:
            return {self.name: f"/runs/{self.name}"}

    outcome = world.execute(
        Case(name="case", sources={"a": Numbers()}, sinks=(Makes(name="video"), Makes(name="lines")))
    )
    assert outcome.made == {"video": "/runs/video", "lines": "/runs/lines"}


def test_a_file_waits_for_a_slow_sink_and_nothing_is_lost(world: World) -> None:
    import time

    class Slow(Keep):
        def write(self, samples: object) -> None:
            time.sleep(0.001)
            super().write(samples)  # type: ignore[arg-type]

    slow = Slow()
    outcome = world.execute(Case(name="case", sources={"a": Numbers(num=300), "b": Numbers(num=300)}, sinks=(slow,)))
    assert outcome.error is None
    assert len(slow.kept) == 600


def test_the_cases_own_sinks_are_never_opened(world: World) -> None:
    keep = Keep()
    case = Case(name="case", sources={"a": Numbers()}, sinks=(keep,))
    world.execute(case)
    world.execute(case)
    assert not hasattr(keep, "context")
    assert len(keep.kept) == 20
