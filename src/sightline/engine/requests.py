"""Single requests to a case: predictors that no other thread has, and that remember nothing of the request before.

No collector and no sources: a request is one sample. Knows no protocol.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import count
from threading import Lock
from typing import Any, BinaryIO
from uuid import uuid4

from sightline.core.case import Case, PredictionStage
from sightline.core.errors import ConfigError, Conflict, InvalidInput, InvalidMedia, SampleRejected, SightlineError
from sightline.core.plugins import Context, Predictor, Source
from sightline.core.ports import ModelHandle, Tensors
from sightline.core.prediction import Rejected
from sightline.core.sample import Sample
from sightline.engine.afterwards import Afterwards
from sightline.engine.call import Call, current_call
from sightline.engine.pipeline import Chain

SOURCE = "request"
"""Source of every sample that a request brings."""

_MOST_VARIANTS = 16  # ways to ask whose predictors are kept: a caller who counts thresholds up must not fill the memory


class Requests:
    """Answers about single samples as a case says; may be used by several threads at once.

    Each thread takes predictors that nobody else has. Stateful ones are renewed for each request, and all of them are
    opened anew when a model means a version that is read in another way.

    Args:
        case: what to do.
        context: the world of its plug-ins.
        source_for: gives the source that loads a media type, for a case that names no `input`.
    """

    def __init__(self, case: Case, context: Context, *, source_for: Callable[[str], Source]) -> None:
        self.case = case
        self._context = replace(context, case=case.name, source=SOURCE)
        self._source_for = source_for
        self._afterwards = Afterwards(case, replace(context, case=case.name, source="*"))
        self._stateful = any(each.stateful for stage in case.stages.values() for each in stage.values())
        self._least_size: tuple[int, int] | None = None
        self._ready = False
        self._seq = count()
        self._id = uuid4().hex  # another case of this name may have other thresholds
        self._variants: OrderedDict[tuple[tuple[str, Any], ...], _Variant] = OrderedDict({(): _Variant(case)})
        self._lock = Lock()
        self._closed = False

    @property
    def stateful(self) -> bool:
        """True where an answer depends on more than the sample and the models."""
        return self._stateful

    def warm(self) -> None:
        """Open predictors and their models now.

        Raises:
            SightlineError: what is wrong with them.
        """
        self._source("")  # imports what decodes
        with self._lane({}):
            pass

    def load(self, file: BinaryIO, name: str = "", media_type: str = "", *, whole: bool = False) -> Sample[Any]:
        """Return the one sample in the body of a request; the time goes to the span `decode`.

        Args:
            file: the body.
            name: for messages.
            media_type: of the body; empty where nobody said.
            whole: keep every pixel, also where the models would be content with fewer.

        Raises:
            InvalidMedia: it cannot be decoded, or holds nothing.
            InvalidInput: it holds several samples, or cannot be loaded by this case.
        """
        if not self._ready:
            self.warm()
        begin = time.perf_counter()
        source = replace(self._source(media_type))
        least_size = None if whole else self._least_size
        source.open(self._context if least_size is None else replace(self._context, least_size=least_size))
        samples = source.load(file, name, media_type)
        try:
            found = next(iter(samples), None)
            if found is None:
                raise InvalidMedia(f"{name or 'The body'} holds nothing to look at.")
            if next(iter(samples), None) is not None:
                raise InvalidInput(f"{name or 'The body'} holds several samples.", cure="Send one at a time.")
        finally:
            if hasattr(samples, "close"):
                samples.close()
            source.close()
            current_call().spent("decode", time.perf_counter() - begin)
        metadata = {**self.case.metadata, **found.metadata}
        return replace(found, source=SOURCE, seq=next(self._seq), metadata=metadata)

    def analyse(self, sample: Sample[Any], given: Mapping[str, Any] | None = None) -> Sample[Any]:
        """Return `sample` with the predictions of the case; sinks for requests get it too, by another thread.

        Args:
            sample: what to look at.
            given: fields of predictors behind `validation` for this request, for instance `{"top_k": 3}`; every
                predictor that has such a field gets it.

        Raises:
            SampleRejected: the stage `validation` refused it.
            InvalidInput: no predictor has such a field, or its value is wrong; or what is in the sample does not fit.
            Overloaded: a model has too much to do.
            DeadlineExceeded: the deadline of the call passed while a model was busy.
            Conflict: this was closed.
        """
        with self._lane(given or {}) as lane:
            lane.used = True
            [done] = lane.chain.validate([sample])
            if done.rejected is None:
                [done] = lane.chain.analyse([done])
        if self._afterwards:
            self._afterwards.put(done)
        if done.rejected is not None:
            raise _refusal(done.rejected)
        return done

    def feeds(self, sample: Sample[Any]) -> Tensors:
        """Return what the first predictor behind `validation` would feed its model: tensors by input name.

        Raises:
            InvalidInput: it feeds no model with single samples.
        """
        with self._lane({}) as lane:
            first = next(iter(lane.behind_validation()), None)
            if first is None:
                raise InvalidInput(f"The case {self.case.name!r} has no predictor behind validation.")
            return first.feeds(sample)

    def drawn(self, sample: Sample[Any], media_type: str = "") -> bytes:
        """Return a JPEG of what `load` gave with its predictions drawn onto it.

        Raises:
            InvalidInput: such samples cannot be drawn.
        """
        return self._source(media_type).drawn(sample)

    def signature(self) -> str | None:
        """Return what the answers depend on beside the sample: the models that run now, with their digests.

        None where answers cannot be kept for an equal request: predictors remember, sinks want every sample, no model
        runs here, or one has no digest.
        """
        if self._stateful or self._afterwards:
            return None
        with self._lane({}) as lane:
            models = [(handle.version, handle.card.digest) for handle in lane.handles.values()]
        if not models or not all(digest for _, digest in models):
            return None
        return "\n".join([self.case.name, self._id, *(f"{version} {digest}" for version, digest in models)])

    def retire(self) -> None:
        """Answer those who ask already, and keep no predictors for others; `close` follows when they have left."""
        with self._lock:
            idle = [lane for variant in self._variants.values() for lane in variant.drained()]
        for lane in idle:
            lane.chain.close()

    def close(self) -> None:
        """Close the predictors and the sinks; a second call does nothing."""
        with self._lock:
            self._closed = True
            idle = [lane for variant in self._variants.values() for lane in variant.drained()]
        for lane in idle:
            lane.chain.close()
        self._afterwards.close()

    def _source(self, media_type: str) -> Source:
        named = self.case.input
        return self._source_for(media_type) if named is None else self.case.sources[named]

    @contextmanager
    def _lane(self, given: Mapping[str, Any]) -> Iterator[_Lane]:
        """Take predictors that no other thread has, and give them back."""
        variant = self._variant(given)
        with self._lock:
            lane = variant.taken()
        if lane is not None and lane.is_stale:
            lane.chain.close()
            lane = None
        if lane is None:
            lane = self._opened(variant.case)
        elif self._stateful and lane.used:
            try:
                lane.chain.renew()
                lane.used = False
            except BaseException:
                lane.chain.close()
                raise
        try:
            yield lane
        except BaseException as error:
            if not isinstance(error, SightlineError):
                lane.chain.close()  # a plug-in that raised what nobody foresaw may be in any state
                raise
            self._give_back(variant, lane)
            raise
        else:
            self._give_back(variant, lane)

    def _opened(self, case: Case) -> _Lane:
        lane = _Lane(case, self._context)
        # A picture that a sink stores, or that a second predictor looks at, is wanted whole.
        sizes = [each.least_size for each in lane.chain.predictors.values()]
        known = [size for size in sizes if size is not None]
        scaled = bool(known) and len(known) == len(sizes) and not self._afterwards
        self._least_size = (max(size[0] for size in known), max(size[1] for size in known)) if scaled else None
        self._ready = True
        return lane

    def _give_back(self, variant: _Variant, lane: _Lane) -> None:
        lane.note()
        with self._lock:
            kept = not self._closed and variant.keep(lane)
        if not kept:
            lane.chain.close()

    def _variant(self, given: Mapping[str, Any]) -> _Variant:
        """Return the case with fields as a request wants them.

        Raises:
            InvalidInput: no predictor has such a field, or its value is wrong.
            Conflict: this was closed.
        """
        key = tuple(sorted(given.items()))
        with self._lock:
            if self._closed:
                raise Conflict(f"{self.case.name!r} is served no more.")
            if (variant := self._variants.get(key)) is not None:
                self._variants.move_to_end(key)
                return variant
        made = _Variant(_with_fields(self.case, given))
        left: list[_Lane] = []
        with self._lock:
            variant = self._variants.setdefault(key, made)
            if len(self._variants) > _MOST_VARIANTS:
                oldest = next(each for each in self._variants if each)  # never the case as it is
                left = self._variants.pop(oldest).drained()
        for lane in left:
            lane.chain.close()
        return variant


class _Lane:
    """Predictors of one thread at a time, and the models that they opened."""

    def __init__(self, case: Case, context: Context) -> None:
        self.used = False
        self.handles: dict[str, ModelHandle] = {}
        self._calls: list[Call] = []
        self._open = context.open_model
        self.chain = Chain(case, replace(context, open_model=self._model), call=self._call)
        self._validation = case.stages.get(PredictionStage.VALIDATION, {})

    @property
    def is_stale(self) -> bool:
        """True when a model means a version now that these predictors cannot read."""
        return any(handle.is_stale for handle in self.handles.values())

    def behind_validation(self) -> list[Predictor]:
        """Return the predictors of the other stages."""
        return [each for key, each in self.chain.predictors.items() if key not in self._validation]

    def note(self) -> None:
        """Tell the request which models ran."""
        request = current_call()
        for call in self._calls:
            for version in call.versions:
                request.note(version)
        self._calls.clear()

    def _call(self) -> Call:
        """Return the circumstances of the request for one predictor, with a note of its own models alone."""
        call = replace(current_call(), versions=[])
        self._calls.append(call)
        return call

    def _model(self, ref: str) -> ModelHandle:
        """Return one handle a reference: predictors that are renewed need not look it up again."""
        if ref not in self.handles:
            self.handles[ref] = self._open(ref)
        return self.handles[ref]


class _Variant:
    """A case with its fields as some requests want them, and predictors of it that wait."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._idle: list[_Lane] = []
        self._gone = False

    def taken(self) -> _Lane | None:
        """Return predictors that wait, or None."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def keep(self, lane: _Lane) -> bool:
        """Let predictors wait here; False when they will not be wanted again."""
        if not self._gone:
            self._idle.append(lane)
        return not self._gone

    def drained(self) -> list[_Lane]:
        """Return all that wait; none are kept from now on."""
        self._gone = True
        idle, self._idle = self._idle, []
        return idle


def _with_fields(case: Case, given: Mapping[str, Any]) -> Case:
    """Return the case with fields of the predictors behind `validation` replaced.

    Raises:
        InvalidInput: none of them has such a field, or its value is wrong.
    """
    stages = {stage: dict(predictors) for stage, predictors in case.stages.items()}
    for name, value in given.items():
        num = 0
        for stage, predictors in stages.items():
            for key, predictor in predictors.items():
                if stage == PredictionStage.VALIDATION or name not in [each.name for each in fields(predictor)]:
                    continue
                num += 1
                try:
                    predictors[key] = replace(predictor, **{name: value})
                except (ConfigError, ValueError, TypeError) as error:
                    raise InvalidInput(f"Parameter {name}: {error}", cure=getattr(error, "cure", "")) from None
        if not num:
            raise InvalidInput(f"No predictor of {case.name!r} takes {name}.", cure=f"Leave {name} out.")
    return replace(case, stages=stages)


def _refusal(rejected: Rejected) -> SampleRejected:
    return SampleRejected(
        f"Rejected by {rejected.by!r} in the stage {rejected.stage}: {rejected.reason}.", cure="Send another one."
    )
