"""Is it there, is it ready, how does it feel: raw handlers that machines ask all day."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Any

import psutil

from sightline import __version__
from sightline.serve.exchange import Exchange
from sightline.serve.platform import Platform

_TEXT = b"text/plain; charset=utf-8"


class HealthDoors:
    """`/livez`, `/readyz`, `/health` and `/metrics`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._process = psutil.Process()

    async def live(self, exchange: Exchange) -> None:
        """Say that the loop turns."""
        await exchange.answer(200, b"ok\n", _TEXT)

    async def ready(self, exchange: Exchange) -> None:
        """Say whether requests are taken; with `?verbose` why, and what an operator should know."""
        problems = await asyncio.to_thread(self._problems)
        status = 503 if problems or self._platform.stopping else 200
        if "verbose" not in exchange.query:
            await exchange.answer(status, b"ready\n" if status == 200 else b"not ready\n", _TEXT)
            return
        await exchange.answer_json(
            {
                "ready": status == 200,
                "stopping": self._platform.stopping,
                "problems": problems,
                "warnings": self._platform.warnings(),
                "safe_mode": await asyncio.to_thread(self._platform.safe_mode),
                "running_requests": self._platform.num_running,
                "waiting_requests": self._platform.threads.num_waiting,
                "models": self._loaded(),
            },
            status,
        )

    async def health(self, exchange: Exchange) -> None:
        """Say how the process is."""
        loaded = self._loaded()
        await exchange.answer_json(
            {
                "status": "stopping" if self._platform.stopping else "healthy",
                "model_loaded": any(model["is_open"] for model in loaded),
                "models": [model["ref"] for model in loaded if model["is_open"]],
                "version": __version__,
                "uptime": round(time.monotonic() - self._platform.started_s, 3),
                "memory_usage": self._process.memory_info().rss,
            },
            503 if self._platform.stopping else 200,
        )

    async def metrics(self, exchange: Exchange) -> None:
        """Give all numbers to Prometheus."""
        body, media_type = await asyncio.to_thread(self._platform.numbers, exchange.text_header(b"accept"))
        await exchange.answer(200, body, media_type.encode())

    def _loaded(self) -> list[dict[str, Any]]:
        return [asdict(model) for model in self._platform.context.sessions.loaded()]

    def _problems(self) -> list[str]:
        """Return what keeps requests from being answered."""
        try:
            self._platform.context.store.events.position()
        except Exception as error:  # noqa: BLE001 - any failure of the database is told the same way
            return [f"The database does not answer: {error}"]
        return []
