"""The stages of a case: what happens to samples between a source and the sinks.

A `Chain` holds fresh copies of the predictors for one (source, epoch) or one job, so that trackers and counters need
neither keys nor locks. It knows no threads and no queues: whoever owns the samples calls it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from sightline.core.case import Case, PredictionStage
from sightline.core.errors import Cancelled, DeadlineExceeded, OutOfSequence, Overloaded, SightlineError, Unavailable
from sightline.core.events import checked_short_type
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Finding, Findings, Prediction, Rejected
from sightline.core.sample import Sample
from sightline.engine.call import Call, calling

log = structlog.get_logger()
# Asking again one by one would not find a bad sample, and would ask a busy model many times more.
_NOT_OF_A_SAMPLE = (OutOfSequence, Overloaded, DeadlineExceeded, Cancelled, Unavailable)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Samples that were lost to an error of a predictor."""

    key: str
    error: Exception
    samples: tuple[Sample[Any], ...]


@dataclass(frozen=True, eq=False)
class _Step:
    stage: str
    key: str
    predictor: Predictor


class Chain:
    """Fresh copies of a case's predictors, opened for one (source, epoch) or one job.

    Args:
        case: what to do.
        context: the world as these copies see it.
        on_failure: told of samples that a predictor lost; None lets the error through, as a request wants it.
        call: circumstances of the predictor calls (priority, deadline).
        keeps_last: remember the last sample, for `cut_off`.
    """

    def __init__(
        self,
        case: Case,
        context: Context,
        *,
        on_failure: Callable[[Failure], None] | None = None,
        call: Callable[[], Call] = Call,
        keeps_last: bool = False,
    ) -> None:
        self.epoch = context.epoch
        self._case = case
        self._context = context
        self._meter = context.ports.meter
        self._on_failure = on_failure
        self._call = call
        self._keeps_last = keeps_last
        self._last: Sample[Any] | None = None
        self._steps: list[_Step] = []
        try:
            for stage, predictors in case.stages.items():
                for key, predictor in predictors.items():
                    copy = replace(predictor)
                    copy.open(context)
                    self._steps.append(_Step(stage, key, copy))
        except BaseException:
            self.close()
            raise

    def validate(self, samples: Sequence[Sample[Any]]) -> list[Sample[Any]]:
        """Return `samples` as the stage `validation` leaves them; those that it refused are `rejected`."""
        return self._through(samples, [step for step in self._steps if step.stage == PredictionStage.VALIDATION])

    def analyse(self, samples: Sequence[Sample[Any]]) -> list[Sample[Any]]:
        """Return `samples` with the predictions of every stage after `validation`; rejected ones as they are."""
        return self._through(samples, [step for step in self._steps if step.stage != PredictionStage.VALIDATION])

    def cut_off(self, reason: str) -> Sample[Any] | None:
        """Return the last sample with the findings alone that end what goes on; None where nothing does.

        Args:
            reason: why nothing follows it, for people.
        """
        sample, self._last = self._last, None
        if sample is None:
            return None
        last = replace(sample.with_payload(None), predictions={})
        found: dict[str, Prediction] = {}
        for step in self._steps:
            try:
                ends = tuple(
                    replace(each, data={**(each.data or {}), "reason": reason}) for each in step.predictor.cut_off(last)
                )
                _check_events(ends)
            except Exception as error:
                if self._on_failure is None:
                    raise
                self._on_failure(Failure(key=step.key, error=error, samples=()))
            else:
                found |= {step.key: Findings(items=ends)} if ends else {}
        return replace(sample, predictions=found) if found else None

    @property
    def predictors(self) -> dict[str, Predictor]:
        """The open copies by their keys, in the order in which they run."""
        return {step.key: step.predictor for step in self._steps}

    def renew(self) -> None:
        """Put new copies in the place of those that remember earlier samples."""
        for position, step in enumerate(self._steps):
            if step.predictor.stateful:
                copy = replace(step.predictor)
                copy.open(self._context)
                _close(step)
                self._steps[position] = replace(step, predictor=copy)

    def close(self) -> None:
        """Close all copies; what one of them raises is logged, so that the others are closed too."""
        for step in reversed(self._steps):
            _close(step)
        self._steps.clear()

    def _through(self, samples: Sequence[Sample[Any]], steps: Sequence[_Step]) -> list[Sample[Any]]:
        if self._keeps_last:
            self._last = next((sample for sample in reversed(samples) if sample.rejected is None), self._last)
        for step in steps:
            fit = [sample for sample in samples if sample.rejected is None]
            if not fit:
                break
            answers = self._answers(step, fit)
            samples = [
                done
                for sample in samples
                if (done := sample if sample.rejected else _with_answer(sample, step, answers.get(id(sample))))
            ]
        return list(samples)

    def _answers(self, step: _Step, samples: list[Sample[Any]]) -> dict[int, Prediction]:
        """Return the prediction of each sample by its identity; samples that failed have none."""
        # A stateful predictor sees one sample at a time, so that an error costs that one alone; the others see all,
        # so that models can batch, and are asked again one by one when something in the batch is bad. A predictor that
        # does not answer one for one is not asked again: it would seem to work, at the price of every batch twice.
        parcels = [[sample] for sample in samples] if step.predictor.stateful else [samples]
        answers: dict[int, Prediction] = {}
        while parcels:
            parcel = parcels.pop(0)
            try:
                answers |= self._asked(step, parcel)
            except Exception as error:
                if len(parcel) > 1 and not isinstance(error, _NOT_OF_A_SAMPLE):
                    parcels[:0] = [[sample] for sample in parcel]
                elif self._on_failure is None:
                    raise
                else:
                    self._on_failure(Failure(key=step.key, error=error, samples=tuple(parcel)))
        return answers

    def _asked(self, step: _Step, samples: list[Sample[Any]]) -> dict[int, Prediction]:
        """Ask a predictor once, check what it says, and stamp it."""
        begin = time.perf_counter()
        with calling(self._call()) as call:
            predictions = list(step.predictor.predict(samples))
        elapsed_s = time.perf_counter() - begin
        if len(predictions) != len(samples):
            raise OutOfSequence(
                f"Predictor {step.key!r} gave {len(predictions)} predictions for {len(samples)} samples.",
                cure="predict must return exactly one prediction for each sample, in order.",
            )
        for prediction in predictions:
            if not isinstance(prediction, Prediction):
                raise OutOfSequence(
                    f"Predictor {step.key!r} gave a {type(prediction).__name__}, which is no prediction.",
                    cure="Return Labels, Boxes, Mask, Generated, Findings, Scalar or Rejected.",
                )
            if isinstance(prediction, Rejected) and step.stage != PredictionStage.VALIDATION:
                raise OutOfSequence(
                    f"Predictor {step.key!r} rejects a sample in the stage {step.stage!r}.",
                    cure="Only predictors of the stage validation may reject.",
                )
            if isinstance(prediction, Findings):
                _check_events(prediction)
        self._meter.observe("predict_seconds", elapsed_s, case=self._case.name, predictor=step.key)
        model = ", ".join(call.versions) or None
        latency_ms = 1000 * elapsed_s / len(samples)
        return {
            id(sample): replace(prediction, model=prediction.model or model, latency_ms=latency_ms)
            for sample, prediction in zip(samples, predictions, strict=True)
        }


