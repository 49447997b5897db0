"""What HTTP and gRPC do alike with a request of the protocol: find the model, feed it, await the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sightline.core.errors import InvalidInput, NotFound, SightlineError
from sightline.core.model import ModelCard
from sightline.core.oip import as_texts, to_raw
from sightline.core.ports import Array, Tensors
from sightline.engine.cache import AnswerCache
from sightline.engine.call import Call, calling
from sightline.serve.answers import Answers
from sightline.serve.oip.pictures import holds_pictures, picture_feeds

if TYPE_CHECKING:
    from sightline.serve.platform import Platform

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ran:
    """What a model answered.

    Attributes:
        card: by which the outputs are read.
        kept: `hit` or `miss` where answers are kept; empty where they are not.
    """

    outputs: Mapping[str, Array]
    card: ModelCard
    kept: str = ""


class Inference:
    """Runs models for the doors that speak tensors; belongs to one event loop.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._models = platform.models
        self._answers = Answers()
        self._kept = platform.cases.answers

    async def run(self, name: str, version: str | None, inputs: Tensors, call: Call) -> Ran:
        """Put the tensors into the model's queue, and wait for the answer or the deadline.

        A model that is open is asked from the loop itself; opening one, and decoding pictures, is done by a thread.

        Raises:
            ModelNotFound: there is no such model or version.
            InvalidInput: the tensors do not fit the model.
            Overloaded, DeadlineExceeded, Cancelled: see `ModelHandle.run`.
        """
        begin_s, num_rows = time.perf_counter(), None
        try:
            ran = await self._run(name, version, inputs, call)
            num_rows = next((len(array) for array in inputs.values() if array.ndim), 1)
        finally:
            spent_s = time.perf_counter() - begin_s + call.spans.get("decode", 0.0)
            self._platform.statistics.note(call, spent_s, rows=num_rows)
        return ran

    async def _run(self, name: str, version: str | None, inputs: Tensors, call: Call) -> Ran:
        handle = self._models.cached(name, version)
        if handle is None:
            handle = await asyncio.to_thread(self._models.handle, name, version)
        if not handle.is_open:
            await self.in_thread(call, partial(getattr, handle, "card"))
        card = handle.card
        key = None
        if self._kept and card.digest:
            key = await asyncio.to_thread(_key, handle.version, card.digest, inputs)
            kept = self._kept.get(key)
            if kept is not None:
                call.note(handle.version)
                return Ran(kept, card, "hit")
        if holds_pictures(inputs, card):
            requests = await asyncio.to_thread(self._platform.cases.for_model, name, version)
            feeds: Tensors = await self.in_thread(call, lambda: picture_feeds(inputs, requests))
        else:
            feeds = as_texts(inputs)
        with calling(call):
            future = handle.submit(feeds)
        outputs = await self._answers.of(future, call)
        if key is None:
            return Ran(outputs, card)
        if call.versions[-1] == handle.version:  # else a candidate answered, or the alias moved meanwhile
            outputs = {output: array.copy() for output, array in outputs.items()}  # not a slice of a whole batch
            self._kept.put(key, outputs, sum(array.nbytes for array in outputs.values()))
        return Ran(outputs, card, "miss")

    async def in_thread(self, call: Call, work: Callable[[], T]) -> T:
        """Do what needs a thread, for a caller with a deadline.

        Raises:
            Overloaded, DeadlineExceeded, Cancelled: see `RequestThreads.submit`.
        """
        return await self._answers.of(self._platform.threads.submit(call, work), call)

    async def card(self, name: str, version: str | None, call: Call) -> ModelCard:
        """Return the card of a model, which is opened for it.

        Raises:
            ModelNotFound: there is no such model or version.
        """
        return await self.in_thread(call, lambda: self._models.card(name, version))

    async def is_ready(self, name: str, version: str | None) -> bool:
        """Return whether a model takes requests.

        Raises:
            NotFound: there is no such model or version.
            InvalidInput: it is no name.
        """
        try:
            await asyncio.to_thread(self._models.locate, name, version)
        except (NotFound, InvalidInput):
            raise
        except SightlineError:
            return False
        return not self._models.is_unloaded(name)


def _key(version: str, digest: str, inputs: Tensors) -> bytes:
    """Return what an answer depends on: the model, and names, types, shapes and contents of the inputs."""
    parts: list[bytes | memoryview | str] = [version, digest]
    for name in sorted(inputs):
        array = inputs[name]
        parts += (name, array.dtype.str, str(array.shape), to_raw(array))
    return AnswerCache.key(*parts)
