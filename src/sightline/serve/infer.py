"""`POST /infer`: a stored object in, a mask and its report out, by a durable job of the case that the settings name.

The door translates: one `job_uuid` is one job, however often it is asked for. Whoever asks waits for the end by
default; whoever does not want to, or waits too long, is told where the run is, and the backend hears of its end.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog

from sightline.core.codec import to_json
from sightline.core.errors import Cancelled, Conflict, InvalidInput, JobFailed, Unavailable
from sightline.core.run import Run, RunState
from sightline.serve.completion import JOB, completed
from sightline.serve.exchange import Exchange
from sightline.serve.objects import open_folders
from sightline.serve.platform import Platform
from sightline.serve.problems import PROBLEM, problem
from sightline.serve.rights import Rights, rights_of

log = structlog.get_logger()
_FIELDS = ("job_uuid", "input_object", "output_object", "profile", "threshold", "reference_object")
_JOB_UUID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._~-]{1,128}", re.ASCII)
_PROFILE = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_SUFFIX = ".nii.gz"
_RESULTS = "results/"
_TURN_S = 0.02  # how often the loop looks whether a job of this process has changed
_LOOK_S = 0.5  # how often it looks at one that another process works on
_STATUSES = {"storage": 502, "validation": 422, "timeout": 504, "cancelled": 409}
_WAIT = re.compile(r"wait=(\d{1,6})")


@dataclass(frozen=True, kw_only=True)
class InferWish:
    """What a caller of `/infer` asks for; None: he did not say."""

    job_uuid: str
    input_object: str
    output_object: str | None = None
    profile: str | None = None
    threshold: float | None = None
    reference_object: str | None = None

    @property
    def digest(self) -> str:
        """Tells two wishes under one `job_uuid` apart."""
        return hashlib.sha256(to_json([getattr(self, name) for name in _FIELDS])).hexdigest()

    def names(self, folder: str = _RESULTS) -> list[str]:
        """Return the stems of the result, of which the first that is free is taken; none where the caller named it."""
        if self.output_object is not None:
            return []
        short, whole = (f"{folder}analysis_{each}" for each in (self.job_uuid[:8], self.job_uuid))
        return list(dict.fromkeys([short, whole, f"{whole}_{uuid4().hex[:8]}"]))


class Infer:
    """Answers `POST /infer`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._settings = platform.context.settings.medical

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request.

        Raises:
            InvalidInput: the body is wrong.
            Forbidden: the caller may not have studies of the archive read.
            NotFound: the object is not there, or there is no such case.
            Conflict: the `job_uuid` was used for something else.
        """
        exchange.case = self._settings.case
        wish = read_wish(await exchange.json())
        exchange.audited = f"/infer/{wish.job_uuid}"
        rights = rights_of(exchange.caller, self._platform.context.settings)
        check_keys(wish, rights)
        wait_s = self._wait_s(exchange)
        exchange.watch()
        run, is_new = await asyncio.to_thread(self._submit, wish, rights)
        log.info("job asked for", job_uuid=wish.job_uuid, run=run.id, new=is_new)
        run = await self._until_over(run, wait_s, exchange)
        if not run.state.is_final:
            await self._told_where(exchange, wish, run)
        elif run.state is RunState.COMPLETED:
            await exchange.answer_json(_result(wish, run))
        else:
            await self._told_why(exchange, wish, run)

    def _submit(self, wish: InferWish, rights: Rights) -> tuple[Run, bool]:
        settings = self._settings
        results = next((each for each in open_folders(rights.folders) if each.startswith(_RESULTS)), _RESULTS)
        given = {
            "profile": wish.profile or settings.default_profile,
            "threshold": settings.decision_threshold if wish.threshold is None else wish.threshold,
            "reference_object": wish.reference_object,
        }
        try:
            return self._platform.jobs.submit(
                settings.case,
                wish.input_object,
                parameters={name: value for name, value in given.items() if value is not None},
                output=None if wish.output_object is None else wish.output_object.removesuffix(_SUFFIX),
                tags={JOB: wish.job_uuid},
                key=f"infer:{wish.job_uuid}",
                digest=wish.digest,
                names=wish.names(results),
                project=rights.caller.project,
            )
        except Conflict as conflict:
            conflict.cure = "Another request needs another job_uuid."
            raise

    def _wait_s(self, exchange: Exchange) -> float:
        """Return how long the caller wants to wait, as far as the settings allow it."""
        prefer = exchange.text_header(b"prefer").lower().replace(" ", "")
        longest_s = self._settings.wait_s
        if found := _WAIT.search(prefer):
            return min(longest_s, float(found[1]))
        if "respond-async" in re.split("[,;]", prefer):
            return 0.0
        if exchange.header(b"x-request-timeout-ms") and exchange.call.deadline_s is not None:
            return min(longest_s, max(0.0, exchange.call.deadline_s - time.monotonic() - _LOOK_S))
        return longest_s

    async def _until_over(self, run: Run, wait_s: float, exchange: Exchange) -> Run:
        """Return a job when it is over or the time has passed; no thread waits with the caller.

        Raises:
            Cancelled: the caller left; the job goes on.
        """
        jobs, end_s = self._platform.jobs, time.monotonic() + wait_s
        rung, looked_s = -1, time.monotonic()
        while not run.state.is_final and time.monotonic() < end_s and not self._platform.stopping:
            if exchange.gone:
                raise Cancelled("The caller left; the job goes on.")
            if jobs.changed.count == rung and time.monotonic() - looked_s < _LOOK_S:
                await asyncio.sleep(_TURN_S)
                continue
            rung, looked_s = jobs.changed.count, time.monotonic()
            try:
                run = await asyncio.to_thread(jobs.get, run.id)
            except Unavailable as error:  # the job goes on without the database, and so do we
                log.debug("job was not looked at", run=run.id, error=str(error))
        return run

    async def _told_where(self, exchange: Exchange, wish: InferWish, run: Run) -> None:
        place = f"/api/v1/runs/{run.id}"
        said = {"job_uuid": wish.job_uuid, "status": run.state.value, "run": run.id, "run_url": place}
        output = run.spec.get("output")
        said |= {"output_object": f"{output}{_SUFFIX}", "progress": run.status.get("progress", 0.0)}
        headers = [(b"location", place.encode()), (b"preference-applied", b"respond-async")]
        await exchange.answer(202, to_json(said), headers=headers)

    async def _told_why(self, exchange: Exchange, wish: InferWish, run: Run) -> None:
        """Answer for a job that ended without a result, in the form of all problems, with its kind."""
        cancelled = run.state is RunState.CANCELLED
        kind = "cancelled" if cancelled else str(run.status.get("error_kind") or "internal")
        mended = str(run.status.get("cure") or "")
        again = "Then ask with another job_uuid." if mended else "Ask with another job_uuid once the cause is mended."
        error = JobFailed(
            run.error or ("The job was cancelled." if cancelled else "The job failed."),
            cure=f"{mended} {again}".strip(),
        )
        status = _STATUSES.get(kind, 500)
        members = problem(error, instance=exchange.path, request_id=exchange.id)
        members |= {"status": status, "kind": kind, "job_uuid": wish.job_uuid, "run": run.id}
        exchange.code = error.code
        await exchange.answer(status, to_json(members), PROBLEM)


def read_wish(body: Any) -> InferWish:
    """Return what the JSON of a request asks for.

    Raises:
        InvalidInput: a field is unknown, missing or wrong.
    """
    if not isinstance(body, dict):
        raise InvalidInput("The body is no JSON object.", cure='Send {"job_uuid": "...", "input_object": "..."}.')
    for name in body:
        if name not in _FIELDS:
            raise InvalidInput(f"Unknown field {str(name)[:60]!r}.", cure=f"Known: {', '.join(_FIELDS)}.")
    given = {name: value for name, value in body.items() if value is not None}
    threshold = _share(given.pop("threshold", None))
    for name in ("job_uuid", "input_object"):
        if name not in given:
            raise InvalidInput(f"{name} is missing.", cure="Give job_uuid and input_object.")
    for name, value in given.items():
        if not isinstance(value, str) or not value:
            raise InvalidInput(f"{name} is no text, or empty.", cure="Give it as a JSON string.")
    wish = InferWish(threshold=threshold, **given)
    if not _JOB_UUID.fullmatch(wish.job_uuid):
        raise InvalidInput("job_uuid has other characters than letters, digits and -._~, or more than 128.")
    if not _PROFILE.fullmatch(wish.profile or "a"):
        raise InvalidInput("profile is no name of a profile.", cure="For instance fast_debug, production, research.")
    return wish


def _share(threshold: Any) -> float | None:
    if threshold is None:
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        is_percent = isinstance(threshold, int | float) and 1 < threshold <= 100
        cure = (
            f"{threshold} looks like a percentage: {threshold / 100:g}." if is_percent else "Send it as a JSON number."
        )
        raise InvalidInput("threshold must be a number from 0 to 1.", cure=cure)
    return float(threshold)


def check_keys(wish: InferWish, rights: Rights) -> None:
    """Refuse a wish that would reach what is not the caller's, or whose result is no mask; see `Rights.check_job`."""
    output, reference = wish.output_object, wish.reference_object
    rights.check_job(wish.input_object, output=output, others=[] if reference is None else [reference])
    if output is not None and not output.endswith(_SUFFIX):
        raise InvalidInput(f"output_object must end with {_SUFFIX}.", cure=f"For instance results/mask{_SUFFIX}")


def _result(wish: InferWish, run: Run) -> dict[str, Any]:
    begin, end = run.started or run.created, run.finished
    seconds = round((end - begin).total_seconds(), 3) if begin is not None and end is not None else 0.0
    told = completed(run.status)
    first = {"job_uuid": wish.job_uuid, "output_object": told["output_object"], "file_size": told["file_size"]}
    return {**first, "duration_seconds": seconds, "status": "completed", **told, "run": run.id}
