from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from sightline.core.errors import InvalidInput
from sightline.core.events import EVENT_TYPES, TRANSIENT, events_of, make_event, source_uri
from sightline.core.plugins import SourceState
from sightline.core.prediction import Finding, Findings, Scalar
from sightline.core.run import RunState
from sightline.core.sample import Clocks, Sample

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def make_sample(**others: Any) -> Sample[None]:
    return Sample(payload=None, source="door", seq=4, clocks=Clocks(pts_s=None, monotonic_s=0, wall=NOON), **others)


def test_a_type_has_our_prefix_and_a_version() -> None:
    event = make_event("line.crossed", source="/cases/street", time=NOON, data={})
    assert event.type == "io.sightline.line.crossed.v1"
    assert event.short_type == "line.crossed"


def test_ids_are_unique() -> None:
    assert len({make_event("my.own", source="/x", time=NOON, data={}).id for _ in range(100)}) == 100


def test_types_that_a_user_makes_up_are_taken() -> None:
    assert make_event("forklift.too_fast_2", source="/x", time=NOON, data={}).short_type == "forklift.too_fast_2"


@pytest.mark.parametrize("name", ["", "Line.Crossed", "line crossed", ".line", "line.", "line..crossed", "line\n", "é"])
def test_other_types_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="no event type"):
        make_event(name, source="/x", time=NOON, data={})


def test_every_listed_type_is_one_and_has_an_explanation() -> None:
    for name, meaning in EVENT_TYPES.items():
        assert make_event(name, source="/x", time=NOON, data={}).short_type == name
        assert re.fullmatch(r"[^.]+", meaning)
    assert set(EVENT_TYPES) >= TRANSIENT


def test_every_state_of_a_source_and_every_end_of_a_run_has_a_type() -> None:
    assert {f"source.{state.value}" for state in SourceState} <= set(EVENT_TYPES)
    assert {f"run.{state.value}" for state in RunState if state.is_final} <= set(EVENT_TYPES)


def test_only_what_is_told_again_and_again_is_transient() -> None:
    def is_transient(name: str) -> bool:
        return make_event(name, source="/x", time=NOON, data={}).is_transient

    assert is_transient("prediction")
    assert is_transient("run.progress")
    assert not is_transient("line.crossed")
    assert not is_transient("run.completed")


def test_findings_with_an_event_become_events_with_all_that_is_known() -> None:
    found = Findings(
        items=(
            Finding(name="in", value=3),
            Finding(name="in", value=3, event="line.crossed", subject="track/7", data={"direction": "in"}),
        )
    )
    sample = make_sample(
        metadata={"place": "lab"}, predictions={"brightness": Scalar(name="brightness", value=3), "line": found}
    )
    [event] = events_of(sample, case="street", run="r1")
    assert event.type == "io.sightline.line.crossed.v1"
    assert event.source == "/cases/street/sources/door"
    assert (event.subject, event.time) == ("track/7", NOON)
    assert event.data == {
        "run": "r1",
        "sample": "door/1/4",
        "predictor": "line",
        "metadata": {"place": "lab"},
        "value": 3,
        "direction": "in",
    }


def test_the_same_findings_give_the_same_ids_and_others_other_ones() -> None:
    found = Findings(items=(Finding(name="a", event="my.own"), Finding(name="a", event="my.own")))
    sample = make_sample(predictions={"p": found, "q": found})
    ids = [event.id for event in events_of(sample, case="c", run="r1")]
    assert ids == [event.id for event in events_of(sample, case="c", run="r1")]
    assert len(set(ids)) == 4
    assert not set(ids) & {event.id for event in events_of(sample, case="c", run="r2")}


def test_an_event_without_a_subject_or_value_has_none() -> None:
    [event] = events_of(
        make_sample(predictions={"p": Findings(items=(Finding(name="a", event="my.own"),))}), case="c", run="r"
    )
    assert event.subject is None
    assert "value" not in event.data


def test_uris_name_the_case_and_the_source() -> None:
    assert source_uri("street") == "/cases/street"
    assert source_uri("street", "door") == "/cases/street/sources/door"
