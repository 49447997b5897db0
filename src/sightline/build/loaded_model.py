"""A model in three lines: `load_model("nanodet-m").predict("street.jpg")`."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sightline.build.context import CaseBuildContext
from sightline.build.plugins import build_plugin
from sightline.build.request_sources import requests_of
from sightline.core.case import Case, PredictionStage
from sightline.core.errors import ConfigError, Conflict, FileMissing, InvalidInput, InvalidMedia
from sightline.core.model import ModelCard
from sightline.core.prediction import Prediction
from sightline.core.sample import Clocks, Frame, Sample
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
        case = _case(context, self._located, ref, fields)
        self._answer = list(case.stages[PredictionStage.ANALYTICS])[-1]
        self._requests = requests_of(case, context)
        self._closed = False
        self._requests.warm()  # what is wrong with the model is told now, not at the first picture

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
        if self._closed:
            raise Conflict(f"The model {self._located.ref} was closed.", cure="Load it again: load_model(...).")
        return self._requests.analyse(self._sample(picture)).predictions[self._answer]

    def close(self) -> None:
        """Give the model's memory back; a second call does nothing."""
        self._closed = True
        self._requests.close()
        if self._owns_context:
            self._context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        return self._requests.load(io.BytesIO(data), name)


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


def case_of_model(context: CaseBuildContext, ref: str, **fields: Any) -> Case:
    """Return a case of one predictor for the model's task, and what its alias adds; it has no source.

    Raises:
        ModelNotFound: nothing has that name.
        ConfigError: nothing can do the model's task, or a field is unknown or wrong.
    """
    return _case(context, context.registry.locate(ref), ref, fields)


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
