"""Operations on jobs: have a case work on a stored object, whatever happens to the processes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sightline.client import runs
from sightline.client.asking import JSON, json_object
from sightline.client.lists import API, pages, shaped
from sightline.client.objects import fetched, upload
from sightline.client.parts import C, Listing, Operation, Part
from sightline.client.runs import run_of
from sightline.client.steps import Items, Request, Steps
from sightline.core.codec import decode_event, to_json
from sightline.core.events import Event
from sightline.core.jobs import Queue
from sightline.core.prediction import JsonObject
from sightline.core.run import Run


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A file that a job made.

    Attributes:
        word: what the case calls it: `mask`.
        key: where the object store has it.
    """

    word: str
    key: str
    num_bytes: int
    media_type: str


def submit(
    case: str,
    object_: str | Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    media_type: str = "",
    output: str | None = None,
    priority: int = 0,
    deadline_s: float | None = None,
    tags: Mapping[str, str] | None = None,
    key: str | None = None,
    wait: bool = False,
    timeout_s: float | None = None,
    seen: Callable[[Run], object] | None = None,
) -> Steps[Run]:
    """Submit a job; return it as it is, or with `wait` when it is over, however it ended.

    Args:
        case: name of the case.
        object_: key of what it works on, below `uploads/` or `results/`, of a folder one that ends in `/`; or a
            `Path` of this machine, whose files are uploaded first.
        parameters: fields of the case's plug-ins.
        media_type: of the object; empty: by its name.
        output: key of the results without suffixes; None: a place of their own.
        priority: those with a higher one are worked on first.
        deadline_s: seconds from now after which it fails.
        tags: put on its events and samples.
        key: idempotency key of your own making: for 24 hours a second call is the same job.
        wait: until it is over.
        timeout_s: longest time to wait; None: until it is over.
        seen: shown the job at each look while it is waited for.

    Raises:
        CaseNotFound: there is no such case.
        NotFound: the object is not there.
        InvalidInput: a parameter, or a key, cannot be so.
        Conflict: the key was used for another job.
        DeadlineExceeded: it goes on for longer than `timeout_s`; it is not stopped by that.
    """
    stored = (yield from upload(object_)) if isinstance(object_, Path) else object_
    wish = {
        "case": case, "object": stored, "parameters": dict(parameters or {}), "media_type": media_type,
        "output": output, "priority": priority, "deadline_s": deadline_s, "tags": dict(tags or {}),
    }  # fmt: skip
    headers = {"Content-Type": JSON} | ({} if key is None else {"Idempotency-Key": key})
    asked = Request(
        method="POST", path=f"{API}/runs", headers=headers, body=(to_json(wish),), repeatable=key is not None
    )
    run = shaped(run_of, json_object((yield asked)))
    return (yield from runs.wait(run.id, timeout_s=timeout_s, seen=seen)) if wait else run


def cancel(run: str) -> Steps[Run]:
    """End a job: at once where it waits, else no new step begins and the one under way is told."""
    return (yield from _told(run, "cancel", repeatable=True))


def retry(run: str) -> Steps[Run]:
    """Submit a job that failed or was cancelled anew; the steps that are done stay done.

    Raises:
        Conflict: it goes on, or it completed.
    """
    return (yield from _told(run, "retry"))


def queue(run: str) -> Steps[Queue]:
    """Return where a job stands: its position, 0 when it does not wait, and the seconds that it is expected to."""
    shown = json_object((yield Request(method="GET", path=_path(run))))
    return shaped(_queue_of, shown)


def files(run: str) -> Items[RunFile]:
    """Yield what a job made; nothing before it has ended well."""
    yield from pages(f"/runs/{quote(run, safe='')}/files", lambda wire: RunFile(**wire))


def download(run: str, word: str, path: str | Path) -> Steps[Path]:
    """Write a file that a job made to a path, whole or not at all; return the path.

    Args:
        run: id of the job.
        word: what the case calls the file.
        path: where it is to be.

    Raises:
        NotFound: the job has no such file.
    """
    return (yield from fetched(f"{_path(run)}/files/{quote(word)}", Path(path)))


def history(run: str) -> Items[Event]:
    """Yield what happened to a run, the oldest first, as far as events are kept."""
    yield from pages(f"/runs/{quote(run, safe='')}/events", decode_event)


def logs(run: str) -> Items[JsonObject]:
    """Yield what happened to a job line by line: `time what`, and of steps what they took."""
    yield from pages(f"/runs/{quote(run, safe='')}/logs", dict)


class Runs(Part[C]):
    """The runs of a server: streams and jobs."""

    list = Listing(runs.every)
    get = Operation(runs.get)
    start = Operation(runs.start)
    stop = Operation(runs.stop)
    wait = Operation(runs.wait)
    sources = Listing(runs.sources)
    add_source = Operation(runs.add_source)
    change_source = Operation(runs.change_source)
    remove_source = Operation(runs.remove_source)
    submit = Operation(submit)
    cancel = Operation(cancel)
    retry = Operation(retry)
    queue = Operation(queue)
    files = Listing(files)
    download = Operation(download)
    history = Listing(history)
    logs = Listing(logs)


def _told(run: str, word: str, *, repeatable: bool = False) -> Steps[Run]:
    asked = Request(method="POST", path=f"{_path(run)}/{word}", repeatable=repeatable)
    return shaped(run_of, json_object((yield asked)))


def _queue_of(wire: JsonObject) -> Queue:
    found = wire.get("queue") or {"position": 0}
    return Queue(position=found["position"], expected_wait_s=found.get("expected_wait_s"))


def _path(run: str) -> str:
    return f"{API}/runs/{quote(run, safe='')}"
