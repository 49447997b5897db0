"""`/api/v1/audit`: who managed what, as the chain in the database has it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from sightline.core.audit import AuditLine, verify
from sightline.serve.api.asked import PREFIX, After, Limit, Route, number_of, page, told
from sightline.serve.api.shapes import Page, Time
from sightline.serve.platform import Platform


class AuditShape(BaseModel):
    """A line of the audit chain."""

    number: int
    time: Time
    caller: str
    project: str
    method: str
    route: str
    path: str = Field(description="What was managed; of keys of stored objects a hash.")
    status: int
    request: str
    previous: str = Field(description="Hash of the line before.")
    hash: str


class VerdictShape(BaseModel):
    """What came of walking along the audit chain."""

    whole: bool
    num_lines: int = Field(description="Number of the last line up to which all are as they were written.")
    hash: str = Field(description="Of the last of them.")
    broken: int | None = Field(description="Number of the first line that is not.")
    reason: str
    first: int = Field(
        description="Number of the first line that is there; those before it were removed for their age."
    )


class AuditDoors:
    """Answers `/audit`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = APIRouter(prefix=PREFIX, tags=["audit"], route_class=Route)
        add = self.router.add_api_route
        add("/audit", self.list_all, response_model=Page[AuditShape], name="list_audit_lines")
        add("/audit/verdict", self.verdict, response_model=VerdictShape, name="verify_audit_lines")

    def list_all(
        self,
        *,
        caller: Annotated[str | None, Query(max_length=512)] = None,
        limit: Limit = 50,
        after: After = None,
    ) -> Any:
        """List the lines of the audit chain, the newest first."""
        lines = self._platform.context.store.audit.list(caller=caller, before=number_of(after) or None, limit=limit + 1)
        found = page(lines, limit, lambda line: line.number)
        return {**found, "items": [line_facts(line) for line in found["items"]]}

    def verdict(self) -> Any:
        """Walk along the whole chain, and say which line is the first that is not as it was written."""
        verdict = verify(self._platform.context.store.audit)
        return {"whole": verdict.broken is None, **asdict(verdict)}


def line_facts(line: AuditLine) -> dict[str, Any]:
    """Return a line as answers and `--json` tell it."""
    entry = {**asdict(line.entry), "time": told(line.entry.time)}
    return {"number": line.number, **entry, "previous": line.previous, "hash": line.hash}
