"""Operations on runs: list, start, watch and stop them, and change one source of a run without touching the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import quote

from sightline.client.asking import JSON, json_object, known
from sightline.client.lists import API, pages, shaped
from sightline.client.steps import Items, Now, Pause, Request, Steps
from sightline.core.codec import decode_time, to_json
from sightline.core.errors import DeadlineExceeded
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState

_FIRST_LOOK_S = 0.05
SourceEntry: TypeAlias = str | JsonObject
"""A URL, path or webcam index; or a plug-in as in a manifest, `{"use": "video", "url": ...}`."""


def every(
    *, case: str | None = None, kind: str | None = None, state: str | None = None, tag: str | None = None
) -> Items[Run]:
    """Yield runs, the newest first.

    Args:
        case: name of a case; None: all.
        kind: a value of `RunKind`.
        state: a value of `RunState`.
        tag: `name=value` of their metadata, or a name alone.
    """
    yield from pages("/runs", run_of, known(case=case, kind=kind, state=state, tag=tag))


def get(run: str) -> Steps[Run]:
    """Return a run as it is now.

    Raises:
        NotFound: there is none of this id.
    """
    return shaped(run_of, json_object((yield Request(method="GET", path=_path(run)))))


def start(
    case: str,
    *,
    source: SourceEntry | None = None,
    sources: Mapping[str, SourceEntry] | None = None,
    metadata: Mapping[str, str] | None = None,
    duration_s: float | None = None,
    stands: bool | None = None,
) -> Steps[Run]:
    """Start a run of a case in the server's process.

    Args:
        case: name of the case.
        source: URL, path or webcam index, or a plug-in with its fields, in place of the case's own source.
        sources: in place of all sources of the case, by id.
        metadata: what is to be said of the run.
        duration_s: end after so many seconds.
        stands: do not end with the sources, others may be added; None: only where it begins without any.

    Raises:
        CaseNotFound: there is no such case.
        ConfigError: it is wrong, or a source is.
    """
    wish = {
        "case": case, "source": source, "sources": sources, "metadata": metadata, "duration_s": duration_s,
        "stands": stands,
    }  # fmt: skip
    given = {name: value for name, value in wish.items() if value is not None}
    return shaped(run_of, json_object((yield _sent("POST", "/runs", given))))


def stop(run: str) -> Steps[Run]:
    """End a run: what was read is finished, then it is cancelled. `wait` waits for that."""
    # Stopping twice is stopping once, so it may be repeated.
    return shaped(run_of, json_object((yield Request(method="POST", path=f"{_path(run)}/stop", repeatable=True))))


def wait(
    run: str,
    *,
    timeout_s: float | None = None,
    every_s: float = 0.5,
    seen: Callable[[Run], object] | None = None,
) -> Steps[Run]:
    """Return a run when it has ended.

    Args:
        run: its id.
        timeout_s: longest time to wait; None: for ever.
        every_s: how often to look; at first more often.
        seen: shown the run at each look, for its progress.

    Raises:
        DeadlineExceeded: it goes on for longer; it is not stopped by that.
    """
    begin_s: float = yield Now()
    pause_s = min(_FIRST_LOOK_S, every_s)
    while True:
        found = yield from get(run)
        if seen is not None:
            seen(found)
        if found.state.is_final:
            return found
        spent_s: float = (yield Now()) - begin_s
        if timeout_s is not None and spent_s + pause_s > timeout_s:
            raise DeadlineExceeded(f"The run {run} still goes on after {timeout_s:g} s.", cure="Raise timeout_s.")
        yield Pause(pause_s)
        pause_s = min(1.5 * pause_s, every_s)


def sources(run: str) -> Items[JsonObject]:
    """Yield the sources of a run: `id`, `source` (plug-in and fields) and `status` (what is seen of it)."""
    yield from pages(f"/runs/{quote(run, safe='')}/sources", dict)


def add_source(run: str, source: str, entry: SourceEntry, *, revision: int | None = None) -> Steps[JsonObject]:
    """Read one more source; the others go on untouched.

    Args:
        run: id of the run.
        source: id of the new source.
        entry: URL, path or webcam index; or a plug-in as in a manifest.
        revision: of the run that was seen; None: any.

    Raises:
        Conflict: there is a source of this id, the run is over, or somebody changed it since.
    """
    wish = {"id": source, "source": entry}
    return json_object((yield _sent("POST", f"/runs/{quote(run, safe='')}/sources", wish, revision)))


def change_source(run: str, source: str, entry: SourceEntry, *, revision: int | None = None) -> Steps[JsonObject]:
    """Read a source otherwise; the others go on untouched. Arguments and errors as of `add_source`."""
    return json_object((yield _sent("PUT", _source(run, source), {"source": entry}, revision)))


def remove_source(run: str, source: str, *, revision: int | None = None) -> Steps[None]:
    """Read a source no longer; what it gave is finished."""
    yield Request(method="DELETE", path=API + _source(run, source), headers=_seen(revision))


def run_of(wire: JsonObject) -> Run:
    """Return the run that JSON describes; members that are not known are passed over.

    Raises:
        KeyError, TypeError, ValueError, InvalidInput: it describes none.
    """
    return Run(
        id=wire["id"],
        case=wire["case"],
        kind=RunKind(wire["kind"]),
        state=RunState(wire["state"]),
        project=wire.get("project", "default"),
        parent=wire.get("parent"),
        spec=wire.get("spec") or {},
        revision=wire.get("revision", 1),
        status=wire.get("status") or {},
        metadata=wire.get("metadata") or {},
        cancelling=bool(wire.get("cancelling")),
        restart=wire.get("restart", "never"),
        worker=wire.get("worker"),
        created=_time(wire, "created"),
        started=_time(wire, "started"),
        finished=_time(wire, "finished"),
        error=wire.get("error"),
        priority=wire.get("priority", 0),
        deadline=_time(wire, "deadline"),
        due=_time(wire, "due"),
        attempts=wire.get("attempts", 0),
        key=wire.get("key"),
    )


def _time(wire: JsonObject, name: str) -> datetime | None:
    return None if wire.get(name) is None else decode_time(wire[name])


def _path(run: str) -> str:
    return f"{API}/runs/{quote(run, safe='')}"


def _source(run: str, source: str) -> str:
    return f"/runs/{quote(run, safe='')}/sources/{quote(source, safe='')}"


def _seen(revision: int | None) -> dict[str, str]:
    return {} if revision is None else {"If-Match": f'"{revision}"'}


def _sent(method: str, path: str, wish: Mapping[str, Any], revision: int | None = None) -> Request:
    headers = {"Content-Type": JSON, **_seen(revision)}
    return Request(method=method, path=API + path, headers=headers, body=(to_json(dict(wish)),))
