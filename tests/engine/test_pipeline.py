from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from sightline.core.case import Case
from sightline.core.errors import InvalidInput, OutOfSequence
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Finding, Findings, Prediction, Rejected, Scalar
from sightline.core.sample import Sample
from sightline.engine.call import Call, Priority, current_call
from sightline.engine.pipeline import Chain, Failure, checked_stages, described, kind_of
from sightline.testing.fakes import make_context, make_reading


@dataclass(kw_only=True)
class Answer(Predictor):
    """Answers with the reading; rejects below `lowest`, raises above `highest`, and notes what it was given."""

    lowest: float = -1e9
    highest: float = 1e9
    given: list[list[int]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    name: str = "answer"

    def open(self, context: Context) -> None:
        super().open(context)
        self.num_seen = 0

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        self.given.append([sample.seq for sample in samples])
        values = [sample.payload.values["value"] for sample in samples]
        if max(values) > self.highest:
            raise ValueError(f"{max(values)} is too much")
        self.num_seen += len(samples)
        return [
            Rejected(reason=f"{value} < {self.lowest}", kind="low")
            if value < self.lowest
            else Scalar(name="seen", value=self.num_seen)
            for value in values
        ]

    def close(self) -> None:
        self.closed.append(self.name)


@dataclass(kw_only=True)
class Counter(Answer):
    stateful: ClassVar[bool] = True


@dataclass(kw_only=True)
class Says(Predictor):
    """Answers with what it was made of, whatever it is asked."""

    answers: list[Any] = field(default_factory=list)

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        return self.answers


@dataclass(kw_only=True)
class Broken(Predictor):
    def open(self, context: Context) -> None:
        raise RuntimeError("no weights")

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        return []


@dataclass(kw_only=True)
class Asks(Predictor):
    """Asks models, as far as the pipeline can see: notes their versions in its call."""

    versions: tuple[str, ...] = ()

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        for version in self.versions:
            current_call().note(version)
        return [Scalar(name="priority", value=current_call().priority) for _ in samples]


def chain(stages: Mapping[str, Mapping[str, Predictor]], failures: list[Failure] | None = None, **others: Any) -> Chain:
    on_failure = None if failures is None else failures.append
    return Chain(Case(name="case", stages=stages), make_context(), on_failure=on_failure, **others)


def readings(*values: float) -> list[Sample[Any]]:
    return [make_reading(value, seq=seq) for seq, value in enumerate(values)]


def test_predictors_see_the_answers_of_earlier_ones_and_all_are_kept_in_order() -> None:
    seen: list[list[str]] = []

    @dataclass(kw_only=True)
    class Looks(Answer):
        def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
            seen.append(list(samples[0].predictions))
            return super().predict(samples)

    made = chain({"analytics": {"a": Looks(), "b": Looks()}, "later": {"c": Looks()}})
    [sample] = made.analyse(readings(1))
    assert list(sample.predictions) == ["a", "b", "c"]
    assert seen == [[], ["a"], ["a", "b"]]


def test_validation_and_the_later_stages_are_two_walks() -> None:
    made = chain({"validation": {"v": Answer()}, "analytics": {"a": Answer()}})
    assert list(made.validate(readings(1))[0].predictions) == ["v"]
    assert list(made.analyse(readings(1))[0].predictions) == ["a"]


def test_a_rejected_sample_goes_no_further_and_keeps_its_place() -> None:
    second = Answer()
    made = chain({"validation": {"first": Answer(lowest=2), "second": second}, "analytics": {"a": Answer()}})
    checked = made.validate(readings(3, 1, 4))
    assert [sample.seq for sample in checked] == [0, 1, 2]
    rejected = checked[1].rejected
    assert rejected is not None
    assert (rejected.stage, rejected.by, rejected.kind) == ("validation", "first", "low")
    assert second.given == [[0, 2]]
    analysed = made.analyse(checked)
    assert [list(sample.predictions) for sample in analysed] == [["first", "second", "a"], [], ["first", "second", "a"]]


def test_when_all_are_rejected_nobody_else_is_asked() -> None:
    second = Answer()
    made = chain({"validation": {"first": Answer(lowest=9), "second": second}})
    assert all(sample.rejected for sample in made.validate(readings(1, 2)))
    assert second.given == []


@pytest.mark.parametrize("num", [0, 1, 3])
def test_another_number_of_predictions_than_samples_is_an_error_that_names_the_predictor(num: int) -> None:
    answers = [Scalar(name="x", value=1)] * num
    with pytest.raises(OutOfSequence, match=f"'people' gave {num} predictions for 2 samples"):
        chain({"analytics": {"people": Says(answers=answers)}}).analyse(readings(1, 2))


def test_a_predictor_that_is_right_only_one_by_one_is_still_out_of_sequence() -> None:
    failures: list[Failure] = []
    made = chain({"analytics": {"people": Says(answers=[Scalar(name="x", value=1)])}}, failures)
    assert made.analyse(readings(1, 2)) == []
    [failure] = failures
    assert isinstance(failure.error, OutOfSequence)
    assert [sample.seq for sample in failure.samples] == [0, 1]


@pytest.mark.parametrize("answer", [None, 7, "person", {"label": 1}])
def test_what_is_no_prediction_is_an_error_that_names_the_predictor(answer: Any) -> None:
    with pytest.raises(OutOfSequence, match="'people' gave a"):
        chain({"analytics": {"people": Says(answers=[answer])}}).analyse(readings(1))


def test_only_validation_may_reject() -> None:
    with pytest.raises(OutOfSequence, match=r"'people' rejects a sample in the stage 'analytics'"):
        chain({"analytics": {"people": Says(answers=[Rejected(reason="x")])}}).analyse(readings(1))


def test_a_finding_whose_event_has_no_proper_name_costs_its_sample_alone() -> None:
    failures: list[Failure] = []
    says = Says(answers=[Findings(items=(Finding(name="a", event="Not A Type"),))])
    assert chain({"analytics": {"line": says}}, failures).analyse(readings(1)) == []
    assert isinstance(failures[0].error, InvalidInput)


def test_an_answer_that_comes_bit_by_bit_is_taken_whole() -> None:
    @dataclass(kw_only=True)
    class Lazy(Predictor):
        def predict(self, samples: Sequence[Sample[Any]]) -> Any:
            return (Scalar(name="x", value=sample.seq) for sample in samples)

    analysed = chain({"analytics": {"x": Lazy()}}).analyse(readings(1, 2))
    assert [sample.prediction("x", Scalar).value for sample in analysed] == [0, 1]


def test_a_sample_that_fails_does_not_take_its_neighbours_along() -> None:
    failures: list[Failure] = []
    answer = Answer(highest=5)
    analysed = chain({"analytics": {"a": answer, "b": Answer()}}, failures).analyse(readings(1, 9, 3))
    assert [sample.seq for sample in analysed] == [0, 2]
    assert all(list(sample.predictions) == ["a", "b"] for sample in analysed)
    assert [(failure.key, [sample.seq for sample in failure.samples]) for failure in failures] == [("a", [1])]
    assert answer.given == [[0, 1, 2], [0], [1], [2]]


def test_a_request_wants_the_error_itself() -> None:
    with pytest.raises(ValueError, match="too much"):
        chain({"analytics": {"a": Answer(highest=5)}}).analyse(readings(1, 9))


def test_a_stateful_predictor_sees_samples_one_by_one_and_in_order() -> None:
    failures: list[Failure] = []
    counter = Counter(highest=5)
    analysed = chain({"analytics": {"count": counter}}, failures).analyse(readings(1, 9, 3))
    assert counter.given == [[0], [1], [2]]
    assert [sample.prediction("count", Scalar).value for sample in analysed] == [1, 2]
    assert len(failures) == 1


def test_the_models_that_ran_and_the_time_are_stamped() -> None:
    made = chain(
        {"analytics": {"one": Asks(versions=("net@3",)), "two": Asks(versions=("a@1", "b@2")), "none": Asks()}}
    )
    [sample] = made.analyse(readings(1))
    assert [prediction.model for prediction in sample.predictions.values()] == ["net@3", "a@1, b@2", None]
    assert all((prediction.latency_ms or -1) >= 0 for prediction in sample.predictions.values())


def test_a_model_that_a_predictor_names_itself_stays() -> None:
    says = Says(answers=[Scalar(name="x", value=1, model="far@9")])
    [sample] = chain({"analytics": {"x": says}}).analyse(readings(1))
    assert sample.predictions["x"].model == "far@9"


def test_every_call_has_the_circumstances_that_the_owner_wants() -> None:
    made = chain({"analytics": {"x": Asks()}}, call=lambda: Call(priority=Priority.JOB))
    assert made.analyse(readings(1))[0].prediction("x", Scalar).value == Priority.JOB


def test_each_chain_has_fresh_copies_and_the_cases_own_is_never_opened() -> None:
    case = Case(name="case", stages={"analytics": {"count": Counter()}})
    values = []
    for _ in range(2):
        made = Chain(case, make_context())
        values += [sample.prediction("count", Scalar).value for sample in made.analyse(readings(1, 1))]
    assert values == [1, 2, 1, 2]
    assert not hasattr(case.stages["analytics"]["count"], "context")


def test_when_one_cannot_be_opened_those_before_it_are_closed() -> None:
    closed: list[str] = []
    stages = {"analytics": {"a": Answer(closed=closed, name="a"), "b": Answer(closed=closed, name="b"), "c": Broken()}}
    with pytest.raises(RuntimeError, match="no weights"):
        chain(stages)
    assert closed == ["b", "a"]


def test_closing_reaches_everyone_and_a_second_time_nobody() -> None:
    closed: list[str] = []

    @dataclass(kw_only=True)
    class Stubborn(Answer):
        def close(self) -> None:
            super().close()
            raise RuntimeError("stuck")

    made = chain({"analytics": {"a": Answer(closed=closed, name="a"), "b": Stubborn(closed=closed, name="b")}})
    made.close()
    made.close()
    assert closed == ["b", "a"]


def test_a_chain_knows_the_epoch_that_it_was_made_for() -> None:
    assert Chain(Case(name="case"), make_context(epoch=3)).epoch == 3


def test_stages_run_validation_first_then_analytics_then_the_others_as_named() -> None:
    stages: dict[str, dict[str, Predictor]] = {name: {} for name in ("report", "analytics", "alarms", "validation")}
    assert list(checked_stages(stages)) == ["validation", "analytics", "report", "alarms"]


def raised(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_an_error_is_described_in_one_line_with_its_place() -> None:
    line = described(raised("frame 1\nmore"))
    assert line.startswith("ValueError: frame 1 (test_pipeline.py:")
    assert described(InvalidInput("It is dark.")) == "It is dark."
    assert described(KeyError()) == "KeyError: "


def test_errors_of_one_place_are_of_one_kind_whatever_they_say() -> None:
    assert kind_of(raised("frame 1")) == kind_of(raised("frame 2"))
    assert kind_of(raised("x")) != kind_of(ValueError("x"))
