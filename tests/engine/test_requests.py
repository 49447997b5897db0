from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event, get_ident
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pytest

from sightline.core.case import Case, PredictionStage
from sightline.core.errors import ConfigError, Conflict, InvalidInput, InvalidMedia, SampleRejected, WrongMediaType
from sightline.core.model import ModelCard
from sightline.core.plugins import Context, Predictor, Sink, Source
from sightline.core.prediction import Prediction, Rejected, Scalar
from sightline.core.sample import Sample
from sightline.engine.call import Call, calling
from sightline.engine.requests import Requests
from sightline.testing.fakes import FakeHandle, FakeSession, make_context, make_reading


@dataclass(kw_only=True)
class Body(Source):
    """Loads a reading from each number in a body."""

    def load(self, file: BinaryIO, name: str, media_type: str) -> Iterator[Sample[Any]]:
        for number in file.read().split():
            yield make_reading(float(number), source=self.context.source)


@dataclass(kw_only=True)
class Numbered(Predictor):
    """Answers with how many samples this copy saw; `threshold` is told back; rejects below `lowest`."""

    threshold: float = 0.0
    lowest: float = -1e9
    model: str = ""
    pause_s: float = 0.0
    users: list[tuple[int, int]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold is {self.threshold}; it must lie between 0 and 1.")

    def open(self, context: Context) -> None:
        super().open(context)
        self.num_seen = 0
        self._net = context.open_model(self.model) if self.model else None

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        self.num_seen += len(samples)
        self.users.append((id(self), get_ident()))
        time.sleep(self.pause_s)
        [sample] = samples
        if sample.payload.values["value"] < self.lowest:
            return [Rejected(reason=f"{sample.payload.values['value']} < {self.lowest}", kind="low")]
        if sample.payload.values["value"] == 666:
            raise RuntimeError("unforeseen")
        return [Scalar(name="seen", value=self.num_seen + self.threshold)]

    def close(self) -> None:
        self.closed.append(id(self))


@dataclass(kw_only=True)
class Remembering(Numbered):
    stateful: ClassVar[bool] = True


@dataclass(kw_only=True)
class Kept(Sink):
    samples: list[Sample[Any]] = field(default_factory=list)
    wait: Event = field(default_factory=Event)
    fails: bool = False

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        assert self.wait.wait(5)
        if self.fails:
            raise OSError("disk is gone")
        self.samples.extend(samples)


def requests_to(predictor: Predictor, *sinks: Sink, context: Context | None = None, **stages: Any) -> Requests:
    case = Case(name="numbers", stages={**stages, PredictionStage.ANALYTICS: {"seen": predictor}}, sinks=sinks)
    return Requests(case, context or make_context(), source_for=lambda _: Body())


def seen(requests: Requests, value: float = 1, given: dict[str, Any] | None = None) -> float:
    sample = requests.load(io.BytesIO(str(value).encode()))
    return requests.analyse(sample, given).prediction("seen", Scalar).value


def test_predictors_are_kept_between_requests() -> None:
    predictor = Numbered()
    requests = requests_to(predictor)

    assert [seen(requests) for _ in range(3)] == [1, 2, 3]
    assert not predictor.closed


def test_stateful_predictors_are_renewed_for_each_request_and_the_others_are_not() -> None:
    remembering, plain = Remembering(), Numbered()
    requests = requests_to(remembering, more={"plain": plain})

    answers = [requests.analyse(requests.load(io.BytesIO(b"1"))) for _ in range(3)]

    assert [answer.prediction("seen", Scalar).value for answer in answers] == [1, 1, 1]
    assert [answer.prediction("plain", Scalar).value for answer in answers] == [1, 2, 3]
    assert len(remembering.closed) == 2
    assert not plain.closed


def test_two_threads_never_share_a_predictor() -> None:
    predictor = Numbered(pause_s=0.02)
    requests = requests_to(predictor)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: seen(requests), range(24)))

    copies = {copy for copy, _ in predictor.users}
    assert 1 < len(copies) <= 4
    assert len(predictor.users) == 24


def test_validation_runs_first_and_refuses_with_the_reason() -> None:
    predictor = Numbered()
    requests = requests_to(predictor, validation={"high": Numbered(lowest=10)})

    with pytest.raises(SampleRejected, match=r"'high'.*validation: 3\.0 < 10"):
        seen(requests, 3)

    assert not predictor.users
    assert seen(requests, 11) == 1


def test_a_field_of_the_request_reaches_every_predictor_behind_validation_that_has_it() -> None:
    requests = requests_to(Numbered(), validation={"high": Numbered(threshold=0.9)})

    assert seen(requests, given={"threshold": 0.5}) == 1.5
    assert seen(requests) == 1
    assert seen(requests, given={"threshold": 0.5}) == 2.5


@pytest.mark.parametrize("value", [float("nan"), -1.0, 7])
def test_a_wrong_field_names_the_parameter(value: float) -> None:
    with pytest.raises(InvalidInput, match="Parameter threshold: threshold is"):
        seen(requests_to(Numbered()), given={"threshold": value})


def test_a_field_that_no_predictor_has_is_refused() -> None:
    with pytest.raises(InvalidInput, match="No predictor of 'numbers' takes top_k"):
        seen(requests_to(Numbered()), given={"top_k": 3})


def test_ways_to_ask_are_forgotten_when_there_are_too_many() -> None:
    predictor = Numbered()
    requests = requests_to(predictor)

    for number in range(100):
        seen(requests, given={"threshold": number / 100})

    assert len(predictor.closed) >= 80
    assert seen(requests) == 1


