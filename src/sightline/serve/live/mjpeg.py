"""`GET /stream.mjpeg`: the newest pictures of one source, for what can show nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sightline.core.errors import InvalidInput, NotFound
from sightline.serve.exchange import Exchange
from sightline.serve.live.bells import Bell, Bells
from sightline.serve.live.pictures import Gallery, Viewer
from sightline.serve.live.wanted import Wanted

if TYPE_CHECKING:
    from sightline.serve.platform import Platform

_BOUNDARY = b"sightline-picture"
HEADERS = (
    (b"content-type", b"multipart/x-mixed-replace; boundary=" + _BOUNDARY),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_LOOK_S = 1.0  # how long the end of the run may go unnoticed
_MAX_FPS = 60.0


class PictureDoor:
    """Answers `/stream.mjpeg`.

    Args:
        platform: what all doors share.
        gallery: shows pictures.
        bells: of all open connections.
    """

    def __init__(self, platform: Platform, gallery: Gallery, bells: Bells) -> None:
        self._platform = platform
        self._gallery = gallery
        self._bells = bells

    async def __call__(self, exchange: Exchange) -> None:
        """Send pictures until the caller leaves, the source is removed, its run ends, or the server does.

        Raises:
            InvalidInput: several sources give pictures and none is named, or a parameter is wrong.
            NotFound: no such case is running here, or it has no such source.
        """
        query = exchange.query
        Wanted.check_known(query, "fps", "drawn")
        max_fps = _rate(query.get("fps"))
        drawn = query.get("drawn", "1").lower() not in ("0", "false", "no")
        places = await asyncio.to_thread(self._places)
        run, case, source = _chosen(places, query.get("case", ""), query.get("source", ""))
        exchange.case = case
        await exchange.begin(200, HEADERS)
        if exchange.method == "HEAD":
            await exchange.send_part(b"", more=False)
            return
        async with self._bells.of(exchange) as bell:
            viewer = Viewer(lambda its_case, its_source: (its_case, its_source) == (case, source), bell, max_fps)
            self._gallery.join(viewer)
            try:
                await self._show(exchange, viewer, bell, (run, case, source), drawn=drawn)
            finally:
                self._gallery.leave(viewer)

    async def _show(
        self, exchange: Exchange, viewer: Viewer, bell: Bell, place: tuple[str, str, str], *, drawn: bool
    ) -> None:
        await exchange.send_part(b"--" + _BOUNDARY)
        looked_s = time.monotonic()
        while not bell.is_over:
            now_s = time.monotonic()
            if now_s - looked_s >= _LOOK_S:
                looked_s = now_s
                if place not in await asyncio.to_thread(self._places):
                    break
            shot = viewer.take(now_s)
            if shot is None:
                pause_s = viewer.pause_s(now_s)
                await bell.wait(_LOOK_S if pause_s is None else min(pause_s, _LOOK_S))
                continue
            jpeg = await self._gallery.jpeg(shot, drawn=drawn)
            # The boundary follows at once: a browser shows a picture only when it knows that it is whole.
            head = b"\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
            await exchange.send_part(b"".join((head, jpeg, b"\r\n--", _BOUNDARY)))
        await exchange.send_part(b"--\r\n", more=False)

    def _places(self) -> list[tuple[str, str, str]]:
        """Return run, case and source of everything that is read here."""
        return [(row["run"], row["case"], row["source"]) for row in self._platform.streams.status()]


def _chosen(places: list[tuple[str, str, str]], case: str, source: str) -> tuple[str, str, str]:
    """Return the one place that is meant, of the run that began last."""
    found = [place for place in places if case in ("", place[1]) and source in ("", place[2])]
    names = list(dict.fromkeys(f"{place[1]}/{place[2]}" for place in found))
    if not found:
        what = "/".join(each for each in (case, source) if each)
        known = ", ".join(dict.fromkeys(f"{place[1]}/{place[2]}" for place in places)) or "none"
        raise NotFound(
            f"Nothing called {what!r} is running here; running: {known}." if what else "No case is running here.",
            cure="Start one: sightline serve CASE --run",
        )
    if len(names) > 1:
        raise InvalidInput(
            f"Several sources are running: {', '.join(names)}.", cure="Name one: ?case=CASE&source=SOURCE"
        )
    return found[-1]


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 0.01 <= fps <= _MAX_FPS:
        raise InvalidInput(f"fps is {text[:20]!r}.", cure=f"Give a number from 0.01 to {_MAX_FPS:g}.")
    return fps
