from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import onnxruntime
import pytest
from tests.engine.nets import doubling_net

from sightline.adapters.artifacts import ObjectStore
from sightline.adapters.database import SqlStore
from sightline.core.errors import Conflict, FileMissing, InvalidInput, InvalidModel, ModelNotFound
from sightline.core.model import ModelCard
from sightline.engine.registry import ModelRegistry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
        yield store


@pytest.fixture
def registry(tmp_path: Path, store: SqlStore) -> ModelRegistry:
    doubling_net(tmp_path / "shipped" / "nanodet-m.onnx", card=ModelCard(name="nanodet-m", version="1"))
    doubling_net(tmp_path / "shipped" / "both.onnx", card=ModelCard(name="both", version="1"))
    doubling_net(tmp_path / "models" / "both.onnx", card=ModelCard(name="both", version="5"))
    return make_registry(tmp_path, store)


def make_registry(folder: Path, store: SqlStore) -> ModelRegistry:
    artifacts = ObjectStore(str(folder / "artifacts"))
    return ModelRegistry(
        models=lambda: store.models,
        artifacts=lambda: artifacts,
        root=folder / "models",
        shipped=folder / "shipped",
    )


def test_a_path_needs_no_name_and_no_store(tmp_path: Path) -> None:
    def never() -> SqlStore:
        raise AssertionError("a path needs no store")

    path = doubling_net(tmp_path / "my net.onnx")
    registry = ModelRegistry(models=never, artifacts=never, root=tmp_path / "no", shipped=tmp_path / "no")  # type: ignore[arg-type]
    assert registry.locate(str(path)).path == path
    assert registry.locate(str(path)).name == "my net"
    with pytest.raises(FileMissing, match=r"absent\.onnx"):
        registry.locate(str(tmp_path / "absent.onnx"))


def test_the_users_folder_goes_before_what_is_shipped(registry: ModelRegistry) -> None:
    assert registry.locate("both").ref == "both@5"
    assert registry.locate("nanodet-m").ref == "nanodet-m@1"
    with pytest.raises(ModelNotFound, match="no version '9'"):
        registry.locate("both@9")


def test_an_alias_opens_a_shipped_model_and_tells_what_answers_next(registry: ModelRegistry) -> None:
    located = registry.locate("person_detector")
    assert (located.ref, located.then) == ("nanodet-m@1", ("presence",))


def test_a_name_that_nothing_has_is_refused_with_what_is_near(registry: ModelRegistry) -> None:
    with pytest.raises(ModelNotFound, match="'nanodet'") as raised:
        registry.locate("nanodet")
    assert "'nanodet-m'" in raised.value.cure


