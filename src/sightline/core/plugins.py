"""What users write: the five kinds of plug-in, and the world that they are given.

A plug-in is a keyword-only dataclass; its fields are its configuration (pydantic validates them, an unknown key
is an error). State lives in attributes that `open` sets, never in fields: the engine copies plug-ins by their
fields. Plug-ins block freely and have no threads of their own unless they say so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, ClassVar, Literal

from sightline.core.context import REMOTES, Clip, Context, NewArray, Remote, SourceState, is_elsewhere
from sightline.core.errors import InvalidInput
from sightline.core.model import ModelCard
from sightline.core.ports import Tensors
from sightline.core.prediction import Finding, JsonObject, Prediction
from sightline.core.sample import Sample

__all__ = [
    "REMOTES",
    "Clip",
    "Collector",
    "Context",
    "NewArray",
    "Plugin",
    "Predictor",
    "Remote",
    "Sink",
    "Source",
    "SourceState",
    "Trainer",
    "is_elsewhere",
]


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

    @property
    def stalls_after_s(self) -> float | None:
        """Seconds without a sample after which a live source counts as stalled; None: it may be silent."""
        return None

    @property
    def stuck_after_s(self) -> float | None:
        """Seconds without a sample or a state told after which its thread is taken for lost; None: never.

        The thread is then left behind, and another copy of the source is read under a new epoch.
        """
        return None

    def read(self) -> Iterator[Sample[Any]]:
        """Yield samples until the source ends or `context.stopping` is set.

        Raises:
            SourceUnreachable: what it reads from does not answer, and it is not live.
            InvalidMedia: what it reads cannot be decoded.
        """
        raise InvalidInput(
            f"{type(self).__name__} cannot be read as a stream.",
            cure="What it reads is submitted as a job: sightline submit CASE OBJECT",
        )

    def push(self, data: bytes, media_type: str, time: datetime | None) -> None:
        """Take a sample from outside, which `read` yields; called by any thread, and never waits.

        Args:
            data: as it was sent: a picture file, for instance.
            media_type: of the data; empty where nobody said.
            time: when it was taken; None: now.

        Raises:
            InvalidInput: it cannot be decoded, or this source takes nothing from outside.
        """
        raise InvalidInput(f"Nothing can be pushed into a {type(self).__name__}.", cure="Use a source `push`.")

    def reconnect(self) -> None:
        """Open what is read anew, now: a wait is cut short, a connection given up; called by any thread, never waits.

        Raises:
            InvalidInput: there is no connection that could be made anew.
        """
        raise InvalidInput(f"{type(self).__name__} has no connection to make anew.")

    def clip(self, start: datetime, end: datetime, into: BinaryIO) -> Clip:
        """Write what was received from `start` to `end` (UTC) into a file; called by any thread while `read` goes on.

        Raises:
            NotFound: nothing of that time is held any more, or not yet.
            InvalidInput: this source holds nothing.
        """
        raise InvalidInput(f"{type(self).__name__} holds nothing of which a clip could be made.")

    def load(self, file: BinaryIO, name: str, media_type: str) -> Iterator[Sample[Any]]:
        """Yield the samples of one object: a request body or a stored object.

        Raises:
            InvalidMedia: the object cannot be decoded.
        """
        raise InvalidInput(f"{type(self).__name__} cannot load an object.")

    def load_many(self, files: Iterator[tuple[str, BinaryIO]], name: str) -> Iterator[Sample[Any]]:
        """Yield the samples of a folder of objects, all that are stored below a key that ends in `/`.

        Args:
            files: name and content of each; a content is open until the next is asked for.
            name: of the folder, for messages.

        Raises:
            InvalidMedia: what is in it cannot be decoded.
        """
        raise InvalidInput(f"{type(self).__name__} cannot load a folder of objects.", cure="Name one object.")

    def load_elsewhere(self, address: str) -> Iterator[Sample[Any]]:
        """Yield the samples of what lies in another system, by an address such as `dicomweb:STUDY/SERIES`.

        Raises:
            NotFound: it is not there.
            InvalidMedia: it cannot be decoded.
            Unavailable: the system does not answer.
        """
        scheme = address.partition(":")[0]
        raise InvalidInput(f"{type(self).__name__} loads nothing from {scheme}.", cure="Name a stored object.")

    def drawn(self, sample: Sample[Any]) -> bytes:
        """Return a JPEG of a sample that `load` gave, with what was predicted drawn onto it.

        Raises:
            InvalidInput: such samples cannot be drawn.
        """
        raise InvalidInput(f"What {type(self).__name__} loads cannot be drawn.", cure="Ask for application/json.")

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

    def cut_off(self, sample: Sample[Any]) -> Sequence[Finding]:
        """Return the ends of all that goes on, and forget it: the source is lost or over, so nobody can look on.

        Called with the last sample, without its payload and predictions, also more than once; what comes afterwards
        begins anew. The engine puts `reason` into the data, why nothing follows.
        """
        return ()

    def feeds(self, sample: Sample[Any]) -> Tensors:
        """Return what `predict` would feed its model for one sample: tensors by input name, with an axis of rows.

        Raises:
            InvalidInput: there is no model behind it, or none that is fed with single samples.
        """
        raise InvalidInput(f"{type(self).__name__} has no model that can be fed with a sample.")

    @property
    def least_size(self) -> tuple[int, int] | None:
        """Width and height in pixels at which a larger picture may be decoded for it; None: it wants all pixels.

        Known once it is open.
        """
        return None


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

    def cut_off(self, sample: Sample[Any]) -> None:
        """Take the last sample of a source once more, with the findings alone that end what went on."""

    def settle(self) -> None:
        """Finish what goes on after `close`; called once the end of the run is recorded, where there is a run."""

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
