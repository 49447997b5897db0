from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest

from sightline.core.codec import encode_time, to_json
from sightline.core.plugins import SourceState
from sightline.engine.counters import RunCounters
from sightline.testing import FakeClock

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_source_begins_at_nothing() -> None:
    counters = RunCounters()
    counters.add("door")
    snapshot = counters.snapshot()["sources"]["door"]
    assert (snapshot["state"], snapshot["read"], snapshot["processed"]) == ("connecting", 0, 0)
    assert snapshot["age_s"] is None
    assert snapshot["fps"] is None
    to_json(counters.snapshot())


def test_numbers_add_up_by_reason() -> None:
    counters = RunCounters()
    counters.add("door")
    for seq in range(10):
        counters.read("door", epoch=1 + seq // 5)
    counters.processed("door", 6)
    counters.rejected("door", "dark")
    counters.rejected("door", "dark")
    counters.dropped("door", "superseded")
    counters.failed("door", "people", 1, "ValueError: x", "ValueError")
    counters.late("door", 4)
    snapshot = counters.snapshot()["sources"]["door"]
    assert snapshot["read"] == 10
    assert snapshot["epoch"] == 2
    assert (snapshot["processed"], snapshot["rejected"], snapshot["failed"]) == (6, {"dark": 2}, {"people": 1})
    assert snapshot["dropped"] == {"superseded": 1}
    assert snapshot["late"] == 4
    assert counters.totals() == (10, 6, 1)


def test_a_state_is_news_only_when_it_or_its_reason_changes() -> None:
    counters = RunCounters()
    counters.add("door")
    assert counters.state("door", SourceState.LIVE)
    assert not counters.state("door", SourceState.LIVE)
    assert counters.state("door", SourceState.LIVE, "again")


def test_an_error_is_news_once_per_predictor_and_kind_and_its_first_text_stays() -> None:
    counters = RunCounters()
    counters.add("door")
    texts = [("people", "frame 1", "a"), ("people", "frame 2", "a"), ("people", "no memory", "b"), ("line", "x", "a")]
    assert [counters.failed("door", key, 1, text, kind) for key, text, kind in texts] == [True, False, True, True]
    assert not counters.failed("door", "people", 1, "frame 3", "a")
    assert counters.snapshot()["sources"]["door"]["errors"] == {"people": "frame 1", "line": "x"}
    assert counters.snapshot()["sources"]["door"]["failed"] == {"people": 4, "line": 1}


def test_what_sees_all_sources_may_count_without_being_one() -> None:
    counters = RunCounters()
    counters.add("door")
    counters.processed("*", 1)
    counters.failed("*", "people", 1, "x", "a")
    counters.late("*", 1)
    counters.dropped("*", "late", 2)
    assert counters.snapshot()["sources"]["*"]["dropped"] == {"late": 2}


def test_threads_lose_no_count() -> None:
    counters = RunCounters()
    counters.add("door")

    def count() -> None:
        for _ in range(500):
            counters.read("door", 1)
            counters.processed("door", 1)
            counters.dropped("door", "superseded")

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = counters.snapshot()["sources"]["door"]
    assert (snapshot["read"], snapshot["processed"], snapshot["dropped"]["superseded"]) == (2000, 2000, 2000)


class TestRates:
    def watched(self, *, period_s: float, num: int) -> tuple[RunCounters, FakeClock]:
        """Return what has counted `num` frames of a camera, the last one just now, each second one analysed."""
        clock = FakeClock()
        counters = RunCounters(clock.monotonic)
        counters.add("door")
        for seq in range(num):
            if seq:
                clock.advance(period_s)
            counters.read("door", 1)
            if seq % 2 == 0:
                counters.processed("door", 1)
        return counters, clock

    def of(self, counters: RunCounters) -> tuple[float | None, float | None, float | None]:
        seen = counters.snapshot()["sources"]["door"]
        return seen["source_fps"], seen["fps"], seen["age_s"]

    def test_they_are_true_from_the_first_second_on(self) -> None:
        counters, _ = self.watched(period_s=0.1, num=11)
        assert self.of(counters) == (10.0, 5.0, 0.0)

    def test_they_are_true_of_the_last_seconds(self) -> None:
        counters, _ = self.watched(period_s=0.1, num=301)
        assert self.of(counters) == (10.0, 5.0, 0.0)

    def test_a_camera_that_stands_still_falls_to_nothing_and_its_last_frame_grows_old(self) -> None:
        counters, clock = self.watched(period_s=0.1, num=101)
        clock.advance(2.5)
        source_fps, _, age_s = self.of(counters)
        assert source_fps == pytest.approx(5.0, abs=0.25)
        assert age_s == 2.5
        clock.advance(3)
        assert self.of(counters) == (0.0, 0.0, 5.5)

    def test_nothing_is_said_too_early(self) -> None:
        counters, _ = self.watched(period_s=0.1, num=4)
        assert self.of(counters) == (None, None, 0.0)

    def test_one_camera_does_not_change_the_numbers_of_another(self) -> None:
        counters, clock = self.watched(period_s=0.1, num=51)
        counters.add("dead")
        clock.advance(0.1)
        counters.read("door", 1)
        assert counters.snapshot()["sources"]["dead"]["age_s"] is None
        assert counters.snapshot()["sources"]["door"]["age_s"] == 0.0


def test_reconnects_are_rises_of_the_epoch_while_it_is_read() -> None:
    counters = RunCounters()
    counters.add("door")
    for epoch in (1, 1, 2, 3, 3):
        counters.read("door", epoch)
    assert counters.snapshot()["sources"]["door"]["reconnects"] == 2
    counters.add("door")  # it was changed: another epoch, but no reconnect
    counters.read("door", 4)
    snapshot = counters.snapshot()["sources"]["door"]
    assert (snapshot["reconnects"], snapshot["epoch"], snapshot["read"]) == (2, 4, 6)


def test_a_changed_source_connects_anew() -> None:
    counters = RunCounters()
    counters.add("door")
    counters.read("door", 1)
    counters.state("door", SourceState.STOPPED, "the source was changed")
    counters.add("door")
    snapshot = counters.snapshot()["sources"]["door"]
    assert (snapshot["state"], snapshot["reason"], snapshot["age_s"]) == ("connecting", "", None)
    assert counters.state("door", SourceState.LIVE)


def test_a_removed_source_is_shown_no_longer_and_stays_in_the_totals() -> None:
    counters = RunCounters()
    for name in ("door", "gate"):
        counters.add(name)
        counters.read(name, 1)
    counters.processed("door", 1)
    counters.remove("door")
    counters.remove("door")
    assert list(counters.snapshot()["sources"]) == ["gate"]
    assert not counters.has("door")
    assert counters.totals() == (2, 1, 0)
    counters.add("door")
    counters.read("door", 2)
    assert counters.snapshot()["sources"]["door"]["read"] == 1
    assert counters.totals() == (3, 1, 0)


def test_a_lost_source_tells_since_when_how_often_and_until_when_it_waits() -> None:
    counters = RunCounters(clock=lambda: NOON)
    counters.add("door")
    counters.lost("door", NOON)
    counters.state("door", SourceState.BACKOFF, "connection refused")
    counters.retrying("door", NOON + timedelta(seconds=3), 2)
    door = counters.snapshot()["sources"]["door"]
    assert (door["lost_since"], door["retry_at"], door["tries"]) == (
        encode_time(NOON),
        "2026-11-20T12:00:03.000000Z",
        2,
    )
    counters.state("door", SourceState.CONNECTING)
    door = counters.snapshot()["sources"]["door"]
    assert (door["lost_since"], door["retry_at"], door["tries"]) == (encode_time(NOON), None, 2)
    counters.state("door", SourceState.LIVE)
    counters.lost("door", None)
    door = counters.snapshot()["sources"]["door"]
    assert (door["lost_since"], door["retry_at"], door["tries"]) == (None, None, 0)
