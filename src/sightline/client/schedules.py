"""Operations on schedules: jobs that a server submits again and again, by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from sightline.client.asking import JSON, json_object
from sightline.client.lists import API, pages, shaped
from sightline.client.parts import C, Listing, Operation, Part
from sightline.client.steps import Items, Request, Steps
from sightline.core.codec import decode_time, to_json
from sightline.core.jobs import Schedule
from sightline.core.prediction import JsonObject

_SPEC = ("object", "parameters", "output", "deadline_s")


def every() -> Items[Schedule]:
    """Yield the schedules by name; their `spec` has `object parameters output deadline_s` of the jobs."""
    yield from pages("/schedules", _schedule_of)


def get(name: str) -> Steps[Schedule]:
    """Return a schedule.

    Raises:
        NotFound: there is none of this name.
    """
    return shaped(_schedule_of, json_object((yield Request(method="GET", path=_path(name)))))


def add(
    name: str,
    case: str,
    object_: str,
    cron: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    output: str | None = None,
    priority: int = 0,
    deadline_s: float | None = None,
    tags: Mapping[str, str] | None = None,
) -> Steps[Schedule]:
    """Add a schedule, or put it in the place of the one of its name; return it with the time of its first job.

    Args:
        name: of the schedule; each of its jobs has it as the tag `schedule`.
        case: name of the case.
        object_: key of what the jobs work on; it is looked for when they do.
        cron: five fields as crontab has them, in UTC: `30 3 * * mon-fri`; or `@hourly @daily @weekly @monthly`.
        parameters: fields of the case's plug-ins.
        output: key of the results without suffixes, the same for each job; None: a place of their own.
        priority: those with a higher one are worked on first.
        deadline_s: seconds from its submission after which a job fails.
        tags: put on the events and samples of the jobs.

    Raises:
        CaseNotFound: there is no such case.
        InvalidInput: the times, a parameter or a key cannot be so.
    """
    wish = {
        "case": case, "object": object_, "cron": cron, "parameters": dict(parameters or {}), "output": output,
        "priority": priority, "deadline_s": deadline_s, "tags": dict(tags or {}),
    }  # fmt: skip
    asked = Request(method="PUT", path=_path(name), headers={"Content-Type": JSON}, body=(to_json(wish),))
    return shaped(_schedule_of, json_object((yield asked)))


def remove(name: str) -> Steps[None]:
    """Take a schedule away; jobs that it submitted go on.

    Raises:
        NotFound: there is none of this name.
    """
    yield Request(method="DELETE", path=_path(name))


class Schedules(Part[C]):
    """The schedules of a server."""

    list = Listing(every)
    get = Operation(get)
    add = Operation(add)
    remove = Operation(remove)


def _schedule_of(wire: JsonObject) -> Schedule:
    return Schedule(
        name=wire["name"],
        case=wire["case"],
        cron=wire["cron"],
        spec={name: wire.get(name) for name in _SPEC},
        metadata=wire.get("tags") or {},
        priority=wire.get("priority", 0),
        due=_time(wire.get("due")),
        created=_time(wire.get("created")),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else decode_time(text)


def _path(name: str) -> str:
    return f"{API}/schedules/{quote(name, safe='')}"
