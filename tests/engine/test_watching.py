from __future__ import annotations

import time
from threading import Thread

from sightline.engine.watching import Finished, Watch
from sightline.testing.fakes import make_reading


def finished(seq: int, source: str = "a", run: str = "r1") -> Finished:
    return Finished(run, "yard", make_reading(seq, seq=seq, source=source))


def seq(taken: Finished | None) -> int | None:
    return None if taken is None else taken.sample.seq


def test_a_newer_sample_takes_the_place_of_an_older_one_of_its_source() -> None:
    watch = Watch()
    for number in range(5):
        watch.offer(finished(number))
    assert (seq(watch.take(0)), watch.take(0), watch.num_skipped) == (4, None, 4)


def test_sources_take_turns_however_fast_one_of_them_is() -> None:
    watch = Watch()
    watch.offer(finished(1, "slow"))
    for number in range(10, 20):
        watch.offer(finished(number, "fast"))
    assert [seq(watch.take(0)), seq(watch.take(0)), watch.take(0)] == [1, 19, None]


def test_sources_of_one_name_in_two_runs_are_two() -> None:
    watch = Watch()
    watch.offer(finished(1, run="r1"))
    watch.offer(finished(2, run="r2"))
    assert [seq(watch.take(0)), seq(watch.take(0))] == [1, 2]


def test_only_what_is_wanted_is_taken() -> None:
    watches = [Watch(run="r2"), Watch(case="street"), Watch(source="b"), Watch(run="r1", case="yard", source="a")]
    for watch in watches:
        watch.offer(finished(1))
    assert [seq(watch.take(0)) for watch in watches] == [None, None, None, 1]


def test_a_waiting_reader_wakes() -> None:
    watch = Watch()
    taken: list[int | None] = []
    reader = Thread(target=lambda: taken.append(seq(watch.take(5))))
    reader.start()
    time.sleep(0.02)
    watch.offer(finished(7))
    reader.join(20)
    assert taken == [7]


def test_a_closed_one_takes_nothing_and_leaves_once() -> None:
    left: list[Watch] = []
    woken: list[int] = []
    watch = Watch(leave=left.append, wake=lambda: woken.append(1))
    watch.offer(finished(1))
    watch.close()
    watch.close()
    watch.offer(finished(2))
    assert watch.take() is None
    assert left == [watch]
    assert len(woken) == 2
