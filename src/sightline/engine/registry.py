"""Which file a model reference means: the user's models, the shipped ones, aliases, or a path.

Order: a path to an ONNX file; a model that the user added; a file in the models folder; a shipped model; an alias of a
shipped model. So a user who adds a model called like an alias gets his own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO
from uuid import uuid4

import structlog

from sightline.core.errors import Conflict, FileMissing, InvalidInput, InvalidModel, ModelNotFound
from sightline.core.events import make_event
from sightline.core.model import Model, ModelCard, card_from_props, checked_model_name, split_ref
from sightline.core.onnx_metadata import digest, read_props, write_props
from sightline.core.ports import ArtifactStore
from sightline.core.stores import ModelStore

log = structlog.get_logger()
_TRIES = 5  # at a version number that others want as well


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
        "medical_segmentation_v1": Alias(model="deepbrain"),
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

    def add(self, path: Path, card: ModelCard, *, force: bool = False) -> Model:
        """Store the file with `card` in its metadata as the next version of `card.name`.

        The card's version and digest are set here: versions count up from 1, and a file that is the newest version
        already, with the same card, is not added again.

        Args:
            path: the file.
            card: what it is.
            force: also take a version that is for another task than the one before, which callers may not expect.

        Raises:
            Conflict: it is for another task than the model.
            FileMissing: nothing is at `path`.
            InvalidModel: the file is no ONNX model.
            StorageFull: there is no room.
        """
        name = checked_model_name(card.name)
        newest = next(iter(self._models().list(name)), None)
        if not force and newest is not None and card.task != newest.card.task:
            raise Conflict(
                f"{newest.ref} is for {newest.card.task or 'no task'}, the new version for {card.task or 'no task'}.",
                cure="Give the model another name, or force it.",
            )
        with _opened(path) as file, _naming(path):
            sum_ = digest(file)
        for _ in range(_TRIES - 1):
            with suppress(Conflict):  # somebody else took this number first: count again
                return self._added(path, name, replace(card, digest=sum_))
        return self._added(path, name, replace(card, digest=sum_))

    def remove(self, name: str, version: str) -> Model:
        """Remove a version of an added model and its file, with the event `model.removed`; return what it was.

        Its number is not given again. What runs goes on with it as long as it is open.

        Raises:
            ModelNotFound: there is no such model or version.
            Conflict: an alias points at it; or it was not added: it is shipped, or lies in the models folder.
        """
        if not self._is_added(checked_model_name(name)):
            located = self.locate(f"{name}@{version}")
            raise Conflict(
                f"{located.ref} was not added: it is shipped, or lies in the models folder.",
                cure="Only versions that were added can be removed.",
            )
        model = self._models().get(name, version)
        removed = make_event(
            "model.removed",
            source=f"/models/{name}",
            subject=model.version,
            time=datetime.now(UTC),
            data={"name": name, "version": model.version, "digest": model.card.digest},
        )
        self._models().remove(name, model.version, events=[removed])
        for key in model.files.values():
            self._artifacts().delete(key)
            self._cached(key).unlink(missing_ok=True)
        return model

    def promote(self, name: str, alias: str, version: str, *, expected: str | None = "*") -> Model:
        """Move `alias` of an added model to `version`, with the event `model.promoted`; return that version.

        One that points there already is left alone. `expected` is the version at which the alias must point now: None
        is nowhere, `*` anything.

        Raises:
            ModelNotFound: there is no such model or version; models of folders have no aliases to move.
            InvalidInput: `alias` is no name, or a number, which would hide the version of that number.
            Conflict: the alias points elsewhere than expected, or somebody else moved it meanwhile.
        """
        checked_model_name(alias)
        if alias.isdecimal():
            raise InvalidInput(f"{alias!r} is no alias: numbers are versions.", cure="Use a word such as production.")
        known = self._models().list(checked_model_name(name))
        if not known:
            raise ModelNotFound(
                f"No model that was added is called {name!r}, so it has no aliases to move.",
                cure="Add it first: sightline models add FILE.onnx",
            )
        target = self._models().get(name, version)
        before = next((model.version for model in known if alias in model.aliases), None)
        if expected not in ("*", before):
            raise Conflict(
                f"The alias {alias!r} of {name!r} points at {before or 'nothing'}, not at {expected or 'nothing'}.",
                cure="Look who moved it, then try again.",
            )
        if before == target.version:
            return target
        promoted = make_event(
            "model.promoted",
            source=f"/models/{name}",
            subject=target.version,
            time=datetime.now(UTC),
            data={"name": name, "alias": alias, "version": target.version, "before": before},
        )
        self._models().point(name, alias, target.version, expected=before, events=[promoted])
        return self._models().get(name, target.version)

    def _added(self, path: Path, name: str, card: ModelCard) -> Model:
        """Store the file as the version that comes after the newest.

        Raises:
            Conflict: somebody else added that version meanwhile.
        """
        versions = self._models().list(name)
        card = replace(card, version=str(max(map(int, self._models().taken(name)), default=0) + 1))
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
            data={"name": name, "version": card.version, "task": card.task, "digest": card.digest},
        )
        try:
            return self._models().add(model, events=[registered])
        except Conflict:
            self._artifacts().delete(key)
            raise

    def _is_added(self, name: str) -> bool:
        return bool(self._models().list(name))

    def _local(self, model: Model) -> Path:
        """Return a local copy of an added model's file."""
        key = model.files["model.onnx"]
        path = self._cached(key)
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

    def _cached(self, key: str) -> Path:
        return self._cache / key.replace("/", "-")


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
