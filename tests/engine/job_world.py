"""A world for jobs: plug-ins that count their calls in a journal outside, and workers of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event as Flag
from typing import TYPE_CHECKING, Any, BinaryIO

from sightline.core.case import Case, JobRules, PredictionStage
from sightline.core.errors import InvalidInput
from sightline.core.plugins import Context, Predictor, Sink, Source
from sightline.core.prediction import Finding, Findings, JsonObject, Prediction, Rejected, Scalar
from sightline.core.run import Run
from sightline.core.sample import Clocks, Sample, Text
from sightline.engine.attempt import AttemptRules
from sightline.engine.job_steps import JobCase
from sightline.engine.runs import Jobs
from sightline.engine.worker import JobWorkers, WorkerRules

if TYPE_CHECKING:
    from tests.engine.conftest import World

NOW = datetime(2026, 11, 20, tzinfo=UTC)


@dataclass
class Journal:
    """What was done, in order; `act` may raise, wait, or let time pass."""

    lines: list[str] = field(default_factory=list)
    act: Callable[[str, Context], None] = lambda _step, _context: None

    def note(self, step: str, context: Context) -> None:
        self.lines.append(step)
        self.act(step, context)


@dataclass(kw_only=True)
class Lines(Source):
    """A sample a line."""

    journal: Any = None

    def load(self, file: BinaryIO, name: str, media_type: str) -> Iterator[Sample[Text]]:
        self.journal.note("reading", self.context)
        for number, line in enumerate(file.read().decode().splitlines()):
            yield Sample(payload=Text(line), source="", seq=number, clocks=Clocks(pts_s=None, monotonic_s=0, wall=NOW))


@dataclass(kw_only=True)
class Length(Predictor):
    """How long a text is; an empty one is refused where it stands in `validation`."""

    step: str = "length"
    factor: float = 1.0
    refuse: bool = False
    journal: Any = None

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        self.journal.note(self.step, self.context)
        if self.refuse:
            return [Rejected(reason="never") for _ in samples]
        return [Scalar(name="length", value=len(sample.payload.text) * self.factor) for sample in samples]


@dataclass(kw_only=True)
class Alarm(Predictor):
    """Finds something that is worth telling."""

    journal: Any = None

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        self.journal.note("alarm", self.context)
        found = Finding(name="long", event="count.over")
        return [Findings(items=(found,)) for _ in samples]


@dataclass(kw_only=True)
class Report(Sink):
    """Puts the lengths under the key of the attempt."""

    step: str = "report"
    suffix: str = ".txt"
    journal: Any = None

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        self.journal.note(self.step, self.context)
        values = [sample.prediction("length", Scalar).value for sample in samples]
        self._key = self.context.results + self.suffix
        self.context.ports.artifacts.put(self._key, repr(values).encode())

    @property
    def made(self) -> dict[str, str]:
        return {self.step: self._key}


def make_case(journal: Journal, *, sinks: int = 1, late: dict[str, Predictor] | None = None, **rules: Any) -> Case:
    return Case(
        name="texts",
        sources={"lines": Lines(journal=journal)},
        input="lines",
        stages={PredictionStage.ANALYTICS: {"length": Length(journal=journal), **(late or {})}},
        sinks=tuple(
            Report(step=f"report{number}", suffix=f".{number}.txt", journal=journal) for number in range(sinks)
        ),
        metadata={"place": "lab"},
        job=JobRules(**rules),
    )


class JobWorld:
    """Jobs of one case, and workers that are begun and ended by the test."""

    def __init__(self, world: World, case: Case) -> None:
        self.case = case
        self.ports = world.ports
        self.jobs = Jobs(self.ports, lambda name, parameters: self.made(name, parameters).case)

    def made(self, _name: str, parameters: JsonObject) -> JobCase:
        case = self.case
        for name, value in parameters.items():
            if name != "factor":
                raise InvalidInput(f"No plug-in takes {name}.")
            known = case.stages["analytics"]["length"]
            assert isinstance(known, Length)
            length = replace(known, factor=value)
            case = replace(case, stages={"analytics": {**case.stages["analytics"], "length": length}})

        def no_source(_: str) -> Source:
            raise InvalidInput("the case names its input")

        return JobCase(case=case, context=Context(ports=self.ports), source_for=no_source)

    def submit(self, text: str = "ab\nabc", name: str = "in/a.txt", **how: Any) -> Run:
        self.ports.artifacts.put(name, text.encode())
        run, _ = self.jobs.submit("texts", name, **how)
        return run

    @contextmanager
    def working(self, workers: int = 1, drain_s: float = 10.0, **rules: Any) -> Iterator[JobWorkers]:
        attempt = AttemptRules(
            lease=timedelta(seconds=rules.pop("lease_s", 3.0)),
            attempts=rules.pop("attempts", 3),
            retry_s=rules.pop("retry_s", 0.02),
            cheap_s=rules.pop("cheap_s", 0.02),
        )
        own = {name: rules.pop(name) for name in ("cases", "limits", "tend") if name in rules}
        rules = {"poll_s": 0.02, "tend_s": 0.1, **rules}
        hands = JobWorkers(self.jobs, self.made, WorkerRules(workers=workers, attempt=attempt, **rules), **own)
        hands.start()
        try:
            yield hands
        finally:
            hands.close(drain_s)

    def done(self, run: Run, timeout_s: float = 20.0, **rules: Any) -> Run:
        """Let a worker do a job to its end."""
        with self.working(**rules):
            return self.over(run, timeout_s)

    def over(self, run: Run, timeout_s: float = 20.0) -> Run:
        ended = self.jobs.wait(run.id, timeout_s)
        assert ended.state.is_final, ended
        return ended

    def told(self, run: Run) -> list[str]:
        events = [event for _, event in self.ports.store.events.list(subject=f"run/{run.id}", limit=1000)]
        return [event.short_type for event in events]

    def text(self, key: str) -> str:
        with self.ports.artifacts.open(key) as file:
            return file.read().decode()


def until(flag: Flag, timeout_s: float = 20.0) -> None:
    assert flag.wait(timeout_s)


def eventually(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.005)
