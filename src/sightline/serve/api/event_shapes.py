"""Shapes of events as the management doors answer them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from sightline.serve.api.shapes import JsonObject, Page, Time


class EventShape(BaseModel):
    """An event: CloudEvents 1.0."""

    specversion: str
    id: str
    source: str
    type: str
    time: Time
    subject: str | None = None
    datacontenttype: str
    data: JsonObject


class MediaShape(BaseModel):
    """Picture and clip of an event."""

    thumbnail: str | None = Field(description="Path of the picture; null where there is none.")
    clip: str | None = Field(description="Path of the clip; null where there is none, or not yet.")
    start: Time | None = Field(description="When the clip begins.")
    end: Time | None
    bytes: int
    lost: str | None = Field(description="What is missing, and why.")
    removed: str | None = Field(description="Why they are gone again.")


class EventDetail(EventShape):
    """An event with its media."""

    media: MediaShape | None = Field(description="null where nothing was stored yet, or nothing is.")


class EventPage(Page[EventDetail]):
    """A page of events."""

    previous: str | None = Field(
        description="Give it as `after` for the page before; on the first one that is what has come since."
    )
