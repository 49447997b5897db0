"""What a predictor can say about a sample.

Knows the shapes of the answers; knows nothing of how they were made or how they travel (`codec`).

Shape letters: N items, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    import supervision

JsonObject: TypeAlias = Mapping[str, Any]
"""A JSON object: string keys, values that JSON can hold."""


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of `array` that cannot be written; the caller's own array stays writable."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """One answer about one sample. The pipeline stamps `model` and `latency_ms`; predictors leave them.

    Attributes:
        model: `name@version` of the model that really ran; None when no model was asked.
        latency_ms: time from the call of the predictor to its answer, in milliseconds.
    """

    model: str | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Labels(Prediction):
    """The best classes of the whole sample, the best first.

    Attributes:
        class_id: int64 [N].
        confidence: float32 [N], 0 to 1.
        class_name: N names.
    """

    class_id: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32]
    class_name: tuple[str, ...]

    def __post_init__(self) -> None:
        _same_length(self, class_id=self.class_id, confidence=self.confidence, class_name=self.class_name)
        object.__setattr__(self, "class_id", frozen(np.asarray(self.class_id, np.int64)))
        object.__setattr__(self, "confidence", frozen(np.asarray(self.confidence, np.float32)))

    @property
    def best(self) -> str:
        """Name of the most confident class; empty when there is none."""
        return self.class_name[0] if self.class_name else ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Boxes(Prediction):
    """Things found in a picture. Field names are those of `supervision.Detections`.

    Attributes:
        xyxy: float32 [N, 4], left, top, right, bottom in pixels of the sample's picture.
        confidence: float32 [N], 0 to 1.
        class_id: int64 [N].
        class_name: N names.
        tracker_id: int64 [N], or None before a tracker has run.
    """

    xyxy: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int64]
    class_name: tuple[str, ...]
    tracker_id: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        xyxy = np.asarray(self.xyxy, np.float32).reshape(-1, 4)
        columns: dict[str, Any] = {"confidence": self.confidence, "class_id": self.class_id}
        if self.tracker_id is not None:
            columns["tracker_id"] = self.tracker_id
        _same_length(self, xyxy=xyxy, class_name=self.class_name, **columns)
        object.__setattr__(self, "xyxy", frozen(xyxy))
        object.__setattr__(self, "confidence", frozen(np.asarray(self.confidence, np.float32)))
        object.__setattr__(self, "class_id", frozen(np.asarray(self.class_id, np.int64)))
        if self.tracker_id is not None:
            object.__setattr__(self, "tracker_id", frozen(np.asarray(self.tracker_id, np.int64)))

    @classmethod
    def none(cls) -> Boxes:
        """Return Boxes with nothing in them."""
        return cls(
            xyxy=np.empty((0, 4), np.float32),
            confidence=np.empty(0, np.float32),
            class_id=np.empty(0, np.int64),
            class_name=(),
        )

    def __len__(self) -> int:
        return len(self.class_name)

    def select(self, which: npt.NDArray[Any]) -> Boxes:
        """Return the boxes that `which` (bool [N] or int [M]) picks, in that order."""
        rows = np.flatnonzero(which) if which.dtype == np.bool_ else which
        return Boxes(
            xyxy=self.xyxy[rows],
            confidence=self.confidence[rows],
            class_id=self.class_id[rows],
            class_name=tuple(self.class_name[int(row)] for row in rows),
            tracker_id=None if self.tracker_id is None else self.tracker_id[rows],
        )

    def named(self, names: tuple[str, ...]) -> Boxes:
        """Return the boxes whose class is one of `names`; all of them when `names` is empty."""
        if not names:
            return self
        return self.select(np.array([name in names for name in self.class_name], np.bool_))

    def to_supervision(self) -> supervision.Detections:
        """Return the same boxes as `supervision.Detections`.

        Raises:
            MissingExtra: the package supervision is not installed.
        """
        try:
            import supervision  # not in the base: 350 MB of drawing tools
        except ImportError:
            raise MissingExtra(
                "to_supervision() needs the package supervision.", cure="pip install supervision"
            ) from None
        return supervision.Detections(
            xyxy=np.array(self.xyxy),
            confidence=np.array(self.confidence),
            class_id=np.array(self.class_id),
            tracker_id=None if self.tracker_id is None else np.array(self.tracker_id),
            data={"class_name": np.array(self.class_name, dtype=str)},
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Mask(Prediction):
    """A class for each pixel.

    Attributes:
        labels_HW: uint8 or uint16 [H, W] (or [I, J, K] for a volume); 0 is background.
        class_name: name of each label, by its number.
        maps: float16 on the grid of the labels, by a word: `probability` that the pixel is no background, and
            `agreement` of the members of an ensemble, both 0 to 1. JSON leaves them out; checkpoints hold them.
    """

    labels_HW: npt.NDArray[np.unsignedinteger[Any]]
    class_name: tuple[str, ...]
    maps: Mapping[str, npt.NDArray[np.float16]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.labels_HW.dtype not in (np.uint8, np.uint16):
            raise InvalidInput(f"A mask is uint8 or uint16, not {self.labels_HW.dtype}.")
        for word, values in self.maps.items():
            if values.dtype != np.float16 or values.shape != self.labels_HW.shape:
                grid, given = list(self.labels_HW.shape), f"{values.dtype} {list(values.shape)}"
                raise InvalidInput(f"The map {word!r} of a mask is {given}, not float16 {grid}.")
        object.__setattr__(self, "labels_HW", frozen(self.labels_HW))
        object.__setattr__(self, "maps", {word: frozen(values) for word, values in self.maps.items()})


@dataclass(frozen=True, eq=False, kw_only=True)
class Generated(Prediction):
    """Text that a model wrote.

    Attributes:
        finish_reason: `stop` (it ended by itself), `length` (cut at the limit) or `cancelled`.
    """

    text: str
    num_prompt_tokens: int = 0
    num_tokens: int = 0
    finish_reason: str = "stop"


@dataclass(frozen=True, eq=False, kw_only=True)
class Finding:
    """One fact about a sample; with `event` it is also worth telling: the engine makes it a durable event.

    Attributes:
        name: what it is about, for instance `in` or `volume`.
        value: a number or a word; None where the fact is its own news.
        unit: unit of a number, for instance `mm3`; empty for a count.
        subject: whom it concerns, for instance `track/7`.
        event: short event type, for instance `line.crossed`; None for a plain fact.
        data: further details, as JSON.
    """

    name: str
    value: float | str | None = None
    unit: str = ""
    subject: str = ""
    event: str | None = None
    data: JsonObject | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings(Prediction):
    """What was concluded about a sample: counts, measurements, happenings."""

    items: tuple[Finding, ...] = ()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    def value(self, name: str) -> float | str | None:
        """Return the value of the first finding called `name`, or None."""
        return next((item.value for item in self.items if item.name == name), None)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scalar(Prediction):
    """One number with a name, for instance the mean brightness."""

    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Rejected(Prediction):
    """The sample is not fit to be analysed; it goes no further.

    A predictor of the stage `validation` gives the reason; the pipeline fills in the rest.

    Attributes:
        reason: one line with the measured value and the limit.
        stage: the stage that rejected.
        by: key of the predictor that rejected.
        kind: short stable word to count by, for instance `dark`.
    """

    reason: str
    kind: str = "rejected"
    stage: str = ""
    by: str = ""


def _same_length(owner: Prediction, **columns: Any) -> None:
    """Raise InvalidInput unless all columns have as many items."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidInput(f"{type(owner).__name__} needs columns of one length, got {lengths}.")
