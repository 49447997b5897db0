"""A model from a JSON description and a file: `POST /api/v1/models`, and `CreateModel` of gRPC."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from sightline.build.context import CaseBuildContext
from sightline.core.errors import Forbidden, InvalidInput, InvalidModel, ModelNotFound, TooLarge
from sightline.core.model import Model, ModelCard, checked_model_name, split_ref
from sightline.core.prediction import JsonObject
from sightline.engine.registry import Located

FIELDS = (
    "name", "file", "task", "labels", "preset", "preprocessing", "postprocessing", "title", "description", "licence",
    "source", "aliases", "force",
)  # fmt: skip
"""What a description may hold."""

_TEXTS = ("task", "title", "description", "licence", "source")
_PLACES = ("path", "model", "artifact", "base64")
_MOST_CHARS = 10_000  # of a text
_MOST_LABELS = 100_000
_MOST_DEPTH = 32  # of processing; what is nested deeper is no recipe


def make_model(
    context: CaseBuildContext,
    config: JsonObject,
    data: bytes | BinaryIO | None = None,
    *,
    may_read_paths: bool = False,
    most_bytes: int = 4 << 30,
) -> Model:
    """Add a model version as `config` describes it, and return it; as `sightline models add` does.

    What the config leaves out is that of the file. A file that is the newest version already, with the same card, is
    not added again.

    Args:
        context: settings and ports.
        config: see `FIELDS`. `file` has one of `path` (on this machine), `model` (a known model whose file is taken),
            `artifact` (key in the artifact store), `base64` (the ONNX file itself); it is left out where `data` is
            given. `aliases` point at the version from then on. `force` takes a version that is for another task.
        data: the ONNX file.
        may_read_paths: the caller may name files of this machine.
        most_bytes: largest file that is taken.

    Raises:
        InvalidInput: the config is wrong, or does not say what is needed.
        InvalidModel: the file is no usable ONNX model; a pickle never is one.
        ModelNotFound, NotFound, FileMissing: what `file` names is not there.
        Forbidden: `file.path` was named by somebody who may not.
        TooLarge: the file is larger than `most_bytes`.
        Conflict: it is for another task than the versions before, and not forced.
        StorageFull: there is no room.
    """
    wanted = _checked(config)
    with TemporaryDirectory(prefix="sightline-model-") as folder:
        part = Path(folder) / f"{wanted.get('name', 'model')}.onnx"
        with _file(
            context, wanted.get("file"), data, part, may_read_paths=may_read_paths, most_bytes=most_bytes
        ) as path:
            try:
                model = context.registry.add(path, _card(context, path, wanted), force=wanted.get("force", False))
            except InvalidModel as error:
                error.location = "" if path == part else error.location  # where a copy lay is nobody's business
                raise
    for alias in wanted.get("aliases", ()):
        model = context.registry.promote(model.name, alias, model.version)
    return model


def _card(context: CaseBuildContext, path: Path, wanted: JsonObject) -> ModelCard:
    """Return the card for a file: what it says of itself, replaced by what is wanted, completed for its task."""
    name = wanted.get("name")
    opened = context.runtime.open(path, name=name or path.stem, device="cpu")
    try:
        card = opened.card
    finally:
        opened.close()
    given = {key: wanted[key] for key in (*_TEXTS, "preprocessing", "postprocessing") if key in wanted}
    if "labels" in wanted:
        given["labels"] = _labels(context, wanted["labels"])
    card = replace(card, **given, **({} if name is None else {"name": name}))
    known = context.catalog.names("tasks")
    if card.task not in known:
        near = get_close_matches(card.task, known, n=1)
        said = (
            f"has the task {card.task[:80]!r}, which nothing can do" if card.task else "does not say what its task is"
        )
        raise InvalidInput(
            f"The model {said}.", cure=f"Did you mean {near[0]!r}?" if near else f"Give `task`: {', '.join(known)}."
        )
    completed: ModelCard = context.catalog.load("tasks", card.task).completed(card, wanted.get("preset", ""))
    return completed


def _checked(config: Any) -> dict[str, Any]:
    """Return the config without what it leaves empty.

    Raises:
        InvalidInput: it has an unknown field, or one of a wrong kind.
    """
    if not isinstance(config, Mapping):
        raise InvalidInput("The description of a model is a JSON object.", cure=f"It may hold: {', '.join(FIELDS)}.")
    for key in config:
        if key not in FIELDS:
            near = get_close_matches(str(key), FIELDS, n=1)
            cure = f"Did you mean {near[0]!r}?" if near else f"It may hold: {', '.join(FIELDS)}."
            raise InvalidInput(f"The description of a model has no field {str(key)[:80]!r}.", cure=cure)
    wanted = {key: value for key, value in config.items() if value is not None}
    for key in ("name", "preset", *_TEXTS):
        _check_text(key, wanted.get(key, ""))
    if "name" in wanted:
        checked_model_name(wanted["name"])
    if not isinstance(wanted.get("force", False), bool):
        raise InvalidInput("`force` is true or false.", cure="Leave it out.")
    for key in ("preprocessing", "postprocessing"):
        _check_processing(key, wanted.get(key, {}))
    aliases = wanted.get("aliases", [])
    if not isinstance(aliases, list | tuple) or len(aliases) > 32 or not all(isinstance(each, str) for each in aliases):
        raise InvalidInput("`aliases` is a list of at most 32 names.", cure='Write ["production"].')
    for alias in aliases:
        checked_model_name(alias)
        if alias.isdecimal():
            raise InvalidInput(f"{alias!r} is no alias: numbers are versions.", cure="Use a word such as production.")
    return wanted


def _check_text(key: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _MOST_CHARS or "\0" in value:
        raise InvalidInput(f"`{key}` is no text of at most {_MOST_CHARS} characters without NUL.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"`{key}` is no Unicode text.") from None


def _check_processing(key: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"`{key}` is a JSON object.", cure="See docs/reference/model-metadata.md")
    level, depth = [value], 0
    while level := [inner for each in level for inner in _inside(each)]:
        depth += 1
        if depth > _MOST_DEPTH:
            raise InvalidInput(f"`{key}` is nested too deeply.", cure="See docs/reference/model-metadata.md")


def _inside(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [item for item in items if isinstance(item, Mapping | list | tuple)]


def _labels(context: CaseBuildContext, labels: Any) -> tuple[str | None, ...]:
    """Return labels from a list, or those of the model that is named."""
    if isinstance(labels, str):
        return _located(context, labels).card.labels
    if not isinstance(labels, list | tuple) or len(labels) > _MOST_LABELS:
        raise InvalidInput(
            f"`labels` is a list of at most {_MOST_LABELS} names, or the name of a model that has them.",
            cure='Write ["person", "car"].',
        )
    for label in labels:
        if label is not None:
            _check_text("labels", label)
    return tuple(labels)


@contextmanager
def _file(
    context: CaseBuildContext,
    place: Any,
    data: bytes | BinaryIO | None,
    part: Path,
    *,
    may_read_paths: bool,
    most_bytes: int,
) -> Iterator[Path]:
    """Give the path of the file: where it is, or `part`, into which it is copied."""
    if (place is None) == (data is None):
        cure = f"Upload one, or give `file` with one of {', '.join(_PLACES)}."
        raise InvalidInput("A model needs one file." if data is None else "Two files were given.", cure=cure)
    if data is None:
        if not isinstance(place, Mapping) or len(place) != 1 or next(iter(place)) not in _PLACES:
            raise InvalidInput(f"`file` has one of {', '.join(_PLACES)}.", cure='Write {"model": "nanodet-m"}.')
        [(kind, value)] = place.items()
        if kind != "base64":
            _check_text(f"file.{kind}", value)
        elif not isinstance(value, str):
            raise InvalidInput("`file.base64` is no text.")
        if kind == "path":
            if not may_read_paths:
                raise Forbidden("Files of this machine may be named by admins alone.", cure="Upload the file.")
            yield Path(value).expanduser()
            return
        if kind == "model":
            yield _located(context, value).path
            return
        data = context.artifacts.open(value) if kind == "artifact" else _decoded(value)
    if isinstance(data, bytes):
        if len(data) > most_bytes:
            raise _too_large(most_bytes)
        part.write_bytes(data)
    else:
        with data, part.open("wb") as target:
            copyfileobj(_Counted(data, most_bytes), target, 1 << 20)
    yield part


def _located(context: CaseBuildContext, ref: str) -> Located:
    """Return a model by its name; a path is none here."""
    name, _ = split_ref(ref)
    if ref.endswith(".onnx"):
        raise ModelNotFound(f"No model is called {name!r}.", cure="Leave out `.onnx`.")
    return context.registry.locate(ref)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(
            "`file.base64` is no base64.", cure="Encode the bytes of the file, without spaces."
        ) from None


def _too_large(most_bytes: int) -> TooLarge:
    return TooLarge(f"The model file is larger than {most_bytes >> 20} MiB.", cure="Give it as an artifact or a path.")


class _Counted:
    """Reads at most so many bytes."""

    def __init__(self, file: BinaryIO, most_bytes: int) -> None:
        self._file = file
        self._left = most_bytes

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge("The model file is too large.", cure="Give it as an artifact or a path.")
        return data
