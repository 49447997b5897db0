"""What users write: the five kinds of plug-in, and the world that they are given.

A plug-in is a keyword-only dataclass; its fields are its configuration (pydantic validates them, an unknown key
is an error). State lives in attributes that `open` sets, never in fields: the engine copies plug-ins by their
fields. Plug-ins block freely and have no threads of their own unless they say so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import Event as Flag
from typing import Any, BinaryIO, ClassVar, Literal

from sightline.core.errors import InvalidInput
from sightline.core.model import ModelCard
from sightline.core.ports import ModelHandle, Ports
from sightline.core.prediction import JsonObject, Prediction
from sightline.core.sample import Sample


class SourceState(StrEnum):
    """Where a source is in its life, as its events call it."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    FROZEN = "frozen"
    BACKOFF = "backoff"
    UNAUTHORISED = "unauthorised"
    STOPPED = "stopped"


def _no_model(ref: str) -> ModelHandle:
    raise InvalidInput(f"No model {ref!r} can be opened here.")


def _ignore(*_: Any) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Context:
    """The world as one plug-in sees it; given to `open`.

    Attributes:
        run: id of the run; empty for a single request.
        source: id of the source; `*` for what sees all sources of a case.
        sources: ids of all sources of the case.
        outputs: folder of this run for files that people look at; not made before it is needed.
        stopping: set when the run shall end; every wait watches it.
        now: the time in UTC.
        open_model: a shared handle of a model by its reference.
        dropped: a source reports samples that it will never yield: reason and number.
        state: a source reports where it is in its life, and why.
        progress: share of long work that is done (0 to 1) and the stage it is in.
    """

    ports: Ports
    case: str = ""
    run: str = ""
    source: str = ""
    sources: tuple[str, ...] = ()
    epoch: int = 1
    metadata: JsonObject = field(default_factory=dict)
    outputs: Path = Path("runs")
    stopping: Flag = field(default_factory=Flag)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    open_model: Callable[[str], ModelHandle] = _no_model
    dropped: Callable[[str, int], None] = _ignore
    state: Callable[[SourceState, str], None] = _ignore
    progress: Callable[[float, str], None] = _ignore


@dataclass(kw_only=True)
class Plugin(ABC):
    """What all plug-ins have in common."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "arbitrary_types_allowed": True,
        "coerce_numbers_to_str": True,  # `url: 0` is a webcam
    }

    def open(self, context: Context) -> None:
        """Get ready; called once before any other method of this copy."""
        self.context = context

    def close(self) -> None:
        """Give everything back; called once, also after an error; nothing taken may be lost here."""


@dataclass(kw_only=True)
class Source(Plugin):
    """Yields samples: endlessly or to an end (`read`), or those of one object (`load`); a class has either or both."""

    @property
    def is_live(self) -> bool:
        """True when samples come whether we are ready or not, so that old ones give way to new ones."""
        return False

    def read(self) -> Iterator[Sample[Any]]:
        """Yield samples until the source ends or `context.stopping` is set.

        Raises:
            SourceUnreachable: what it reads from does not answer, and it is not live.
            InvalidMedia: what it reads cannot be decoded.
        """
        raise InvalidInput(f"{type(self).__name__} cannot be read as a stream.")

    def load(self, file: BinaryIO, name: str, media_type: str) -> Iterator[Sample[Any]]:
        """Yield the samples of one object: a request body or a stored object.

        Raises:
            InvalidMedia: the object cannot be decoded.
        """
        raise InvalidInput(f"{type(self).__name__} cannot load an object.")

    def probe(self) -> JsonObject:
        """Return facts about what would be read, with `advice`, a list of sentences.

        Raises:
            SourceUnreachable: it does not answer.
            InvalidMedia: it cannot be decoded.
        """
        raise InvalidInput(f"{type(self).__name__} cannot be probed.")


@dataclass(kw_only=True)
class Collector(Plugin):
    """Stands between `validation` and the later stages, and decides what goes on to them.

    Attributes:
        across_sources: collect the samples of all sources of the case together; else each source by itself.
    """

    across_sources: bool = False

    @abstractmethod
    def collect(self, samples: Sequence[Sample[Any]]) -> Iterable[Sample[Any]]:
        """Take samples in the order of their arrival; return those that are ready for the later stages."""

    def flush(self) -> Iterable[Sample[Any]]:
        """Return what is still held; called once, when the source has ended."""
        return ()

    @property
    def num_late(self) -> int:
        """Samples that came after their window had closed."""
        return 0


@dataclass(kw_only=True)
class Predictor(Plugin):
    """Turns samples into predictions. Each copy sees one (source, epoch) or one job, in order.

    Attributes:
        stateful: True when an answer depends on earlier samples; such a copy is renewed for each request.
    """

    stateful: ClassVar[bool] = False

    @classmethod
    def completed(cls, card: ModelCard, preset: str = "") -> ModelCard:
        """Return `card` with the preprocessing and postprocessing that its inputs and outputs suggest.

        For a predictor that serves a task of models: `sightline models add` asks it about a file that says nothing of
        itself. `preset` names a known recipe; what the card has already stays.

        Raises:
            InvalidInput: there is no such preset; the message lists them.
            InvalidModel: the inputs and outputs do not fit the task.
        """
        return card

    @abstractmethod
    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        """Return exactly one prediction for each sample, in order."""


@dataclass(kw_only=True)
class Sink(Plugin):
    """Takes finished samples.

    Attributes:
        rejected: also take the samples that `validation` rejected.
        requests: also take the samples of single requests, after the answer.
        on_error: what the run does when the sink fails: end (`stop`), or count and go on (`continue`).
    """

    rejected: bool = False
    requests: bool = False
    on_error: Literal["stop", "continue"] = "stop"

    @abstractmethod
    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Take samples; what was taken when this returns survives whatever comes.

        Raises:
            StorageFull: there is no room.
        """

    @property
    def made(self) -> Mapping[str, str]:
        """What the sink leaves behind for people to look at: a word for it -> path or address."""
        return {}


@dataclass(kw_only=True)
class Trainer(Plugin):
    """Turns samples with targets into a model; its engine comes with training."""

    @abstractmethod
    def fit(self, samples: Iterable[Sample[Any]]) -> str:
        """Train and return the reference of the model that was made."""
