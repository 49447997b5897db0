"""`GET /health/stream`: is every camera seen; and a look at one address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

from sightline.build.replacing import source_entry
from sightline.core.access import Scope
from sightline.core.errors import Forbidden, InvalidInput
from sightline.core.plugins import SourceState
from sightline.core.prediction import JsonObject
from sightline.core.urls import redacted
from sightline.serve.answers import Answers
from sightline.serve.exchange import Exchange
from sightline.serve.places import check_place

if TYPE_CHECKING:
    from sightline.serve.platform import Platform

OPTIONAL = "optional_sources"
"""Name in the metadata of a run: sources, with commas, that may be away without the whole being down."""

_PROBE_S = 20.0
_LONGEST_URL = 2048
_SHOWN = (
    "state", "reason", "age_s", "fps", "source_fps", "epoch", "reconnects", "read", "processed", "dropped", "rejected",
    "failed",
)  # fmt: skip


class HealthDoor:
    """Answers `/health/stream`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._answers = Answers()

    async def __call__(self, exchange: Exchange) -> None:
        """Say how each source of each running case is; 503 when one that is required is not live."""
        if "source" in exchange.query:
            await self._probe(exchange, exchange.query["source"])
            return
        streams = await asyncio.to_thread(self._rows)
        status = _status(streams)
        await exchange.answer_json({"status": status, "streams": streams}, 503 if status == "down" else 200)

    def _rows(self) -> list[dict[str, Any]]:
        streams = self._platform.streams
        metadata = {run.id: run.metadata for run in streams.list()}
        return [_row(row, metadata.get(row["run"], {})) for row in streams.status() if row["source"] != "*"]

    async def _probe(self, exchange: Exchange, url: str) -> None:
        """Answer what is to be seen at an address.

        Raises:
            Forbidden: the caller may not make this server connect to an address.
            InvalidInput: it is no address, or what is there cannot be decoded.
            SourceUnreachable: it does not answer.
            DeadlineExceeded: it answers too slowly.
        """
        exchange.audited = exchange.path
        if not exchange.caller.may(Scope.MANAGE):
            raise Forbidden("To probe an address needs the scope manage.", cure="Use a key that has it.")
        if exchange.header(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            # A page of somebody else, in the browser of somebody who may, must not choose what we connect to.
            raise Forbidden("Other pages may not probe an address.", cure="Ask from this server's own pages.")
        if not url.strip() or len(url) > _LONGEST_URL or not url.isprintable():
            raise InvalidInput("?source= is no address.", cure="Give one, for instance rtsp://camera.local/stream1")
        check_place(url, exchange.caller)
        exchange.shorten_deadline(_PROBE_S)
        exchange.watch()
        stopping = Flag()
        future = self._platform.threads.submit(exchange.call, lambda: self._facts(url, stopping))
        try:
            facts = await self._answers.of(future, exchange.call)
        finally:
            stopping.set()
        await exchange.answer_json({"status": "ok", "source": redacted(url), **facts})

    def _facts(self, url: str, stopping: Flag) -> dict[str, Any]:
        context = self._platform.context
        entry = source_entry(url)
        source = context.plugin("sources", entry.pop("use"), **entry)
        source.open(context.world(source="probe", stopping=stopping))
        try:
            return {name: value for name, value in source.probe().items() if name != "source"}
        finally:
            source.close()


def _row(row: JsonObject, metadata: Mapping[str, str]) -> dict[str, Any]:
    optional = {name.strip() for name in metadata.get(OPTIONAL, "").split(",")}
    return {
        "case": row["case"],
        "run": row["run"],
        "source": row["source"],
        "required": row["source"] not in optional,
        **{name: row.get(name) for name in _SHOWN},
    }


def _status(streams: list[dict[str, Any]]) -> str:
    away = [row for row in streams if row["state"] != SourceState.LIVE.value]
    if not streams:
        return "idle"
    if any(row["required"] for row in away):
        return "down"
    return "degraded" if away else "ok"
