"""A model in three lines: `load_model("nanodet-m").predict("street.jpg")`."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sightline.build.context import CaseBuildContext
from sightline.build.plugins import build_plugin
from sightline.core.case import Case, PredictionStage
from sightline.core.errors import ConfigError, Conflict, FileMissing, InvalidInput, InvalidMedia
from sightline.core.model import ModelCard
from sightline.core.prediction import Prediction
from sightline.core.sample import Clocks, Frame, Sample
from sightline.engine.pipeline import Chain
from sightline.engine.registry import Located

_KEY = "model"


class LoadedModel:
    """A model that answers about single pictures; may be called by several threads at once.

    Args:
        context: settings and ports.
        ref: reference of the model: a name, `name@version`, an alias, or a path to an ONNX file.
        fields: fields of the predictor, for instance `threshold`.
        owns_context: close the context with the model.
    """

    def __init__(
        self, context: CaseBuildContext, ref: str, fields: dict[str, Any], *, owns_context: bool = False
    ) -> None:
        self._context = context
        self._owns_context = owns_context
        self._located = context.registry.locate(ref)
        self._case = _case(context, self._located, ref, fields)
        predictors = self._case.stages[PredictionStage.ANALYTICS]
        self._answer = list(predictors)[-1]
        self._is_stateful = any(predictor.stateful for predictor in predictors.values())
        self._idle: list[Chain] = []
        self._lock = Lock()
        self._closed = False
        self._give_back(self._chain())  # what is wrong with the model is told now, not at the first picture

    @property
    def card(self) -> ModelCard:
        """What the model says of itself."""
        return self._located.card

    def predict(self, picture: Any) -> Prediction:
        """Return what the model says about a picture.

        Args:
            picture: uint8 [height, width, 3] blue first (as OpenCV has it), a PIL picture, the bytes of a picture
                file, or the path of one.

        Raises:
            FileMissing: nothing is at the path.
            InvalidMedia: it is no picture.
            InvalidInput: the array is of another type or shape.
            Conflict: the model was closed.
        """
        asked = self._sample(picture)
        chain = self._taken()
        try:
            [sample] = chain.analyse([asked])
        finally:
            self._give_back(chain)
        return sample.predictions[self._answer]

    def close(self) -> None:
        """Give the model's memory back; a second call does nothing."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for chain in idle:
            chain.close()
        if self._owns_context:
            self._context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _chain(self) -> Chain:
        return Chain(self._case, self._context.world(case=self._case.name, source="request"))

    def _taken(self) -> Chain:
        """Return predictors that no other thread has."""
        with self._lock:
            if self._closed:
                raise Conflict(f"The model {self._located.ref} was closed.", cure="Load it again: load_model(...).")
            if self._idle:
                return self._idle.pop()
        return self._chain()

    def _give_back(self, chain: Chain) -> None:
        """Keep predictors for the next picture, unless they remember this one."""
        with self._lock:
            if not (self._closed or self._is_stateful):
                self._idle.append(chain)
                return
        chain.close()

    def _sample(self, picture: Any) -> Sample[Any]:
        if isinstance(picture, np.ndarray):
            return _sample(picture)
        if hasattr(picture, "convert"):  # a PIL picture
            try:
                return _sample(np.ascontiguousarray(np.asarray(picture.convert("RGB"))[..., ::-1]))
            except OSError as error:  # PIL reads pixels at the last moment
                raise InvalidMedia(f"The picture cannot be decoded: {error}.", cure="Check the file.") from None
        if isinstance(picture, bytes | bytearray | memoryview):
            return self._decoded(bytes(picture), "picture")
        if isinstance(picture, str | PathLike):
            path = Path(picture)
            try:
                return self._decoded(path.read_bytes(), path.name)
            except FileNotFoundError:
                raise FileMissing(f"No picture is at {path}.", cure="Check the path.") from None
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise InvalidMedia(f"{path} cannot be read: {reason}.", cure="Give the path of a picture.") from None
        raise InvalidInput(
            f"A {type(picture).__name__} is no picture.", cure="Give a BGR array, a PIL picture, bytes or a path."
        )

    def _decoded(self, data: bytes, name: str) -> Sample[Any]:
        source = build_plugin("sources", "images", self._context.catalog.load("sources", "images"), {"url": "."})
        source.open(self._context.world(source="request"))
        try:
            for sample in source.load(io.BytesIO(data), name, ""):
                return sample  # type: ignore[no-any-return]
        finally:
            source.close()
        raise InvalidMedia(f"{name} holds no picture.")


def load_model(
    ref: str | PathLike[str] | None = None, *, context: CaseBuildContext | None = None, **fields: Any
) -> LoadedModel:
    """Return the model that `ref` means, ready to be asked.

    Args:
        ref: a name, `name@version`, an alias such as `person_detector`, or a path to an ONNX file; by default what the
            settings `model_path` or `model_name` say.
        context: settings and ports; made from the working directory when not given.
        fields: fields of the predictor for the model's task, for instance `threshold=0.5` or `top_k=3`.

    Raises:
        ModelNotFound: nothing has that name.
        InvalidModel: the file is no usable model, or does not say what its task is.
        ConfigError: a field is unknown or wrong.
    """
    own = context is None
    context = context or CaseBuildContext()
    try:
        return LoadedModel(context, _wanted(context, ref), fields, owns_context=own)
    except BaseException:
        if own:
            context.close()
        raise


def _wanted(context: CaseBuildContext, ref: str | PathLike[str] | None) -> str:
    """Return the reference that was given, or that the settings give."""
    settings = context.settings
    if ref is None and settings.model_path is None and settings.model_name is None:
        raise ConfigError("No model was named.", cure="Give a name, or set model_name or model_path.")
    path = settings.model_path if ref is None else ref if isinstance(ref, PathLike) else None
    if path is not None:
        return str(Path(path).absolute())  # with a slash, so that no name of a model is meant
    return str(settings.model_name if ref is None else ref)


def _case(context: CaseBuildContext, located: Located, ref: str, fields: dict[str, Any]) -> Case:
    """Return a case of one predictor for the model's task, and what its alias adds."""
    task = located.card.task
    tasks = context.catalog.names("tasks")
    if task not in tasks:
        near = get_close_matches(task, tasks, n=1)
        said = f"has the task {task!r}, which nothing can do" if task else "does not say what its task is"
        raise ConfigError(
            f"The model {located.ref} {said}. Known tasks: {', '.join(tasks)}.",
            cure=f"Did you mean {near[0]!r}?" if near else f"sightline models add {located.path.name} --task TASK ...",
        )
    first = build_plugin("predictors", task, context.catalog.load("tasks", task), {"model": ref, **fields})
    predictors = {_KEY: first}
    for name in located.then:
        predictors[name] = build_plugin("predictors", name, context.catalog.load("predictors", name), {"of": _KEY})
    return Case(name=located.name, stages={PredictionStage.ANALYTICS: predictors})


def _sample(pixels_HWC: npt.NDArray[Any]) -> Sample[Frame]:
    clocks = Clocks(pts_s=None, monotonic_s=time.monotonic(), wall=datetime.now(UTC))
    return Sample(payload=Frame(pixels_HWC), source="request", seq=0, clocks=clocks)
