from __future__ import annotations

from threading import Thread

from sightline.core.codec import to_json
from sightline.core.plugins import SourceState
from sightline.engine.counters import RunCounters


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
