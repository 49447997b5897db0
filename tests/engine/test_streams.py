"""Runs of kind stream over real plug-ins, with a real store and bus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest
from tests.engine.conftest import World
from tests.engine.plugins import Alarm, Camera, Keep, Numbers, Pairs, Picky, Tally

from sightline.core.case import Case
from sightline.core.errors import BrokenPlugin, SourceUnreachable
from sightline.core.plugins import Predictor, SourceState
from sightline.core.prediction import Prediction, Scalar
from sightline.core.run import RunState
from sightline.core.sample import Sample


def by_source(samples: Sequence[Sample[Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for sample in samples:
        found.setdefault(sample.source, []).append(sample.seq)
    return found


def counted(counts: dict[str, Any]) -> int:
    """Return where the samples of a source went, as its counters say."""
    lost = sum(counts["dropped"].get(reason, 0) for reason in ("superseded", "abandoned"))
    return int(counts["processed"] + sum(counts["rejected"].values()) + sum(counts["failed"].values()) + lost)


class TestSources:
    def test_every_sample_of_every_file_reaches_the_sinks_in_order(self, world: World) -> None:
        keep = Keep()
        case = Case(name="case", sources={"a": Numbers(num=50), "b": Numbers(num=30)}, sinks=(keep,))
        outcome = world.execute(case)
        assert outcome.error is None
        assert by_source(keep.kept) == {"a": list(range(50)), "b": list(range(30))}
        assert outcome.run.state is RunState.COMPLETED

    def test_two_sources_keep_apart_the_state_of_predictors(self, world: World) -> None:
        tally, keep = Tally(), Keep()
        case = Case(
            name="case",
            sources={"a": Numbers(num=20), "b": Numbers(num=20)},
            stages={"validation": {"early": tally}, "analytics": {"late": tally}},
            sinks=(keep,),
        )
        world.execute(case)
        for key in ("early", "late"):
            seen = {(sample.source, sample.seq): sample.prediction(key, Scalar).value for sample in keep.kept}
            assert seen == {(source, seq): seq + 1 for source in "ab" for seq in range(20)}

    def test_a_new_epoch_gets_fresh_predictors_and_the_old_ones_are_closed(self, world: World) -> None:
        tally, keep = Tally(), Keep()
        stages = {"analytics": {"tally": tally}}
        world.execute(Case(name="case", sources={"a": Numbers(num=9, per_epoch=4)}, stages=stages, sinks=(keep,)))
        assert [sample.prediction("tally", Scalar).value for sample in keep.kept] == [1, 2, 3, 4, 1, 2, 3, 4, 1]
        # Twice each: a chain is opened for validation and another one behind the collector.
        assert Counter(tally.opened) == Counter(tally.closed) == {("a", epoch): 2 for epoch in (1, 2, 3)}

    def test_a_source_that_raises_does_not_stop_the_other_and_fails_the_run_with_its_cause(self, world: World) -> None:
        keep, closed = Keep(), list[str]()
        case = Case(
            name="case",
            sources={"bad": Numbers(fail_at=3, closed=closed), "good": Numbers(num=200, closed=closed)},
            sinks=(keep,),
        )
        outcome = world.execute(case)
        assert by_source(keep.kept) == {"bad": [0, 1, 2], "good": list(range(200))}
        assert isinstance(outcome.error, BrokenPlugin)
        assert "Source 'bad'" in str(outcome.error)
        assert "sample 3 is broken (plugins.py:" in str(outcome.error)
        assert outcome.run.state is RunState.FAILED
        assert outcome.run.error == str(outcome.error)
        assert sorted(closed) == ["bad", "good"]

    def test_a_source_that_does_not_close_is_told_of_as_stopped_all_the_same(self, world: World) -> None:
        outcome = world.execute(Case(name="case", sources={"a": Numbers(fail_close=True)}))
        assert outcome.error is None
        [stopped] = world.recorded(outcome.run, ["source.stopped"])
        assert stopped.data["reason"] == "the source has ended"

    def test_what_the_case_and_the_run_say_is_on_every_sample_and_event(self, world: World) -> None:
        keep = Keep()
        case = Case(
            name="street",
            sources={"a": Numbers(num=3)},
            stages={"analytics": {"alarm": Alarm(every=1)}},
            sinks=(keep,),
            metadata={"site": "north", "owner": "case"},
        )
        outcome = world.execute(case, metadata={"owner": "run"})
        assert [sample.metadata for sample in keep.kept] == [{"site": "north", "owner": "run"}] * 3
        alerts = world.recorded(outcome.run, ["threshold.alert"])
        assert [event.data["metadata"] for event in alerts] == [{"site": "north", "owner": "run"}] * 3
        for event in world.recorded(outcome.run):
            assert event.data["metadata"]["owner"] == "run"
        assert world.ports.store.runs.get(outcome.run.id).metadata == {"owner": "run"}

    def test_a_live_source_never_waits_and_what_was_superseded_is_counted(self, world: World) -> None:
        keep, all_read = Keep(), Event()

        class Ends(Camera):
            def read(self) -> Any:
                yield from super().read()
                all_read.set()

        case = Case(
            name="case",
            sources={"cam": Ends(num=60)},
            stages={"analytics": {"slow": Picky(gate=all_read)}},
            sinks=(keep,),
        )
        outcome = world.execute(case)
        counts = outcome.run.status["sources"]["cam"]
        assert counts["read"] == 60
        assert counts["dropped"]["superseded"] > 10
        assert counted(counts) == 60
        seqs = [sample.seq for sample in keep.kept]
        assert seqs == sorted(seqs)
        assert seqs[-1] == 59

    def test_a_camera_that_never_gives_a_frame_fails_the_run_with_the_reason(self, world: World) -> None:
        class Dark(Camera):
            def read(self) -> Any:
                self.context.state(SourceState.BACKOFF, "no route to host")
                yield from ()

        outcome = world.execute(Case(name="case", sources={"cam": Dark()}))
        assert isinstance(outcome.error, SourceUnreachable)
        assert "'cam'" in str(outcome.error)

    def test_the_duration_ends_a_live_source(self, world: World) -> None:
        begin = time.monotonic()
        outcome = world.execute(Case(name="case", sources={"cam": Camera()}), duration_s=0.5)
        assert 0.5 <= time.monotonic() - begin < 15
        assert outcome.run.state is RunState.COMPLETED
        assert outcome.run.status["sources"]["cam"]["state"] == "stopped"
        assert outcome.run.status["sources"]["cam"]["processed"] > 5


class TestStages:
    def test_what_validation_rejects_is_counted_and_reaches_only_sinks_that_want_it(self, world: World) -> None:
        all_, fit, later = Keep(rejected=True), Keep(), Picky()
        case = Case(
            name="case",
            sources={"a": Numbers(num=12)},
            stages={"validation": {"usable": Picky(rejects=(1, 2, 7))}, "analytics": {"later": later}},
            sinks=(all_, fit),
        )
        outcome = world.execute(case)
        assert [sample.seq for sample in all_.kept] == list(range(12))
        assert [sample.seq for sample in fit.kept] == [0, 3, 4, 5, 6, 8, 9, 10, 11]
        assert sorted(later.seen) == [0, 3, 4, 5, 6, 8, 9, 10, 11]
        assert [sample.seq for sample in all_.kept if sample.rejected] == [1, 2, 7]
        counts = outcome.run.status["sources"]["a"]
        assert (counts["read"], counts["processed"], counts["rejected"]) == (12, 9, {"odd": 3})
        assert outcome.run.status["sinks"]["written"] == 12

    def test_when_all_is_rejected_the_run_is_good(self, world: World) -> None:
        keep = Keep()
        usable = Picky(rejects=tuple(range(9)))
        stages: dict[str, dict[str, Predictor]] = {"validation": {"usable": usable}, "analytics": {"x": Tally()}}
        outcome = world.execute(Case(name="case", sources={"a": Numbers(num=9)}, stages=stages, sinks=(keep,)))
        assert outcome.error is None
        assert keep.kept == []

    def test_a_predictor_that_fails_on_some_samples_costs_those_alone(
        self, world: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        keep = Keep()
        case = Case(
            name="case",
            sources={"a": Numbers(num=40)},
            stages={"analytics": {"people": Picky(bad=(3, 5, 6, 30))}},
            sinks=(keep,),
        )
        outcome = world.execute(case)
        assert outcome.error is None
        assert [sample.seq for sample in keep.kept] == [seq for seq in range(40) if seq not in (3, 5, 6, 30)]
        counts = outcome.run.status["sources"]["a"]
        assert counts["failed"] == {"people": 4}
        assert counts["errors"]["people"].startswith("ValueError: cannot look at 3 (plugins.py:")
        assert counted(counts) == 40
        # One line of log for four failures, whose texts differ.
        assert capsys.readouterr().out.count("predictor failed") == 1

    def test_a_predictor_that_fails_in_validation_costs_the_same(self, world: World) -> None:
        keep = Keep()
        stages = {"validation": {"check": Picky(bad=(1,))}}
        outcome = world.execute(Case(name="case", sources={"a": Numbers(num=4)}, stages=stages, sinks=(keep,)))
        assert [sample.seq for sample in keep.kept] == [0, 2, 3]
        assert outcome.run.status["sources"]["a"]["failed"] == {"check": 1}

    def test_a_case_may_stop_at_the_first_error(self, world: World) -> None:
        keep = Keep()
        case = Case(
            name="case",
            sources={"a": Numbers(num=100_000), "cam": Camera()},
            stages={"analytics": {"people": Picky(bad=(3,))}},
            sinks=(keep,),
            on_error="stop",
        )
        outcome = world.execute(case)
        assert outcome.run.state is RunState.FAILED
        assert "Predictor 'people' failed: ValueError: cannot look at 3" in str(outcome.error)
        assert {0, 1, 2} <= set(by_source(keep.kept)["a"])
        assert keep.closed == ["keep"]
        counts = outcome.run.status["sources"]["a"]
        assert counts["read"] < 100_000
        assert counted(counts) == counts["read"]

    def test_when_every_sample_fails_the_run_has_failed(self, world: World) -> None:
        stages = {"analytics": {"people": Picky(bad=tuple(range(5)))}}
        outcome = world.execute(Case(name="case", sources={"a": Numbers(num=5)}, stages=stages))
        assert outcome.run.state is RunState.FAILED
        assert "Every sample failed: Predictor 'people' failed: ValueError: cannot look at 0" in str(outcome.error)

    def test_a_predictor_that_cannot_be_opened_ends_the_run_with_the_cause(self, world: World) -> None:
        @dataclass(kw_only=True)
        class Broken(Predictor):
            def open(self, context: Any) -> None:
                raise RuntimeError("no weights")

            def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
                return []

        case = Case(name="case", sources={"a": Numbers(num=5000)}, stages={"analytics": {"people": Broken()}})
        outcome = world.execute(case)
        assert outcome.run.state is RunState.FAILED
        assert "no weights" in str(outcome.error)
        counts = outcome.run.status["sources"]["a"]
        assert counts["dropped"] == {"abandoned": counts["read"]}

    def test_predictors_and_collector_are_closed_when_the_analysis_breaks(self, world: World) -> None:
        tally, pairs = Tally(), Pairs(bad=(5,))
        stages: dict[str, dict[str, Predictor]] = {"validation": {"tally": tally}, "analytics": {"late": tally}}
        case = Case(name="case", sources={"a": Numbers(num=5000)}, stages=stages, collector=pairs)
        outcome = world.execute(case)
        assert "cannot be collected" in str(outcome.error)
        assert pairs.closed == ["a"]
        assert sorted(tally.opened) == sorted(tally.closed)


class TestCollectors:
    def test_each_source_has_a_collector_of_its_own_that_is_flushed_at_the_end(self, world: World) -> None:
        keep, pairs = Keep(), Pairs()
        case = Case(name="case", sources={"a": Numbers(num=5), "b": Numbers(num=4)}, collector=pairs, sinks=(keep,))
        outcome = world.execute(case)
        windows = [[(item.source, item.seq) for item in sample.payload.samples] for sample in keep.kept]
        assert sorted(windows) == [
            [("a", 0), ("a", 1)],
            [("a", 2), ("a", 3)],
            [("a", 4)],
            [("b", 0), ("b", 1)],
            [("b", 2), ("b", 3)],
        ]
        assert sorted(pairs.closed) == ["a", "b"]
        assert outcome.run.status["sources"]["a"]["processed"] == 3

    def test_one_collector_across_sources_joins_them(self, world: World) -> None:
        keep, pairs, tally = Keep(), Pairs(across_sources=True), Tally()
        case = Case(
            name="case",
            sources={name: Numbers(num=25) for name in "abc"},
            collector=pairs,
            stages={"analytics": {"tally": tally}},
            sinks=(keep,),
        )
        outcome = world.execute(case)
        assert outcome.error is None
        items = [item for sample in keep.kept for item in sample.payload.samples]
        assert {name: sorted(seqs) for name, seqs in by_source(items).items()} == {n: list(range(25)) for n in "abc"}
        assert len(keep.kept) == 38
        # One chain behind the join sees all windows, in the order in which they are written.
        assert [sample.prediction("tally", Scalar).value for sample in keep.kept] == list(range(1, 39))
        assert pairs.closed == ["*"]
        assert outcome.run.status["sources"]["*"]["processed"] == 38

    def test_rejected_samples_go_past_the_collector(self, world: World) -> None:
        keep = Keep(rejected=True)
        case = Case(
            name="case",
            sources={"a": Numbers(num=5)},
            collector=Pairs(),
            stages={"validation": {"usable": Picky(rejects=(1,))}},
            sinks=(keep,),
        )
        world.execute(case)
        assert [sample.seq for sample in keep.kept if sample.rejected] == [1]
        windows = [[item.seq for item in sample.payload.samples] for sample in keep.kept if not sample.rejected]
        assert windows == [[0, 2], [3, 4]]

    def test_a_predictor_that_fails_behind_the_join_is_counted(self, world: World) -> None:
        class Fails(Tally):
            def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
                if samples[0].payload.samples[0].seq == 0:
                    raise ValueError("not this window")
                return super().predict(samples)

        case = Case(
            name="case",
            sources={"a": Numbers(num=6)},
            collector=Pairs(across_sources=True),
            stages={"analytics": {"x": Fails()}},
        )
        outcome = world.execute(case)
        assert outcome.error is None
        assert outcome.run.status["sources"]["*"]["failed"] == {"x": 1}
        assert outcome.run.status["sources"]["*"]["processed"] == 2

    @pytest.mark.parametrize("across", [False, True])
    def test_a_collector_that_cannot_be_opened_is_in_the_outcome(self, world: World, across: bool) -> None:
        class Broken(Pairs):
            def open(self, context: Any) -> None:
                raise RuntimeError("no room")

        case = Case(name="case", sources={"a": Numbers(num=5000)}, collector=Broken(across_sources=across))
        outcome = world.execute(case)
        assert outcome.run.state is RunState.FAILED
        assert "no room" in str(outcome.error)
