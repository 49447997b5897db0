"""Jobs as every door submits, watches and ends them: the same verbs for HTTP, the command line and schedules.

Knows the record of a job and its events; the work itself is done by `worker`.
"""

from __future__ import annotations

import hashlib
import mimetypes
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from threading import Condition
from typing import Any
from uuid import uuid4

from sightline.core.case import Case, JobRules, PredictionStage
from sightline.core.codec import to_json
from sightline.core.errors import InvalidInput, NotFound, Unavailable
from sightline.core.events import Event, make_event, source_uri
from sightline.core.jobs import Queue
from sightline.core.plugins import is_elsewhere
from sightline.core.ports import Ports, checked_key
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState

_LONGEST_S = 1e9
_LOOK_S = (0.02, 0.25)  # shortest and longest pause between two looks at a job that others work on


class Bell:
    """Wakes the threads of this process that wait for a job to come or to change."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How often it has rung."""
        return self._count

    def ring(self) -> None:
        """Wake everybody."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait(self, seen: int, timeout_s: float) -> None:
        """Wait until it has rung more often than `seen`."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != seen, timeout_s)


class Jobs:
    """Submits, watches and ends jobs; any thread may call it.

    Args:
        ports: where they are recorded, and where their objects are.
        case: gives a case by its name with the parameters of a job put into its plug-ins.

    Attributes:
        came: rings when a job was submitted here.
        wished: rings when a job is to be ended.
        changed: rings when a job was brought forward here.
    """

    def __init__(self, ports: Ports, case: Callable[[str, JsonObject], Case]) -> None:
        self.ports = ports
        self.came = Bell()
        self.wished = Bell()
        self.changed = Bell()
        self._case = case

    def submit(
        self,
        case: str,
        object_: str,
        *,
        parameters: JsonObject | None = None,
        media_type: str = "",
        output: str | None = None,
        priority: int = 0,
        deadline_s: float | None = None,
        tags: Mapping[str, str] | None = None,
        key: str | None = None,
        digest: str | None = None,
        names: Sequence[str] = (),
        project: str = "default",
        run_id: str | None = None,
        looked: bool = True,
    ) -> tuple[Run, bool]:
        """Submit a job; return it, and whether it is new: one `key` is one job.

        Args:
            case: name of the case.
            object_: key of what it works on in the artifact store; one that ends in `/` is a folder. Or the address
                of something in another system, see `is_elsewhere`: it is looked for when the job is done.
            parameters: fields of the plug-ins of the case.
            media_type: of the object; guessed from its key where nobody says.
            output: stem of the keys of the results; None: their own place.
            priority: those with a higher one are taken first.
            deadline_s: seconds from now after which it fails.
            tags: put on its events and samples.
            key: idempotency key; see `JobStore.submit`.
            digest: what the key stands for; None: made of everything above.
            names: see `JobStore.submit`.
            project: to which it belongs.
            run_id: its id; None: a new one.
            looked: refuse a job whose object is not there.

        Raises:
            CaseNotFound: there is no such case.
            ConfigError: the case is wrong.
            InvalidInput: a parameter, the key of the object or a number cannot be so.
            NotFound: the object is not there.
            Conflict: the key was used for another job.
        """
        parameters, tags = dict(parameters or {}), dict(tags or {})
        spec = {
            "object": object_,
            "media_type": media_type or mimetypes.guess_type(object_)[0] or "",
            "parameters": parameters,
            "output": output,
        }
        if digest is None:
            wanted = {"case": case, **spec, "priority": priority, "deadline_s": deadline_s, "tags": tags}
            digest = hashlib.sha256(to_json(_sorted(wanted))).hexdigest()
        # What was accepted stays so, whatever has become of the case and the object since.
        if key is not None and (known := self.ports.store.jobs.keyed(project, key, digest)) is not None:
            return known, False
        rules = self.check(case, object_, parameters, output=output, deadline_s=deadline_s)
        if looked and not is_elsewhere(object_):
            self._look(object_)
        within = rules.deadline_s if deadline_s is None else deadline_s
        run = Run(
            case=case,
            kind=RunKind.JOB,
            project=project,
            spec=spec,
            metadata=tags,
            priority=priority,
            restart="always",
            status={"progress": 0.0, "stage": "", "message": "", "attempt": 0, "steps": [], "made": {}, "files": {}},
            id=run_id or uuid4().hex,
        )
        told = job_event(run, "run.submitted", {"object": object_})
        run, is_new = self.ports.store.jobs.submit(
            run,
            key=key,
            digest=digest,
            names=names,
            within=None if within is None else timedelta(seconds=within),
            events=[told],
        )
        if is_new:
            self.ports.bus.publish(told)
            self.came.ring()
        return run, is_new

    def check(
        self, case: str, object_: str, parameters: JsonObject, *, output: str | None, deadline_s: float | None
    ) -> JobRules:
        """Refuse what no job can be; return how jobs of the case are worked on. See `submit`.

        Raises:
            CaseNotFound: there is no such case.
            ConfigError: the case is wrong.
            InvalidInput: a parameter, a key or a number cannot be so.
        """
        if not is_elsewhere(object_):
            checked_key(object_.removesuffix("/"))
        if output is not None:
            checked_key(output)
        if deadline_s is not None and not 0 < deadline_s < _LONGEST_S:
            raise InvalidInput(f"deadline_s is {deadline_s}; it must be above 0.", cure="Give seconds from now.")
        return self._case(case, parameters).job

    def free_parameters(self, case: str) -> frozenset[str]:
        """Return the fields that a caller may set whom nobody knows to run the machine; see `JobRules.parameters`.

        Raises:
            CaseNotFound: there is no such case.
            ConfigError: it is wrong.
        """
        built = self._case(case, {})
        if built.job.parameters is not None:
            return frozenset(built.job.parameters)
        later = [each for stage, each in built.stages.items() if stage != PredictionStage.VALIDATION]
        return frozenset(each.name for stage in later for predictor in stage.values() for each in fields(predictor))

    def get(self, run_id: str) -> Run:
        """Return a job.

        Raises:
            NotFound: no job has this id.
        """
        run = self.ports.store.runs.get(run_id)
        if run.kind is not RunKind.JOB:
            raise NotFound(f"The run {run_id!r} is no job.")
        return run

    def queue(self, run_id: str) -> Queue:
        """Return where a job stands.

        Raises:
            NotFound: no run has this id.
        """
        return self.ports.store.jobs.queue(run_id)

    def cancel(self, run_id: str) -> Run:
        """End a job: at once where it waits, else as soon as its worker has seen it.

        Raises:
            Conflict: it is over.
            NotFound: no job has this id.
        """
        before = self.get(run_id)
        if before.state is not RunState.SUBMITTED:
            run = self.ports.store.runs.amend(run_id, cancel=True)
        else:  # told with the change; where a worker was faster, its worker tells it
            told = job_event(before, "run.cancelled", {"status": before.status})
            run = self.ports.store.runs.amend(run_id, cancel=True, events=[told])
            if run.state is RunState.CANCELLED:
                self.ports.bus.publish(told)
        self.wished.ring()
        self.changed.ring()
        return run

    def retry(self, run_id: str) -> Run:
        """Submit a job that failed or was cancelled anew; the steps that are done stay done.

        Raises:
            Conflict: it goes on, or it completed.
            NotFound: no run has this id.
        """
        told = job_event(self.get(run_id), "run.submitted", {"again": True})
        run = self.ports.store.jobs.again(run_id, events=[told])
        self.ports.bus.publish(told)
        self.came.ring()
        return run

    def wait(self, run_id: str, timeout_s: float | None = None, seen: Callable[[Run], None] | None = None) -> Run:
        """Return a job when it is over, or as it is when the time has passed.

        Args:
            run_id: id of the job.
            timeout_s: longest time; None: until it is over, also while the database is away.
            seen: shown the job at each look.

        Raises:
            NotFound: no job has this id.
        """
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = _LOOK_S[0]
        run: Run | None = None
        while True:
            rung = self.changed.count
            try:
                run = self.get(run_id)
            except Unavailable:
                if end_s is not None and time.monotonic() >= end_s and run is None:
                    raise
            if run is not None and seen is not None:
                seen(run)
            left_s = float("inf") if end_s is None else end_s - time.monotonic()
            if run is not None and (run.state.is_final or left_s <= 0):
                return run
            self.changed.wait(rung, max(0.0, min(pause_s, left_s)))
            pause_s = min(1.3 * pause_s, _LOOK_S[1])

    def _look(self, object_: str) -> None:
        """Refuse an object that is not there; a store that is down is no reason to refuse a job.

        Raises:
            NotFound: it is not there.
        """
        try:
            if not object_.endswith("/"):
                self.ports.artifacts.size(object_)
            elif next(iter(self.ports.artifacts.list(object_)), None) is None:
                raise NotFound(f"Nothing is stored below {object_!r}.", cure="Put the objects there first.")
        except Unavailable:
            return


def job_event(run: Run, short_type: str, data: JsonObject | None = None) -> Event:
    """Return a durable event about a job."""
    return make_event(
        short_type,
        source=source_uri(run.case),
        subject=f"run/{run.id}",
        time=datetime.now(UTC),
        data={
            "run": run.id,
            "kind": run.kind.value,
            "object": run.spec.get("object"),
            "metadata": dict(run.metadata),
            **(data or {}),
        },
    )


def _sorted(value: Any) -> Any:
    """Return JSON with its keys in order, so that equal things have equal texts."""
    if isinstance(value, Mapping):
        return {str(key): _sorted(value[key]) for key in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list | tuple) else value
