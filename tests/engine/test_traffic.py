"""Two versions side by side: shares of the calls, and copies that nobody hears."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from tests.engine.bench import OwnRuntime, x
from tests.engine.test_sessions_swap import Versions, answer

from sightline.adapters.database import SqlStore
from sightline.core.errors import Conflict, InvalidInput, ModelNotFound
from sightline.core.prediction import JsonObject
from sightline.engine.call import Call, Priority, calling
from sightline.engine.traffic import Evenly, _differences, checked_weights


@pytest.fixture
def versions(tmp_path: Path) -> Iterator[Versions]:
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
        made = Versions(tmp_path, store)
        for factor in (2, 3):
            made.add(factor)
        made.add(4, "cat", "dog")
        made.add(5, columns=3)
        made.promote("1")
        yield made
        made.sessions.close()


def report(versions: Versions, compared: int = 0, **least: int) -> JsonObject:
    """Return the report when that much is in it."""
    until = time.monotonic() + 20
    while True:
        found = versions.sessions.shadow_report("net")
        if all(found[name] >= number for name, number in {"compared": compared, **least}.items()):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.002)


def test_evenly_spread_numbers_give_exact_shares_soon() -> None:
    numbers = Evenly()
    drawn = [numbers.next() for _ in range(100)]
    assert all(abs(sum(number < share for number in drawn) - 100 * share) <= 2 for share in (0.1, 0.25, 0.5, 0.9))


class TestSplit:
    def test_each_version_gets_its_share(self, versions: Versions) -> None:
        handle, fixed = versions.sessions.open("net"), versions.sessions.open("net@1")
        versions.sessions.split("net", {"1": 9, "2": 1})
        assert handle.is_open
        assert versions.sessions.shares("net") == {"1": 0.9, "2": 0.1}
        ran = Counter(answer(handle)[1][0] for _ in range(100))
        assert 8 <= ran["net@2"] <= 12
        assert ran.total() == 100
        assert {answer(fixed)[1][0] for _ in range(20)} == {"net@1"}

    def test_a_later_handle_and_the_name_with_its_alias_are_split_too(self, versions: Versions) -> None:
        versions.sessions.split("net", {"2": 1.0})
        for ref in ("net", "net@production"):
            assert answer(versions.sessions.open(ref)) == (3, ["net@2"])

    def test_all_that_one_call_does_is_done_by_one_version(self, versions: Versions) -> None:
        versions.sessions.split("net", {"1": 0.5, "2": 0.5})
        handle = versions.sessions.open("net")
        seen = set()
        for _ in range(20):
            with calling(Call()) as call:
                for _ in range(3):
                    handle.run(x())
            [ran] = call.versions
            seen.add(ran)
        assert seen == {"net@1", "net@2"}

    def test_no_weights_end_it_and_so_does_moving_the_alias(self, versions: Versions) -> None:
        handle = versions.sessions.open("net")
        versions.sessions.split("net", {"2": 1})
        versions.sessions.split("net", {})
        assert versions.sessions.shares("net") == {}
        assert answer(handle) == (2, ["net@1"])
        versions.sessions.split("net", {"1": 1})
        versions.promote("2")
        assert versions.sessions.refresh() == 1
        assert answer(handle) == (3, ["net@2"])

    @pytest.mark.parametrize(
        ("weights", "error"),
        [
            ({"1": 0.5, "9": 0.5}, ModelNotFound),
            ({"1": 0.5, "2": -1}, InvalidInput),
            ({"1": 0, "2": 0}, InvalidInput),
            ({"1": float("nan")}, InvalidInput),
            ({"1": 0.5, "3": 0.5}, Conflict),
            ({"1": 0.5, "4": 0.5}, Conflict),
        ],
    )
    def test_what_cannot_be_split_is_refused_and_nothing_changes(
        self, versions: Versions, weights: dict[str, float], error: type[Exception]
    ) -> None:
        handle = versions.sessions.open("net")
        with pytest.raises(error):
            versions.sessions.split("net", weights)
        assert {answer(handle)[1][0] for _ in range(10)} == {"net@1"}

    def test_weights_come_back_checked(self) -> None:
        assert checked_weights({"1": 2, "2": 0}) == {"1": 2, "2": 0}


class TestShadow:
    def test_copies_are_compared_and_the_caller_sees_only_the_current_version(self, versions: Versions) -> None:
        handle = versions.sessions.open("net")
        versions.sessions.shadow("net", "2", 1.0)
        for number in range(10):
            assert answer(handle) == (2, ["net@1"])
            found = report(versions, compared=number + 1)  # a copy at a time, so that none is dropped
        assert (found["model"], found["current"], found["candidate"], found["share"]) == ("net", "net@1", "net@2", 1.0)
        assert (found["agreement"], found["same_best"], found["errors"]) == (0, 1, 0)
        assert found["largest_difference"] == 1
        for version in ("current", "candidate"):
            figures = found["latency_ms"][version]
            assert 0 < figures["p50"] <= figures["p95"] < 1000

    def test_versions_that_answer_alike_agree(self, versions: Versions) -> None:
        versions.add(2, columns=2)  # as version 1, behind another number
        handle = versions.sessions.open("net")
        versions.registry.promote("net", "production", "1")
        versions.sessions.shadow("net", "5", 1.0)
        answer(handle)
        found = report(versions, compared=1)
        assert (found["agreement"], found["largest_difference"]) == (1, 0)

    def test_only_the_share_is_copied_and_jobs_are_not(self, versions: Versions) -> None:
        handle = versions.sessions.open("net")
        versions.sessions.shadow("net", "2", 0.25)
        for _ in range(40):
            answer(handle, priority=Priority.JOB)
        for _ in range(40):
            answer(handle)
            while versions.sessions.shadow_report("net")["waiting"]:
                time.sleep(0.001)
        found = report(versions, compared=8)
        assert 8 <= found["compared"] + found["dropped"] + found["waiting"] <= 12

    def test_a_slow_candidate_delays_nobody_and_copies_beyond_a_few_are_dropped(
        self, tmp_path: Path, versions: Versions
    ) -> None:
        own = OwnRuntime()
        other = Versions(tmp_path, versions.store, own)
        handle = other.sessions.open("net")
        handle.run(x())
        other.sessions.shadow("net", "2", 1.0)
        candidate = own.sessions[1]
        candidate.gate = Event()
        begin = time.monotonic()
        for value in range(14, 54):
            assert handle.run(x(value))["y"][0, 0] == 2 * value
        assert time.monotonic() - begin < 15
        found = other.sessions.shadow_report("net")
        assert found["compared"] == 0
        assert found["dropped"] >= 20
        candidate.gate.set()
        assert report(other, compared=40 - found["dropped"] - 1)["agreement"] == 1
        other.sessions.close()

    def test_a_copy_is_a_job_that_lets_real_calls_of_the_candidate_pass(
        self, tmp_path: Path, versions: Versions
    ) -> None:
        own = OwnRuntime()
        other = Versions(tmp_path, versions.store, own)
        handle = other.sessions.open("net")
        handle.run(x())
        other.sessions.shadow("net", "2", 1.0)
        candidate = own.sessions[1]
        candidate.gate = Event()
        direct = other.sessions.open("net@2")
        inside = [direct.submit(x()) for _ in range(2)]
        [version] = [version for version in other.sessions._all_versions() if version.ref == "net@2"]
        assert version.opened is not None
        queue = version.opened.queue
        until = time.monotonic() + 20
        while (queue.rows, queue.num_busy) != (0, 2):
            assert time.monotonic() < until
            time.sleep(0.001)
        handle.run(x(rows=3))
        while (queue.rows, queue.num_busy) != (3, 2):
            assert time.monotonic() < until
            time.sleep(0.001)
        late = direct.submit(x(rows=4))
        queue._seats = 3  # one more, for this thread
        assert [work.rows for work in queue.take(4)] == [4]
        queue.done()
        late.cancel()
        candidate.gate.set()
        assert [future.result(20)["y"][0, 0] for future in inside] == [2, 2]
        other.sessions.close()

    def test_a_candidate_that_fails_is_reported_and_fails_nobody(self, tmp_path: Path, versions: Versions) -> None:
        own = OwnRuntime()
        other = Versions(tmp_path, versions.store, own)
        handle = other.sessions.open("net")
        handle.run(x())
        other.sessions.shadow("net", "2", 1.0)

        def fail() -> None:
            raise RuntimeError("no such operator")

        own.sessions[1].first = fail
        assert handle.run(x(4))["y"][0, 0] == 8
        found = report(other, errors=1)
        assert (found["compared"], found["agreement"], found["same_best"]) == (0, None, None)
        assert found["last_error"] == "RuntimeError: no such operator"
        assert found["latency_ms"]["candidate"] == {"mean": None, "p50": None, "p95": None}
        other.sessions.close()

    def test_a_call_that_fails_is_not_compared(self, versions: Versions) -> None:
        handle = versions.sessions.open("net")
        versions.sessions.shadow("net", "2", 1.0)
        with pytest.raises(InvalidInput):
            handle.run({"x": np.ones((1, 7), np.float32)})
        answer(handle)
        found = report(versions, compared=1)
        assert (found["compared"], found["errors"]) == (1, 0)

    def test_it_ends_when_told_and_when_the_candidate_is_promoted(self, versions: Versions) -> None:
        handle = versions.sessions.open("net")
        for version in ("1", "2"):
            versions.sessions.shadow("net", "2", 1.0)
            if version == "1":
                versions.sessions.stop_shadow("net")
            versions.promote(version)
            versions.sessions.refresh()
            with pytest.raises(ModelNotFound, match="no shadow"):
                versions.sessions.shadow_report("net")
        assert answer(handle) == (3, ["net@2"])
        versions.sessions.stop_shadow("net")

    @pytest.mark.parametrize(
        ("candidate", "share", "error"),
        [
            ("9", 0.5, ModelNotFound),
            ("2", 0, InvalidInput),
            ("2", 1.5, InvalidInput),
            ("2", float("nan"), InvalidInput),
            ("1", 0.5, Conflict),
            ("4", 0.5, Conflict),
        ],
    )
    def test_what_cannot_be_compared_is_refused(
        self, versions: Versions, candidate: str, share: float, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            versions.sessions.shadow("net", candidate, share)
        with pytest.raises(ModelNotFound):
            versions.sessions.shadow_report("net")

    def test_other_labels_are_no_obstacle(self, versions: Versions) -> None:
        versions.sessions.shadow("net", "3", 1.0)
        answer(versions.sessions.open("net"))
        assert report(versions, compared=1)["candidate"] == "net@3"


class TestDifferences:
    @pytest.mark.parametrize(
        ("one", "other", "found"),
        [
            ([[1.0, 2.0]], [[1.00001, 2.0]], (True, 0.00001, 1, 1)),
            ([[1.0, 2.0], [3.0, 0.0]], [[2.0, 1.0], [3.0, 0.0]], (False, 1.0, 2, 1)),
            ([1.0, 2.0], [1.0, 4.0], (False, 2.0, 0, 0)),
            ([[1.0]], [[1.0, 2.0]], (False, 0.0, 0, 0)),
            ([[np.nan, 1.0]], [[np.nan, 1.0]], (True, 0.0, 1, 1)),
            (["a", "b"], ["a", "c"], (False, 0.0, 0, 0)),
        ],
    )
    def test_outputs_are_compared(self, one: Any, other: Any, found: tuple[Any, ...]) -> None:
        close, largest, ranked, same_best = _differences({"y": np.array(one)}, {"y": np.array(other)})
        assert (close, ranked, same_best) == (found[0], found[2], found[3])
        assert largest == pytest.approx(found[1], abs=1e-9)

    def test_outputs_of_other_names_never_agree(self) -> None:
        y = {"y": np.zeros(2)}
        assert _differences(y, {"z": np.zeros(2)}) == (False, 0.0, 0, 0)
        assert not _differences(y, {**y, "z": np.zeros(2)})[0]