def test_a_model_that_is_added_runs_hides_the_shipped_one_and_carries_its_card(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    own = doubling_net(tmp_path / "own.onnx", columns=3)
    added = registry.add(own, ModelCard(name="both", task="object-detection", labels=("a",)))
    assert (added.ref, added.card.digest[:7]) == ("both@1", "sha256:")
    located = registry.locate("both")
    assert located.ref == "both@1"
    session = onnxruntime.InferenceSession(str(located.path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["n", 3]
    assert session.get_modelmeta().custom_metadata_map["sightline.labels"] == '["a"]'
    # A file opened by its path says the same.
    assert registry.locate(str(located.path)).card == located.card


def test_versions_count_up_and_the_same_file_with_the_same_card_is_not_added_again(
    registry: ModelRegistry, tmp_path: Path, store: SqlStore
) -> None:
    own = doubling_net(tmp_path / "own.onnx")
    versions = [registry.add(own, ModelCard(name="own", title=title)).version for title in ("one", "one", "two", "one")]
    assert versions == ["1", "1", "2", "3"]
    assert [event.data["version"] for _, event in store.events.list(types=["model.registered"])] == ["1", "2", "3"]
    assert registry.locate("own").ref == "own@3"
    assert registry.locate("own@2").card.title == "two"
    store.models.point("own", "production", "2", expected=None)
    assert registry.locate("own").ref == "own@2"


def test_a_version_is_removed_with_its_file_and_its_number_is_not_given_again(
    registry: ModelRegistry, tmp_path: Path, store: SqlStore
) -> None:
    file = doubling_net(tmp_path / "own.onnx")
    for title in ("one", "two"):
        registry.add(file, ModelCard(name="own", title=title))
    path = registry.locate("own@2").path
    assert registry.remove("own", "2").ref == "own@2"
    assert registry.locate("own").ref == "own@1"
    assert not path.exists()
    assert [path.parts[-3] for path in (tmp_path / "artifacts").rglob("model.onnx")] == ["1"]
    assert registry.add(file, ModelCard(name="own", title="three")).version == "3"
    assert [event.short_type for _, event in store.events.list()].count("model.removed") == 1


def test_what_is_shipped_or_pointed_at_is_not_removed(registry: ModelRegistry, tmp_path: Path) -> None:
    registry.add(doubling_net(tmp_path / "own.onnx"), ModelCard(name="own"))
    registry.promote("own", "production", "1")
    for version in ("1", "production"):
        with pytest.raises(Conflict, match="production"):
            registry.remove("own", version)
    with pytest.raises(Conflict, match="shipped"):
        registry.remove("nanodet-m", "1")
    for name, version in (("own", "7"), ("nobody", "1"), ("nanodet-m", "2")):
        with pytest.raises(ModelNotFound):
            registry.remove(name, version)


def test_a_version_for_another_task_must_be_forced(registry: ModelRegistry, tmp_path: Path) -> None:
    file = doubling_net(tmp_path / "own.onnx")
    registry.add(file, ModelCard(name="own", task="object-detection"))
    with pytest.raises(Conflict, match="own@1 is for object-detection"):
        registry.add(file, ModelCard(name="own", task="image-classification"))
    assert registry.add(file, ModelCard(name="own", task="image-classification"), force=True).version == "2"


def test_another_process_finds_what_was_added(registry: ModelRegistry, tmp_path: Path, store: SqlStore) -> None:
    registry.add(doubling_net(tmp_path / "own.onnx"), ModelCard(name="own"))
    for cached in (tmp_path / "models" / "cache").glob("*"):
        cached.unlink()
    assert make_registry(tmp_path, store).locate("own").path.read_bytes()


def test_nothing_is_left_of_a_file_that_is_refused(registry: ModelRegistry, tmp_path: Path, store: SqlStore) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"\x80\x04pickle")
    with pytest.raises(InvalidModel, match="pickle"):
        registry.add(junk, ModelCard(name="own"))
    with pytest.raises(InvalidInput, match="no model name"):
        registry.add(junk, ModelCard(name="../own"))
    with pytest.raises(FileMissing):
        registry.add(tmp_path / "absent.onnx", ModelCard(name="own"))
    assert store.models.list() == []
    assert list((tmp_path / "models").rglob("*.part")) == []


def test_a_damaged_file_in_a_folder_is_named_and_hides_no_other(
    registry: ModelRegistry, tmp_path: Path, store: SqlStore
) -> None:
    assert [model.name for model in registry.list()] == ["both", "nanodet-m"]
    (tmp_path / "models" / "junk.onnx").write_bytes(b"junk")
    again = make_registry(tmp_path, store)
    assert [model.name for model in again.list()] == ["both", "nanodet-m"]
    with pytest.raises(InvalidModel, match=r"junk\.onnx"):
        again.locate("junk")
    assert again.locate("both").ref == "both@5"


def test_names_and_models_are_listed_with_their_aliases(registry: ModelRegistry, tmp_path: Path) -> None:
    registry.add(doubling_net(tmp_path / "own.onnx"), ModelCard(name="own"))
    assert registry.names() == [
        "both", "medical_segmentation_v1", "mobilenet_v3_small", "nanodet-m", "own", "person_detector",
    ]  # fmt: skip
    assert [(model.name, model.aliases) for model in registry.list()] == [
        ("own", ()),
        ("both", ()),
        ("nanodet-m", ("person_detector",)),
    ]
