"""Which file a model reference means: the user's models, the shipped ones, aliases, or a path.

Order: a path to an ONNX file; a model that the user added; a file in the models folder; a shipped model; an alias of a
shipped model. So a user who adds a model called like an alias gets his own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO
from uuid import uuid4

import structlog

from sightline.core.errors import FileMissing, InvalidModel, ModelNotFound
from sightline.core.events import make_event
from sightline.core.model import Model, ModelCard, card_from_props, checked_model_name, split_ref
from sightline.core.onnx_metadata import digest, read_props, write_props
from sightline.core.ports import ArtifactStore
from sightline.core.stores import ModelStore

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Alias:
    """Another name of a shipped model.

    Attributes:
        model: the shipped model that it opens.
        then: predictors that answer after the model's own, for instance `presence`.
    """

    model: str
    then: tuple[str, ...] = ()


ALIASES: Mapping[str, Alias] = MappingProxyType(
    {
        "mobilenet_v3_small": Alias(model="efficientnet-lite0"),
        "person_detector": Alias(model="nanodet-m", then=("presence",)),
    }
)
"""Names that users of older systems have in their settings."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """A model that can be opened: `ref` is `name@version`, `path` a local file."""

    ref: str
    name: str
    path: Path
    card: ModelCard
    then: tuple[str, ...] = field(default=())


class ModelRegistry:
    """Finds and adds models.

    Args:
        models: gives the store of what was added; asked only when a name is looked up, not for a path.
        artifacts: gives the store of the files of added models.
        root: the user's folder of model files; copies of artifacts are kept in its folder `cache`.
        shipped: folder of the models that ship with Sightline.
    """

    def __init__(
        self,
        *,
        models: Callable[[], ModelStore],
        artifacts: Callable[[], ArtifactStore],
        root: Path,
        shipped: Path,
    ) -> None:
        self._models = models
        self._artifacts = artifacts
        self._cache = root / "cache"
        self._files = _by_name(shipped) | _by_name(root)

    def locate(self, ref: str) -> Located:
        """Return the model that `ref` means.

        Raises:
            ModelNotFound: nothing has that name; the message lists what has.
            FileMissing: it is a path, and nothing is there.
            InvalidModel: the file is no ONNX model.
        """
        if ref.endswith(".onnx") or "/" in ref or "\\" in ref:
            return _located_file(Path(ref).expanduser())
        name, version = split_ref(ref)
        if self._is_added(name):
            model = self._models().get(name, version)
            return Located(ref=model.ref, name=name, path=self._local(model), card=model.card)
        if name in self._files:
            found = _located_file(self._files[name])
            if version not in (None, found.card.version, "production"):
                raise ModelNotFound(f"Model {name!r} has no version {version!r}. Known: {found.card.version}.")
            return found
        if alias := ALIASES.get(name):
            return replace(self.locate(alias.model), then=alias.then)
        known = self.names()
        near = get_close_matches(name, known, n=1)
        raise ModelNotFound(
            f"No model is called {name!r}. Known: {', '.join(known)}.",
            cure=f"Did you mean {near[0]!r}?" if near else "Add yours: sightline models add FILE.onnx",
        )

    def names(self) -> list[str]:
        """Return every name that `locate` takes, without paths."""
        return sorted({*(model.name for model in self._models().list()), *self._files, *ALIASES})

    def list(self) -> Sequence[Model]:
        """Return the models that were added, then those of the folders that they do not hide, without damaged ones."""
        added = list(self._models().list())
        hidden = {model.name for model in added}
        for name, path in self._files.items():
            if name not in hidden:
                try:
                    card = _located_file(path).card
                except (InvalidModel, FileMissing) as error:
                    log.warning("model file is passed over", path=str(path), error=str(error))
                    continue
                aliases = tuple(alias for alias, target in ALIASES.items() if target.model == name)
                added.append(Model(name=name, version=card.version, card=card, aliases=aliases))
        return added

    def add(self, path: Path, card: ModelCard) -> Model:
        """Store the file with `card` in its metadata as the next version of `card.name`.

        The card's version and digest are set here: versions count up from 1, and a file that is the newest version
        already, with the same card, is not added again.

        Raises:
            FileMissing: nothing is at `path`.
            InvalidModel: the file is no ONNX model.
            StorageFull: there is no room.
        """
        name = checked_model_name(card.name)
        with _opened(path) as file, _naming(path):
            sum_ = digest(file)
        versions = self._models().list(name) if self._is_added(name) else []
        card = replace(card, digest=sum_, version=str(max((int(m.version) for m in versions), default=0) + 1))
        if versions and replace(versions[0].card, version=card.version) == card:
            return versions[0]
        key = f"models/{name}/{card.version}/{uuid4().hex[:8]}/model.onnx"
        self._cache.mkdir(parents=True, exist_ok=True)
        local = self._cache / f".{uuid4().hex}.part"
        try:
            with _opened(path) as source, local.open("wb") as target:
                write_props(source, target, card.to_props())
            with local.open("rb") as file:
                self._artifacts().put(key, file)
        finally:
            local.unlink(missing_ok=True)
        model = Model(name=name, version=card.version, card=card, files={"model.onnx": key})
        registered = make_event(
            "model.registered",
            source=f"/models/{name}",
            subject=card.version,
            time=datetime.now(UTC),
            data={"name": name, "version": card.version, "task": card.task, "digest": sum_},
        )
        return self._models().add(model, events=[registered])

    def _is_added(self, name: str) -> bool:
        return bool(self._models().list(name))

    def _local(self, model: Model) -> Path:
        """Return a local copy of an added model's file."""
        key = model.files["model.onnx"]
        path = self._cache / f"{key.replace('/', '-')}"
        if not path.exists():
            self._cache.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.{uuid4().hex}")
            try:
                with self._artifacts().open(key) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return path


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the ONNX files of a folder by their stems."""
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))} if folder.is_dir() else {}


def _opened(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        FileMissing: nothing is there.
        InvalidModel: it may not be read.
    """
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise FileMissing(f"No model file is at {path}.", cure="Check the path.") from None
    except OSError as error:
        raise InvalidModel(f"{path} cannot be read: {error.strerror}.", cure="Check its permissions.") from None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let a complaint about a file say which file."""
    try:
        yield
    except InvalidModel as error:
        raise InvalidModel(error.message, cure=error.cure, location=str(path)) from None


def _located_file(path: Path) -> Located:
    with _opened(path) as file, _naming(path):
        card = card_from_props(read_props(file), name=path.stem)
    return Located(ref=card.ref, name=card.name, path=path, card=card)
