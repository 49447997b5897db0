from __future__ import annotations

import time
from threading import Event, Thread
from typing import Any

import pytest

from sightline.core.sample import Sample
from sightline.engine.feeds import Feed
from sightline.testing.fakes import make_reading


def make_feed(*, live: bool = False, capacity: int = 3, abandoned: Event | None = None) -> tuple[Feed, list[int]]:
    superseded: list[int] = []
    feed = Feed(
        live=live,
        capacity=capacity,
        superseded=lambda sample: superseded.append(sample.seq),
        abandoned=abandoned or Event(),
    )
    return feed, superseded


def seqs(samples: list[Sample[Any]] | None) -> list[int] | None:
    return None if samples is None else [sample.seq for sample in samples]


def test_a_live_feed_replaces_what_nobody_took_and_tells_of_it() -> None:
    feed, superseded = make_feed(live=True)
    for seq in range(4):
        assert feed.put(make_reading(seq=seq))
    assert seqs(feed.take(10)) == [3]
    assert superseded == [0, 1, 2]


def test_a_file_feed_waits_for_room_and_loses_nothing() -> None:
    feed, superseded = make_feed(capacity=2)
    num = 200

    def read() -> None:
        for seq in range(num):
            feed.put(make_reading(seq=seq))
        feed.close()

    reader = Thread(daemon=True, target=read)
    reader.start()
    time.sleep(0.02)
    assert reader.is_alive()
    taken: list[int] = []
    while samples := feed.take(3):
        assert len(samples) <= 2
        taken += [sample.seq for sample in samples]
    reader.join(20)
    assert taken == list(range(num))
    assert superseded == []


def test_epochs_never_meet_in_one_take() -> None:
    feed, _ = make_feed(capacity=9)
    for seq, epoch in enumerate((1, 1, 2, 2, 3)):
        feed.put(make_reading(seq=seq, epoch=epoch))
    feed.close()
    assert [seqs(feed.take(8)) for _ in range(4)] == [[0, 1], [2, 3], [4], None]


def test_no_more_is_taken_than_was_asked_for() -> None:
    feed, _ = make_feed()
    for seq in range(3):
        feed.put(make_reading(seq=seq))
    assert seqs(feed.take(2)) == [0, 1]


@pytest.mark.parametrize("live", [True, False])
def test_what_waits_when_the_feed_closes_is_still_taken(live: bool) -> None:
    feed, _ = make_feed(live=live)
    feed.put(make_reading(seq=7))
    feed.close()
    assert seqs(feed.take(4)) == [7]
    assert feed.take(4) is None
    assert not feed.put(make_reading(seq=8))


def test_a_waiting_taker_wakes_when_the_feed_closes() -> None:
    feed, _ = make_feed()
    taken: list[list[Sample[Any]] | None] = []
    taker = Thread(daemon=True, target=lambda: taken.append(feed.take(4)))
    taker.start()
    feed.close()
    taker.join(20)
    assert taken == [None]


def test_being_abandoned_frees_both_sides_and_what_is_left_can_be_counted() -> None:
    abandoned = Event()
    full, _ = make_feed(capacity=1, abandoned=abandoned)
    empty, _ = make_feed(abandoned=abandoned)
    full.put(make_reading())
    put: list[bool] = []
    taken: list[list[Sample[Any]] | None] = []
    threads = [
        Thread(daemon=True, target=lambda: put.append(full.put(make_reading(seq=1)))),
        Thread(daemon=True, target=lambda: taken.append(empty.take(4))),
    ]
    for thread in threads:
        thread.start()
    abandoned.set()
    for thread in threads:
        thread.join(20)
    assert (put, taken) == ([False], [None])
    assert full.take(4) is None
    assert (full.drain(), full.drain()) == (1, 0)


def test_closing_frees_a_reader_that_waits_for_room() -> None:
    feed, _ = make_feed(capacity=1)
    feed.put(make_reading())
    put: list[bool] = []
    reader = Thread(daemon=True, target=lambda: put.append(feed.put(make_reading(seq=1))))
    reader.start()
    time.sleep(0.02)
    feed.close()
    reader.join(20)
    assert put == [False]
    assert seqs(feed.take(4)) == [0]


def test_a_pause_is_told_once_behind_what_waits_and_only_while_nothing_follows() -> None:
    feed, _ = make_feed()
    feed.put(make_reading(seq=1))
    feed.pause()
    assert [seqs(feed.take(4)) for _ in range(2)] == [[1], []]
    feed.pause()
    feed.put(make_reading(seq=2))
    assert seqs(feed.take(4)) == [2]
    feed.pause()
    feed.close()
    assert feed.take(4) is None