def test_predictors_that_raised_what_nobody_foresaw_are_not_used_again() -> None:
    predictor = Numbered()
    requests = requests_to(predictor)
    seen(requests)

    with pytest.raises(RuntimeError, match="unforeseen"):
        seen(requests, 666)

    assert len(predictor.closed) == 1
    assert seen(requests) == 1


class Moving(FakeHandle):
    """A handle whose reference comes to mean something else."""

    stale = False

    @property
    def is_stale(self) -> bool:
        return self.stale


def test_predictors_are_opened_anew_when_a_swap_made_them_stale() -> None:
    handles: list[Moving] = []

    def open_model(_: str) -> Moving:
        handles.append(Moving(FakeSession({}, ModelCard(name="net", version=str(len(handles) + 1), digest="sha256:1"))))
        return handles[-1]

    requests = requests_to(Numbered(model="net"), context=make_context(open_model=open_model))
    assert [seen(requests), seen(requests)] == [1, 2]
    before = requests.signature()

    handles[0].stale = True

    assert seen(requests) == 1
    assert len(handles) == 2
    after = requests.signature()
    assert before is not None
    assert after is not None
    assert before.startswith("numbers\n")
    assert after == before.replace("net@1", "net@2")
    assert requests_to(Numbered(model="net"), context=make_context(open_model=open_model)).signature() != after


def test_what_cannot_be_given_again_has_no_signature() -> None:
    undigested = make_context(session=FakeSession({}, ModelCard(name="net")))
    digested = make_context(session=FakeSession({}, ModelCard(name="net", digest="sha256:1")))

    assert requests_to(Numbered()).signature() is None  # no model
    assert requests_to(Numbered(model="net"), context=undigested).signature() is None
    assert requests_to(Remembering(model="net"), context=digested).signature() is None
    assert requests_to(Numbered(model="net"), Kept(requests=True), context=digested).signature() is None
    assert requests_to(Numbered(model="net"), context=digested).signature()


def test_sinks_for_requests_get_the_sample_without_keeping_the_answer_waiting() -> None:
    wanted, rejected, other = Kept(requests=True), Kept(requests=True, rejected=True), Kept()
    requests = requests_to(Numbered(), wanted, rejected, other, validation={"high": Numbered(lowest=10)})

    seen(requests, 11)
    with pytest.raises(SampleRejected):
        seen(requests, 3)
    assert not wanted.samples
    for sink in (wanted, rejected):
        sink.wait.set()
    requests.close()

    assert [sample.id for sample in wanted.samples] == ["request/1/0"]
    assert [sample.id for sample in rejected.samples] == ["request/1/0", "request/1/1"]
    assert not other.samples


def test_a_sink_that_fails_costs_its_samples_and_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    broken, fine = Kept(requests=True, fails=True), Kept(requests=True)
    context = make_context()
    requests = requests_to(Numbered(), broken, fine, context=context)
    for sink in (broken, fine):
        sink.wait.set()

    assert [seen(requests) for _ in range(3)] == [1, 2, 3]
    requests.close()

    assert len(fine.samples) == 3
    assert capsys.readouterr().out.count("disk is gone") == 1
    page, _ = context.ports.meter.page("")  # type: ignore[attr-defined]
    assert 'sightline_request_samples_lost_total{case="numbers",reason="failed",sink="Kept"} 3.0' in page.decode()


def test_a_body_must_hold_exactly_one_sample() -> None:
    requests = requests_to(Numbered())

    with pytest.raises(InvalidMedia, match="holds nothing"):
        requests.load(io.BytesIO(b""), "body")
    with pytest.raises(InvalidInput, match="several samples"):
        requests.load(io.BytesIO(b"1 2"), "body")


def test_a_case_says_which_source_loads_and_what_stands_on_every_sample() -> None:
    def refuse(media_type: str) -> Source:
        raise WrongMediaType(media_type)

    case = Case(name="numbers", sources={"door": Body()}, input="door", metadata={"place": "lab"})
    requests = Requests(case, make_context(), source_for=refuse)

    sample = requests.load(io.BytesIO(b"4"), media_type="text/plain")

    assert (sample.source, sample.metadata["place"]) == ("request", "lab")
    with pytest.raises(WrongMediaType):
        Requests(replace(case, input=None), make_context(), source_for=refuse).load(io.BytesIO(b"4"))


def test_the_call_gets_times_and_the_models_that_ran() -> None:
    session = FakeSession({"y": np.zeros(1)}, ModelCard(name="net"))

    class Noting(FakeHandle):
        def run(self, feeds: Any) -> Any:
            from sightline.engine.call import current_call

            current_call().note("net@1")
            return super().run(feeds)

    @dataclass(kw_only=True)
    class Asking(Numbered):
        def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
            assert self._net is not None
            self._net.run({})
            return super().predict(samples)

    requests = requests_to(Asking(model="net"), context=make_context(open_model=lambda _: Noting(session)))
    with calling(Call()) as call:
        done = requests.analyse(requests.load(io.BytesIO(b"1")))

    assert call.versions == ["net@1"]
    assert done.predictions["seen"].model == "net@1"
    assert call.spans["decode"] > 0


def test_nothing_is_answered_after_the_end() -> None:
    predictor = Numbered()
    requests = requests_to(predictor)
    seen(requests)

    requests.close()
    requests.close()

    assert len(predictor.closed) == 1
    with pytest.raises(Conflict, match="served no more"):
        seen(requests)
