"""Shapes of manifests as text: what is sent to be checked or written, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from sightline.serve.api.shapes import Asked, JsonObject, Word

Text = Annotated[str, StringConstraints(max_length=1 << 20)]


class CaseCheck(Asked):
    """A manifest that somebody is writing."""

    manifest: Text = Field(examples=["source: {use: synthetic}\nstages: {analytics: {light: {use: brightness}}}\n"])
    case: Word | None = Field(default=None, description="The case that it is for; left out for a new one.")


class CaseWish(Asked):
    """A case to be made."""

    name: Word = Field(examples=["yard"])
    manifest: Text


class ManifestProblem(BaseModel):
    """What is wrong with a manifest, and where."""

    line: int = Field(description="Counted from 1, as the column is.")
    column: int
    loc: str = Field(description="The keys that lead there, with dots; empty for the whole.")
    message: str
    cure: str
    code: str
    severity: Literal["error", "warning"] = Field(description="A warning keeps nothing from being saved and run.")


class CaseChecked(BaseModel):
    """What is wrong with a manifest."""

    ok: bool = Field(description="It may be saved: there is no error.")
    problems: list[ManifestProblem]


class RunFollowed(BaseModel):
    """What a saved manifest has changed of a run."""

    run: str
    sources: list[str] = Field(description="Sources that are read otherwise, more, or no longer.")
    needs_restart: str = Field(description="Why only a restart brings the rest; empty where nothing is left.")
    error: str = Field(description="Why its sources stayed as they were; mostly empty.")


class CaseSaved(BaseModel):
    """A manifest that was written, and what that did."""

    case: str
    folder: str
    origin: str = Field(description="Where it is now: a shipped case was copied to the user's own.")
    etag: str
    warnings: list[ManifestProblem]
    problems: list[JsonObject] = Field(description="What is wrong with the case all the same: its blueprint, mostly.")
    runs: list[RunFollowed]


class PluginShape(BaseModel):
    """A plug-in that a manifest may name."""

    kind: str = Field(examples=["predictors"])
    name: str
    title: str = Field(description="What it does, in one line.")
    description: str
    target: str = Field(description="Import path of its class.")
    package: str
    extra: str = Field(description="Optional part of the package that it needs; empty for none.")
    missing: str = Field(description="How to install what it needs; empty where all is there.")
    problem: str = Field(description="Why it cannot be loaded; mostly empty.")
    schema_: JsonObject | None = Field(
        alias="schema", description="JSON Schema of its fields; null where it cannot be loaded."
    )


class FrameTaken(BaseModel):
    """A frame that was given to a source."""

    run: str
    case: str
    source: str
    bytes: int
