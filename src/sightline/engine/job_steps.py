"""The steps of a job, one by one: reading, collecting, each predictor, each sink. Each leaves what the next ones need.

Knows nothing of leases and tokens: `attempt` calls it and commits what it returns. A step is given what earlier ones
left, perhaps in another process.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from sightline.core.case import Case, PredictionStage
from sightline.core.checkpoint import decode_predictions, decode_samples, encode_predictions, encode_samples
from sightline.core.codec import encode_sample, to_json
from sightline.core.errors import Cancelled, InvalidMedia, SampleRejected
from sightline.core.events import Event, events_of
from sightline.core.plugins import Context, Sink, Source, is_elsewhere
from sightline.core.prediction import Findings, JsonObject, Prediction, Rejected
from sightline.core.sample import Sample
from sightline.engine.call import Call
from sightline.engine.pipeline import Chain
from sightline.engine.publishing import is_of_attempt

OBJECT = "object"
"""Source of the samples of a job whose case names no `input`."""

READING, COLLECTING, PUBLISHING = "reading", "collecting", "publishing"
_INLINE = 16 << 10  # bytes of an outcome that stand in its record; larger ones go into the artifact store
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, kw_only=True)
class JobCase:
    """What a worker needs of a case.

    Attributes:
        case: with the parameters of the job put into its plug-ins.
        context: the world of its plug-ins, without what is of this job.
        source_for: gives the source that loads a media type, for a case that names no `input`.
    """

    case: Case
    context: Context
    source_for: Callable[[str], Source]


class JobSteps:
    """The steps of one job.

    Args:
        made: the case.
        context: its world: run, object, results, stopping, progress.
        spec: what is wanted; see `engine.runs`.
        folder: key below which outcomes are put that are too large for a record.
        done: outcomes of the steps that were done before.
        call: circumstances of the predictor calls.

    Attributes:
        names: of the steps, in their order.
        put_aside: something was put into the artifact store that is no result.
    """

    def __init__(
        self,
        made: JobCase,
        context: Context,
        spec: JsonObject,
        *,
        folder: str,
        done: Mapping[str, JsonObject],
        call: Callable[[], Call],
    ) -> None:
        self._made = made
        self._case = made.case
        self._context = replace(context, source=self._case.input or OBJECT)
        self._spec = spec
        self._folder = folder
        self._call = call
        self._outcomes = dict(done)
        self._samples: list[Sample[Any]] | None = None
        self._written: list[Sink] = []
        self.put_aside = False
        self._sinks = _named_sinks(self._case)
        self._predictors = {
            key: (stage, predictor) for stage, each in self._case.stages.items() for key, predictor in each.items()
        }
        early = [key for key, (stage, _) in self._predictors.items() if stage == PredictionStage.VALIDATION]
        late = [key for key in self._predictors if key not in early]
        collecting = [] if self._case.collector is None else [COLLECTING]
        self.names = (READING, *early, *collecting, *late, *self._sinks, PUBLISHING)

    def is_predictor(self, step: str) -> bool:
        """Return whether a step asks a predictor."""
        return step in self._predictors

    def is_sink(self, step: str) -> bool:
        """Return whether a step gives what was found to a sink."""
        return step in self._sinks

    def run(self, step: str) -> JsonObject:
        """Do a step, and return what is to be recorded of it.

        Raises:
            SampleRejected: `validation` refused everything that the object holds.
            Cancelled: the job was stopped meanwhile.
            Exception: what a plug-in raised.
        """
        if step == READING:
            self._samples = self._read()
            outcome = self._kept(step, encode_samples(self._samples), num_samples=len(self._samples))
        elif step == COLLECTING:
            self._samples = self._collected(self._so_far(step))
            outcome = self._kept(step, encode_samples(self._samples), num_samples=len(self._samples))
        elif step in self._predictors:
            outcome = self._predicted(step)
        else:
            outcome = {"made": self._wrote(step)}
        self._outcomes[step] = outcome
        return outcome

    def made(self) -> dict[str, str]:
        """Return what the sinks made, word -> key; the predictions as JSON where none of them made anything."""
        made: dict[str, str] = {}
        for name in self._sinks:
            made |= dict(self._outcomes[name]["made"])
        if not any(is_of_attempt(key, self._context.run) for key in made.values()):
            told = [encode_sample(sample, self._case.name) for sample in self._so_far(PUBLISHING)]
            key = f"{self._context.results}.json"
            self._context.ports.artifacts.put(key, to_json({"case": self._case.name, "samples": told}))
            made["json"] = key
        return made

    @property
    def models(self) -> list[str]:
        """`name@version` of the models that ran, in this attempt or an earlier one."""
        answers = (each for sample in self._samples or () for each in sample.predictions.values())
        return list(dict.fromkeys(each.model for each in answers if each.model))

    def events(self, step: str) -> list[Event]:
        """Return the events among the findings of a predictor, with ids that another attempt would give them too."""
        run = self._context.run
        told: list[Event] = []
        for sample in self._samples or ():
            if (said := sample.predictions.get(step)) is not None:
                told += events_of(replace(sample, predictions={step: said}), case=self._case.name, run=run)
        return told

    def settle(self) -> None:
        """Let the sinks finish what goes on after the end was recorded."""
        for sink in self._written:
            sink.settle()

    def _read(self) -> list[Sample[Any]]:
        """Return the samples of the object."""
        spec, artifacts = self._spec, self._context.ports.artifacts
        key, media_type = str(spec["object"]), str(spec.get("media_type") or "")
        named = self._case.input
        source = replace(self._made.source_for(media_type) if named is None else self._case.sources[named])
        source.open(self._context)
        try:
            with ExitStack() as stack:
                if is_elsewhere(key):
                    samples = source.load_elsewhere(key)
                elif key.endswith("/"):
                    samples = source.load_many(_files(self._context, key), key)
                else:
                    file = stack.enter_context(artifacts.open(key))
                    samples = source.load(file, key.rpartition("/")[2], media_type)
                found = list(self._unless_stopped(samples))
        finally:
            source.close()
        if not found:
            raise InvalidMedia(f"{key} holds nothing to look at.")
        about = {**self._case.metadata, **self._context.metadata}
        return [
            replace(sample, source=self._context.source, seq=seq, metadata={**about, **sample.metadata})
            for seq, sample in enumerate(found)
        ]

    def _unless_stopped(self, samples: Iterator[Sample[Any]]) -> Iterator[Sample[Any]]:
        for sample in samples:
            if self._context.stopping.is_set():
                raise Cancelled("The job was stopped while its object was read.")
            yield sample

    def _collected(self, samples: list[Sample[Any]]) -> list[Sample[Any]]:
        assert self._case.collector is not None  # noqa: S101 - there is no such step without one
        collector = replace(self._case.collector)
        collector.open(self._context)
        try:
            fit = [sample for sample in samples if sample.rejected is None]
            return [*collector.collect(fit), *collector.flush()]
        finally:
            collector.close()

    def _predicted(self, key: str) -> JsonObject:
        """Ask one predictor, and return its answers alone: the samples are kept already."""
        before = self._so_far(key)
        stage, predictor = self._predictors[key]
        stages = {stage: {key: predictor}}
        chain = Chain(replace(self._case, stages=stages), self._context, call=self._call, keeps_last=True)
        try:
            is_early = stage == PredictionStage.VALIDATION
            self._samples = chain.validate(before) if is_early else chain.analyse(before)
            if (ends := chain.cut_off("the object has ended")) is not None:
                self._samples = [_with_ends(each, ends, key) for each in self._samples]
        finally:
            chain.close()
        refused = [sample.rejected for sample in self._samples if sample.rejected is not None]
        if refused and len(refused) == len(self._samples):
            first = refused[0]
            raise SampleRejected(f"Rejected by {first.by!r} in the stage {first.stage}: {first.reason}.")
        answers = [_answer(old, sample, key) for old, sample in zip(before, self._samples, strict=True)]
        return self._kept(key, encode_predictions(answers), num_samples=len(answers))

    def _wrote(self, name: str) -> dict[str, str]:
        """Give the samples to one sink, and return what it made."""
        samples = self._so_far(name)
        sink = replace(self._sinks[name])
        order = list(self._sinks)
        made: dict[str, str] = {}
        for before in order[: order.index(name)]:
            made |= dict(self._outcomes[before]["made"])
        sink.open(replace(self._context, source="*", made=made))
        try:
            sink.write([sample for sample in samples if sample.rejected is None or sink.rejected])
        finally:
            sink.close()
        self._written.append(sink)
        return dict(sink.made)

    def _so_far(self, step: str) -> list[Sample[Any]]:
        """Return the samples as they are before a step, from what earlier steps left where they ran elsewhere."""
        if self._samples is None:
            samples: list[Sample[Any]] = []
            for name in self.names[: self.names.index(step)]:
                if name in (READING, COLLECTING):
                    with self._opened(name) as file:
                        samples = decode_samples(file)
                elif name in self._predictors:
                    with self._opened(name) as file:
                        samples = _with_answers(samples, name, decode_predictions(file))
            self._samples = samples
        return self._samples

    def _kept(self, step: str, file: BinaryIO, **facts: Any) -> JsonObject:
        """Put what a step leaves aside, and return where."""
        start = file.read(_INLINE + 1)
        if len(start) <= _INLINE:
            return {**facts, "inline": base64.b64encode(start).decode()}
        file.seek(0)
        self.put_aside = True
        key = f"{self._folder}{step}"
        num_bytes = self._context.ports.artifacts.put(key, file)
        return {**facts, "key": key, "num_bytes": num_bytes}

    def _opened(self, step: str) -> BinaryIO:
        outcome = self._outcomes[step]
        if "inline" in outcome:
            return io.BytesIO(base64.b64decode(outcome["inline"]))
        return self._context.ports.artifacts.open(str(outcome["key"]))


def _files(context: Context, folder: str) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the objects of a folder, one open at a time."""
    for key in context.ports.artifacts.list(folder):
        if context.stopping.is_set():
            raise Cancelled("The job was stopped while its object was read.")
        with context.ports.artifacts.open(key) as file:
            yield key.removeprefix(folder), file