def _check_events(findings: Iterable[Finding]) -> None:
    """Raise InvalidInput for a wrong type of event: here it costs one sample, in the writer the run."""
    for finding in findings:
        if finding.event is not None:
            checked_short_type(finding.event)


def _close(step: _Step) -> None:
    try:
        step.predictor.close()
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
        log.warning("predictor did not close", predictor=step.key, error=str(error))


def _with_answer(sample: Sample[Any], step: _Step, answer: Prediction | None) -> Sample[Any] | None:
    """Return the sample with its answer; None where the predictor failed on it."""
    if isinstance(answer, Rejected):
        return sample.with_rejection(replace(answer, stage=step.stage, by=step.key))
    return None if answer is None else sample.with_prediction(step.key, answer)


def described(error: BaseException) -> str:
    """Return one line that tells what went wrong and, for a plug-in's own error, where."""
    if isinstance(error, SightlineError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}{where}"


def kind_of(error: BaseException) -> str:
    """Return what errors of one cause share, however their texts differ: type and place."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__


def checked_stages(stages: Mapping[str, Mapping[str, Predictor]]) -> dict[str, dict[str, Predictor]]:
    """Return the stages in the order in which they run: `validation`, `analytics`, then the others as named."""
    first = [stage.value for stage in PredictionStage if stage.value in stages]
    order = [*first, *(name for name in stages if name not in first)]
    return {name: dict(stages[name]) for name in order}
