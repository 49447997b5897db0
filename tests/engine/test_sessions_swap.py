"""An alias moves while models run: the new version takes over between two batches, and nobody notices but for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.engine.bench import OwnRuntime, x
from tests.engine.nets import doubling_net

from sightline.adapters.artifacts import ObjectStore
from sightline.adapters.database import SqlStore
from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.core.errors import Conflict, InvalidInput, InvalidModel, ModelNotFound, Unavailable
from sightline.core.events import Event as Happening
from sightline.core.model import ModelCard
from sightline.core.ports import ModelHandle, Runtime
from sightline.core.stores import ModelStore
from sightline.engine.call import Call, calling
from sightline.engine.registry import ModelRegistry
from sightline.engine.sessions import ModelSessions, SessionLayout


class Versions:
    """A registry with the model `net`, whose version n multiplies by n + 1, and sessions on it."""

    def __init__(self, folder: Path, store: SqlStore, runtime: Runtime | None = None) -> None:
        artifacts = ObjectStore(str(folder / "artifacts"))
        self.folder = folder
        self.store = store
        self.away = False
        self.registry = ModelRegistry(
            models=self._models, artifacts=lambda: artifacts, root=folder / "models", shipped=folder / "shipped"
        )
        self.events: list[Happening] = []
        self.meter = PrometheusMeter()
        self.sessions = ModelSessions(
            registry=self.registry,
            runtime=runtime or OnnxRuntime(),
            meter=self.meter,
            layout=SessionLayout(num_workers=2, max_batch=4),
            tell=self.events.append,
        )

    def add(self, factor: int, *labels: str, columns: int = 2) -> None:
        card = ModelCard(name="net", labels=labels)
        self.registry.add(doubling_net(self.folder / "new.onnx", factor=factor, columns=columns), card)

    def promote(self, version: str) -> None:
        self.registry.promote("net", "production", version)

    def _models(self) -> ModelStore:
        if self.away:
            raise Unavailable("The database is being restarted.")
        return self.store.models


@pytest.fixture
def versions(tmp_path: Path) -> Iterator[Versions]:
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
        made = Versions(tmp_path, store)
        made.add(2)
        made.promote("1")
        yield made
        made.sessions.close()


def answer(handle: ModelHandle, **call: Any) -> tuple[float, list[str]]:
    """Return what the model makes of 1, and which version that was."""
    with calling(Call(**call)) as current:
        return float(handle.run(x())["y"][0, 0]), current.versions


def test_an_alias_that_moved_is_followed_at_the_next_look(versions: Versions) -> None:
    handle = versions.sessions.open("net")
    fixed = versions.sessions.open("net@1")
    assert answer(handle) == (2, ["net@1"])
    versions.add(3)
    versions.promote("2")
    assert answer(handle) == (2, ["net@1"])
    assert versions.sessions.refresh() == 1
    assert handle.is_open, "the new version was not opened before it took over"
    assert handle.version == "net@2"
    assert not handle.is_stale
    assert answer(handle) == (3, ["net@2"])
    assert answer(fixed) == (2, ["net@1"])
    assert versions.sessions.refresh() == 0
    [swapped] = versions.events
    assert (swapped.short_type, swapped.source, swapped.subject) == ("model.swapped", "/models/net", "2")
    assert swapped.data == {"name": "net", "reference": "net", "old": "1", "new": "2"}


def test_who_opens_the_reference_anew_gets_the_new_version_and_so_does_everybody(versions: Versions) -> None:
    handle = versions.sessions.open("net@production")
    assert answer(handle) == (2, ["net@1"])
    versions.add(3)
    versions.promote("2")
    assert answer(versions.sessions.open("net@production")) == (3, ["net@2"])
    assert answer(handle) == (3, ["net@2"])


def test_a_look_that_came_late_does_not_bring_an_older_version_back(versions: Versions) -> None:
    versions.add(3)
    versions.add(4)
    handle = versions.sessions.open("net")
    assert answer(handle)[0] == 2
    versions.promote("2")
    seen = versions.registry.locate("net")  # by a thread that then waits for its turn to swap
    versions.promote("3")
    assert versions.sessions.refresh() == 1
    [slot] = versions.sessions._routing.slots()
    assert not versions.sessions._follow(slot, seen)
    assert answer(handle) == (4, ["net@3"])


def test_nothing_fails_while_versions_change_under_load(versions: Versions) -> None:
    versions.add(3)
    handle = versions.sessions.load("net")
    ending, wrong = Event(), list[object]()
    seen: set[str] = set()

    def ask(number: int) -> None:
        value = number
        while not ending.is_set():
            value += 1
            try:
                with calling(Call(deadline_s=time.monotonic() + 30)) as call:
                    got = handle.run(x(value))["y"][0, 0]
                [ran] = call.versions
                seen.add(ran)
                if got != value * {"net@1": 2, "net@2": 3}[ran]:
                    wrong.append((got, value, ran))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what this test looks for
                wrong.append(error)

    threads = [Thread(target=ask, args=(1000 * number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    num_swapped = 0
    for turn in range(20):
        versions.promote("12"[turn % 2])
        num_swapped += versions.sessions.refresh()
        for version in versions.sessions._all_versions():
            version.put_away()  # as if each were evicted at the worst moment
    ending.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert wrong == []
    assert seen == {"net@1", "net@2"}
    assert num_swapped >= 18


def test_the_old_version_finishes_its_queue_and_is_closed_when_nobody_asks_for_it(
    tmp_path: Path, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnRuntime()
    other = Versions(tmp_path, versions.store, own)
    handle = other.sessions.open("net")
    handle.run(x())
    versions.add(3)
    own.gate.clear()
    own.sessions[0].entered.clear()
    futures = [handle.submit(x(value)) for value in range(6)]
    assert own.sessions[0].entered.wait(20)
    versions.promote("2")
    swapper = Thread(target=other.sessions.refresh, daemon=True)
    swapper.start()  # it runs the new version once, which the gate holds as well
    until = time.monotonic() + 20
    while len(own.sessions) < 2 or not own.sessions[1].entered.is_set():
        assert time.monotonic() < until
        time.sleep(0.001)
    assert handle.version == "net@1"
    own.gate.set()
    swapper.join(20)
    assert handle.version == "net@2"
    assert [future.result(20)["y"][0, 0] for future in futures] == [0, 2, 4, 6, 8, 10]
    assert [session.closed for session in own.sessions] == [False, False]
    monkeypatch.setattr("sightline.engine.sessions._LEFT_S", 0.0)
    until = time.monotonic() + 20
    while not own.sessions[0].closed:
        assert time.monotonic() < until
        other.sessions.refresh()
        time.sleep(0.005)
    assert [(model.ref, model.is_open) for model in other.sessions.loaded()] == [("net@1", False), ("net@2", True)]
    other.sessions.close()


class TestStale:
    def test_a_handle_whose_card_was_read_stays_with_it_until_it_is_opened_anew(self, versions: Versions) -> None:
        began, never_read = versions.sessions.open("net"), versions.sessions.open("net")
        assert began.card.labels == ()
        versions.add(3, "cat", "dog")
        versions.promote("2")
        stale = [began.is_stale, versions.sessions.refresh() == 1, began.is_stale]
        assert stale == [False, True, True]
        assert answer(began) == (2, ["net@1"])
        assert began.card.labels == ()
        assert began.version == "net@1"
        assert not never_read.is_stale
        assert answer(never_read) == (3, ["net@2"])
        again = versions.sessions.open("net")
        assert again.card.labels == ("cat", "dog")
        assert not again.is_stale
        assert answer(again) == (3, ["net@2"])

    def test_moving_the_alias_back_ends_it(self, versions: Versions) -> None:
        handle = versions.sessions.open("net")
        assert handle.card.labels == ()
        versions.add(3, "cat", "dog")
        for version, stale in (("2", True), ("1", False)):
            versions.promote(version)
            versions.sessions.refresh()
            assert handle.is_stale == stale

    def test_a_version_that_is_read_alike_takes_over_in_silence(self, versions: Versions) -> None:
        handle = versions.sessions.open("net")
        assert handle.card.version == "1"
        versions.add(3)
        versions.promote("2")
        versions.sessions.refresh()
        assert not handle.is_stale
        assert answer(handle) == (3, ["net@2"])
        assert handle.card.version == "2"


def test_all_that_one_call_does_is_done_by_one_version(versions: Versions) -> None:
    handle = versions.sessions.open("net")
    versions.add(3)
    with calling(Call()) as call:
        first = handle.run(x())["y"][0, 0]
        versions.promote("2")
        versions.sessions.refresh()
        assert handle.version == "net@1"
        assert handle.card.version == "1"
        assert handle.run(x())["y"][0, 0] == first == 2
    assert call.versions == ["net@1"]
    assert answer(handle) == (3, ["net@2"])


class TestPinned:
    def test_a_call_gets_the_version_that_it_insists_on(self, versions: Versions) -> None:
        versions.add(3)
        handle = versions.sessions.open("net")
        assert answer(handle, pinned="2") == (3, ["net@2"])
        assert answer(handle, pinned="1") == (2, ["net@1"])
        assert answer(handle) == (2, ["net@1"])
        with calling(Call(pinned="2")):
            assert handle.version == "net@2"
            assert handle.card.version == "2"
            assert handle.is_open

    def test_a_version_that_is_not_there_is_named(self, versions: Versions) -> None:
        with pytest.raises(ModelNotFound, match="9"):
            answer(versions.sessions.open("net"), pinned="9")

    def test_a_version_that_is_read_in_another_way_is_refused_with_a_cure(self, versions: Versions) -> None:
        versions.add(3, "cat", "dog")
        handle = versions.sessions.open("net")
        assert handle.card.labels == ()
        with pytest.raises(Conflict, match="net@2") as caught:
            answer(handle, pinned="2")
        assert "net@2" in caught.value.cure
        assert answer(versions.sessions.open("net"), pinned="2") == (3, ["net@2"])


class TestWhatCannotTakeOver:
    def test_a_version_that_does_not_open_leaves_the_old_one_in_place(self, tmp_path: Path, versions: Versions) -> None:
        own = OwnRuntime()
        other = Versions(tmp_path, versions.store, own)
        handle = other.sessions.open("net")
        handle.run(x())

        def fail() -> None:
            raise InvalidModel("It is cut off.")

        own.before = fail
        versions.add(3)
        versions.promote("2")
        assert other.sessions.refresh() == 0
        assert other.sessions.open("net").run(x())["y"][0, 0] == 2
        assert handle.version == "net@1"
        assert other.events == []
        own.before = lambda: None
        end = time.monotonic() + 20
        while handle.version != "net@2":  # it is tried again, though not at once
            assert time.monotonic() < end
            other.sessions.refresh()
        other.sessions.close()

    def test_it_is_told_once_and_what_takes_long_to_fail_is_not_tried_at_every_look(
        self, tmp_path: Path, versions: Versions
    ) -> None:
        own = OwnRuntime()
        other = Versions(tmp_path, versions.store, own)
        other.sessions.open("net").run(x())

        def fail() -> None:
            time.sleep(0.02)
            raise InvalidModel("It is cut off.")

        own.before = fail
        versions.add(3)
        versions.promote("2")
        with capture_logs() as logs:
            begin = time.monotonic()
            while time.monotonic() - begin < 0.6:
                other.sessions.refresh()
                time.sleep(0.001)
        assert 1 <= len(own.opened[1:]) <= 3
        assert [line["log_level"] for line in logs if "take over" in line["event"]].count("error") == 1
        other.sessions.close()

    def test_a_database_that_is_away_changes_nothing(self, versions: Versions) -> None:
        handle = versions.sessions.open("net")
        versions.away = True
        assert versions.sessions.refresh() == 0
        assert answer(handle) == (2, ["net@1"])
        with pytest.raises(Unavailable):
            versions.sessions.open("net@1")


class TestPromote:
    def test_an_alias_is_moved_with_history_and_event(self, versions: Versions) -> None:
        versions.add(3)
        moved = versions.registry.promote("net", "candidate", "2")
        assert (moved.version, "candidate" in moved.aliases) == ("2", True)
        versions.registry.promote("net", "candidate", "1")
        versions.registry.promote("net", "candidate", "1")
        assert [version for _, version in versions.store.models.history("net", "candidate")] == ["1", "2"]
        told = [event.data for _, event in versions.store.events.list(types=["model.promoted"])]
        assert told[1:] == [
            {"name": "net", "alias": "candidate", "version": "2", "before": None},
            {"name": "net", "alias": "candidate", "version": "1", "before": "2"},
        ]

    @pytest.mark.parametrize(
        ("name", "alias", "version", "error"),
        [
            ("net", "production", "9", ModelNotFound),
            ("yolo", "production", "1", ModelNotFound),
            ("net", "2", "1", InvalidInput),
            ("net", "no name", "1", InvalidInput),
            ("../net", "production", "1", InvalidInput),
        ],
    )
    def test_what_is_not_there_is_refused(
        self, versions: Versions, name: str, alias: str, version: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            versions.registry.promote(name, alias, version)

    def test_versions_that_are_added_at_once_all_get_a_number(self, versions: Versions) -> None:
        # Each sees the other's version too late: the numbers are counted before they are taken.
        errors: list[Exception] = []

        def add(factor: int) -> None:
            path = doubling_net(versions.folder / f"{factor}.onnx", factor=factor)
            try:
                versions.registry.add(path, ModelCard(name="net"))
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)

        threads = [Thread(target=add, args=(factor,)) for factor in range(10, 14)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert errors == []
        assert sorted(model.version for model in versions.store.models.list("net")) == ["1", "2", "3", "4", "5"]
