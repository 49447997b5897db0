"""Shapes of jobs: what is wanted, where it stands, what happened to it, what it made; and of schedules and objects."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag

from sightline.serve.api.shapes import Asked, JsonObject, Line, RunWish, Time, Word

Key = Annotated[str, StringConstraints(min_length=1, max_length=512)]
MediaType = Annotated[str, StringConstraints(max_length=128, pattern=r"^([\w.+-]+/[\w.+-]+)?$")]
Priority = Annotated[int, Field(ge=-1000, le=1000, description="Those with a higher one are worked on first.")]
DeadlineS = Annotated[
    float | None, Field(gt=0, le=31_536_000, description="Seconds after which it fails; null: as the case says.")
]
_EXAMPLE = "results/street"


class JobWish(Asked):
    """A job to be submitted: a case works on a stored object, whatever happens to the processes meanwhile."""

    case: Word = Field(examples=["street_people"])
    object: Key = Field(
        description="Key of what is worked on; of a folder it ends in `/`.", examples=["uploads/street.mp4"]
    )
    parameters: dict[Word, Any] = Field(
        default_factory=dict, max_length=64, description="Fields of the case's plug-ins, put into each that has them."
    )
    media_type: MediaType = Field(default="", description="Of the object; by its name where left out.")
    priority: Priority = 0
    deadline_s: DeadlineS = None
    tags: dict[Word, Line] = Field(
        default_factory=dict,
        max_length=64,
        description="Put on its events and samples; a list may be filtered by them.",
    )
    output: Key | None = Field(
        default=None,
        description="Key of the results without suffixes; where left out they have a place of their own.",
        examples=[_EXAMPLE],
    )


def _kind(value: Any) -> str:
    """Return which of both a body is: what names an object is a job."""
    return "job" if (isinstance(value, dict) and "object" in value) or isinstance(value, JobWish) else "stream"


Wish = Annotated[Annotated[RunWish, Tag("stream")] | Annotated[JobWish, Tag("job")], Discriminator(_kind)]
"""What `POST /runs` takes."""


class JobLine(BaseModel):
    """Something that happened to a run."""

    model_config = ConfigDict(extra="allow")

    time: str = Field(description="RFC 3339; empty where nobody knows.")
    what: str = Field(description="`run.submitted run.started step.done run.completed ...`", examples=["step.done"])
    step: str | None = None
    worker: str | None = None
    attempt: int | None = None
    seconds: float | None = None
    peak_mb: float | None = None
    error: str | None = None
    error_kind: str | None = None
    after_s: float | None = Field(default=None, description="Pause before the next attempt.")


class FileShape(BaseModel):
    """A file that a job made."""

    word: str = Field(description="What the case calls it.", examples=["mask"])
    key: str = Field(description="Where the artifact store has it.")
    num_bytes: int
    media_type: str


class ObjectShape(BaseModel):
    """A stored object."""

    key: str
    num_bytes: int
    media_type: str = Field(description="By its name.")
    modified: Time | None


class ObjectTaken(BaseModel):
    """An object that was stored."""

    key: str
    num_bytes: int
    media_type: str
    sha256: str = Field(description="Of what arrived, hexadecimal.")


class ScheduleWish(Asked):
    """A job that is to be submitted again and again."""

    case: Word
    object: Key
    cron: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="Five fields as crontab has them, in UTC; or `@hourly @daily @weekly @monthly`.",
        examples=["30 3 * * mon-fri"],
    )
    parameters: dict[Word, Any] = Field(default_factory=dict, max_length=64)
    priority: Priority = 0
    deadline_s: DeadlineS = None
    tags: dict[Word, Line] = Field(default_factory=dict, max_length=64)
    output: Key | None = None


class ScheduleShape(BaseModel):
    """A schedule."""

    name: str
    case: str
    cron: str
    object: str
    parameters: JsonObject
    priority: int
    deadline_s: float | None
    tags: dict[str, str]
    output: str | None
    due: Time | None = Field(description="When the next job is submitted.")
    created: Time | None