def _answer(before: Sample[Any], sample: Sample[Any], key: str) -> Prediction | None:
    """Return what a predictor said of a sample; None where it was not asked."""
    answer = sample.predictions.get(key)
    return sample.rejected if answer is None and before.rejected is None else answer


def _with_ends(sample: Sample[Any], ends: Sample[Any], key: str) -> Sample[Any]:
    """Return the sample with the findings of `Chain.cut_off` behind its own, where it is the last one."""
    said, more = sample.predictions.get(key), ends.predictions[key]
    if sample.id != ends.id or not isinstance(said, Findings) or not isinstance(more, Findings):
        return sample
    return sample.with_prediction(key, replace(said, items=(*said.items, *more.items)))


def _with_answers(samples: Sequence[Sample[Any]], key: str, answers: Sequence[Prediction | None]) -> list[Sample[Any]]:
    done: list[Sample[Any]] = []
    for sample, answer in zip(samples, answers, strict=True):
        if isinstance(answer, Rejected):
            done.append(sample.with_rejection(answer))
        else:
            done.append(sample if answer is None else sample.with_prediction(key, answer))
    return done


def _named_sinks(case: Case) -> dict[str, Sink]:
    """Return the sinks by names that no other step has: `MedicalReport` is `medical-report`."""
    taken = {READING, COLLECTING, PUBLISHING, *(key for each in case.stages.values() for key in each)}
    named: dict[str, Sink] = {}
    for sink in case.sinks:
        stem = _WORD.sub("-", type(sink).__name__).lower()
        name, number = stem, 2
        while name in taken or name in named:
            name, number = f"{stem}-{number}", number + 1
        named[name] = sink
    return named
