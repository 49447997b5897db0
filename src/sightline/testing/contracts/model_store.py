"""What every ModelStore promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sightline.core.errors import Conflict, InvalidInput, ModelNotFound
from sightline.core.events import Event, make_event
from sightline.core.model import Model, ModelCard, TensorSpec
from sightline.core.stores import MetadataStore

CARD = ModelCard(
    name="people",
    task="object-detection",
    inputs=(TensorSpec(name="images", dtype="float32", shape=("n", 3, 416, None)),),
    outputs=(TensorSpec(name="boxes", dtype="float32", shape=("n", 4)),),
    labels=("person", None, "bicycle"),
    preprocessing={"mean": [0.5, 0.25, 0.125], "letterbox": True},
    postprocessing={"layout": "nanodet"},
    metrics={"map": 0.31},
    licence="Apache-2.0",
    batchable=False,
)


def make_model(version: str = "1", name: str = "people") -> Model:
    """Return a version of a model."""
    return Model(
        name=name,
        version=version,
        card=replace(CARD, name=name, version=version),
        files={"model.onnx": f"models/{name}/{version}/model.onnx"},
    )


def model_event(short_type: str = "model.promoted") -> Event:
    """Return an event that tells of a model."""
    return make_event(short_type, source="/models/people", time=datetime(2026, 11, 20, tzinfo=UTC), data={})


class ModelStoreContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_a_model_comes_back_as_it_was_added(self, store: MetadataStore) -> None:
        added = store.models.add(make_model())
        assert added.created is not None
        assert added == replace(make_model(), created=added.created)
        assert store.models.get("people", "1") == added

    def test_a_version_is_added_once(self, store: MetadataStore) -> None:
        first = store.models.add(make_model())
        other = replace(make_model(), files={"model.onnx": "elsewhere"})
        with pytest.raises(Conflict, match="people@1"):
            store.models.add(other, events=[model_event("model.registered")])
        assert store.models.get("people", "1") == first
        assert store.events.list() == []

    @pytest.mark.parametrize(("name", "version"), [("", "1"), ("a/b", "1"), ("people", "1@2"), ("people", "")])
    def test_names_that_no_reference_can_hold_are_refused(self, store: MetadataStore, name: str, version: str) -> None:
        with pytest.raises(InvalidInput):
            store.models.add(make_model(version, name))

    def test_a_name_alone_means_the_version_added_last(self, store: MetadataStore) -> None:
        for version in ("2", "10", "1"):
            store.models.add(make_model(version))
        assert store.models.get("people").version == "1"

    def test_a_name_alone_means_production_where_that_is_set(self, store: MetadataStore) -> None:
        for version in ("1", "2"):
            store.models.add(make_model(version))
        store.models.point("people", "production", "1", expected=None)
        assert store.models.get("people").version == "1"

    def test_an_alias_opens_the_version_that_it_points_at(self, store: MetadataStore) -> None:
        for version in ("1", "2"):
            store.models.add(make_model(version))
        store.models.point("people", "best", "1", expected=None)
        store.models.point("people", "canary", "1", expected=None)
        found = store.models.get("people", "best")
        assert (found.version, found.aliases) == ("1", ("best", "canary"))

    def test_an_alias_belongs_to_one_model(self, store: MetadataStore) -> None:
        store.models.add(make_model())
        store.models.add(make_model(name="cars"))
        store.models.point("people", "best", "1", expected=None)
        with pytest.raises(ModelNotFound):
            store.models.get("cars", "best")

    def test_getting_an_absent_model_names_those_that_are_there(self, store: MetadataStore) -> None:
        store.models.add(make_model())
        with pytest.raises(ModelNotFound, match=r"'yolo'.*people"):
            store.models.get("yolo")
        with pytest.raises(ModelNotFound, match=r"'7'.*1"):
            store.models.get("people", "7")

    def test_models_are_listed_by_name_and_the_newest_first(self, store: MetadataStore) -> None:
        for name, version in (("people", "1"), ("Cars", "1"), ("people", "2"), ("anvils", "1")):
            store.models.add(make_model(version, name))
        store.models.point("people", "production", "1", expected=None)
        assert [model.ref for model in store.models.list()] == ["Cars@1", "anvils@1", "people@2", "people@1"]
        assert [model.aliases for model in store.models.list("people")] == [(), ("production",)]

    def test_an_alias_moves_only_from_where_it_is_believed_to_be(self, store: MetadataStore) -> None:
        for version in ("1", "2", "3"):
            store.models.add(make_model(version))
        store.models.point("people", "production", "1", expected=None)
        for expected in (None, "2"):
            with pytest.raises(Conflict, match="production"):
                store.models.point("people", "production", "3", expected=expected, events=[model_event()])
        assert store.models.get("people", "production").version == "1"
        store.models.point("people", "production", "3", expected="1")
        assert store.models.get("people", "production").version == "3"
        assert [version for _, version in store.models.history("people", "production")] == ["3", "1"]
        assert store.events.list() == []

    def test_an_alias_that_is_nowhere_moves_from_nowhere(self, store: MetadataStore) -> None:
        store.models.add(make_model())
        with pytest.raises(Conflict, match="nowhere"):
            store.models.point("people", "production", "1", expected="1")
        assert store.models.history("people", "production") == []

    def test_an_alias_points_at_versions_that_exist(self, store: MetadataStore) -> None:
        with pytest.raises(ModelNotFound):
            store.models.point("people", "production", "1", expected=None)
        store.models.add(make_model())
        with pytest.raises(ModelNotFound):
            store.models.point("people", "production", "2", expected=None)

    def test_a_removed_version_is_gone_and_its_number_stays_taken(self, store: MetadataStore) -> None:
        removed = model_event("model.removed")
        for version in ("1", "2"):
            store.models.add(make_model(version))
        store.models.remove("people", "2", events=[removed])
        assert store.models.get("people").version == "1"
        assert [model.ref for model in store.models.list()] == ["people@1"]
        assert sorted(store.models.taken("people")) == ["1", "2"]
        assert [event.id for _, event in store.events.list()] == [removed.id]
        for absent in ("2", "3"):
            with pytest.raises(ModelNotFound):
                store.models.get("people", absent)
            with pytest.raises(ModelNotFound):
                store.models.remove("people", absent)
            with pytest.raises(ModelNotFound):
                store.models.point("people", "production", absent, expected=None)
        with pytest.raises(Conflict, match="people@2"):
            store.models.add(make_model("2"))
        store.models.remove("people", "1")
        assert store.models.list("people") == []
        assert store.models.taken("cars") == []

    def test_a_version_that_an_alias_points_at_is_not_removed(self, store: MetadataStore) -> None:
        for version in ("1", "2"):
            store.models.add(make_model(version))
        store.models.point("people", "production", "1", expected=None)
        with pytest.raises(Conflict, match="production"):
            store.models.remove("people", "1", events=[model_event("model.removed")])
        assert store.events.list() == []
        store.models.point("people", "production", "2", expected="1")
        store.models.remove("people", "1")
        assert [version for _, version in store.models.history("people", "production")] == ["2", "1"]

    def test_history_tells_when(self, store: MetadataStore) -> None:
        for version in ("1", "2"):
            store.models.add(make_model(version))
        store.models.point("people", "production", "1", expected=None)
        store.models.point("people", "production", "2", expected="1")
        [(later, _), (earlier, _)] = store.models.history("people", "production")
        added = store.models.get("people", "1").created
        assert added is not None
        assert added <= earlier <= later

    def test_events_commit_with_the_model(self, store: MetadataStore) -> None:
        registered, promoted = model_event("model.registered"), model_event()
        store.models.add(make_model(), events=[registered])
        store.models.point("people", "production", "1", expected=None, events=[promoted])
        assert [event.id for _, event in store.events.list()] == [registered.id, promoted.id]

    def test_of_many_that_move_an_alias_at_once_one_wins(self, store: MetadataStore) -> None:
        for version in ("1", "2", "3", "4"):
            store.models.add(make_model(version))
        store.models.point("people", "production", "1", expected=None)

        def move(version: str) -> str | None:
            try:
                store.models.point("people", "production", version, expected="1")
            except Conflict:
                return None
            return version

        with ThreadPoolExecutor(3) as pool:
            winners = [version for version in pool.map(move, ("2", "3", "4")) if version]
        assert len(winners) == 1
        assert store.models.get("people").version == winners[0]
        assert len(store.models.history("people", "production")) == 2
