"""`/ws`: a WebSocket on which a client says what it wants, and gets events as text and pictures as binary messages.

One subscription a connection; a new one takes its place. A slow client loses its oldest pictures without a word, and
its oldest events with the event `gap`.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from uuid import uuid4

from sightline.core.codec import encode_event, to_json
from sightline.core.errors import InvalidInput, NotFound
from sightline.core.events import make_event
from sightline.core.ports import Gap
from sightline.serve.exchange import Receive, Scope, Send
from sightline.serve.live.bells import Bell, Bells
from sightline.serve.live.hub import Hub, Listener
from sightline.serve.live.pictures import Gallery, Viewer
from sightline.serve.live.wishes import Wish, read_wish
from sightline.serve.problems import problem

PATH = "/ws"
_PATIENCE_S = 3600.0
_GOING_AWAY, _REFUSED = 1001, 1008
_PONG = '{"op":"pong"}'


class SocketDoor:
    """Answers WebSockets.

    Args:
        hub: tells what happens.
        gallery: shows pictures.
        bells: of all open connections.
    """

    def __init__(self, hub: Hub, gallery: Gallery, bells: Bells) -> None:
        self._hub = hub
        self._gallery = gallery
        self._bells = bells

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection until either side ends it."""
        await receive()  # websocket.connect
        if scope["path"] != PATH:
            error = NotFound(f"No WebSocket is at {scope['path'][:100]!r}.")
            await send({"type": "websocket.close", "code": _REFUSED, "reason": str(error)[:120]})
            return
        bell = self._bells.hang(scope)
        client = _Client(self._hub, self._gallery, bell, send)
        reading = asyncio.get_running_loop().create_task(client.read(receive))
        try:
            await send({"type": "websocket.accept"})
            await client.write()
            if bell.is_refused:
                await send({"type": "websocket.close", "code": _REFUSED, "reason": "The key is not valid any more."})
            elif not client.is_gone:
                await send({"type": "websocket.close", "code": _GOING_AWAY, "reason": "The server is being stopped."})
        except OSError:  # the client left while something was sent to it
            pass
        finally:
            reading.cancel()
            client.unsubscribe()
            self._bells.take_down(bell)


class _Client:
    """One connection: a task reads what the client says, another one writes what it wants to hear.

    Attributes:
        is_gone: the client has left.
    """

    def __init__(self, hub: Hub, gallery: Gallery, bell: Bell, send: Send) -> None:
        self.is_gone = False
        self._hub = hub
        self._gallery = gallery
        self._bell = bell
        self._send = send
        self._sending = asyncio.Lock()
        self._listener: Listener | None = None
        self._viewer: Viewer | None = None
        self._id = uuid4().hex

    async def read(self, receive: Receive) -> None:
        """Do what the client says, until it leaves."""
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                try:
                    await self._obey(read_wish(message.get("text") or message.get("bytes") or ""))
                except InvalidInput as error:
                    told = problem(error, instance=PATH, request_id=self._id)
                    await self._text(to_json(told).decode())
        except OSError:  # it left before it had its answer
            pass
        finally:
            self.is_gone = True
            self._bell.end()

    async def write(self) -> None:
        """Send what the client wants, until it leaves or the server ends."""
        while not self._bell.is_over:
            sent = False
            listener, viewer = self._listener, self._viewer
            for told in listener.take() if listener is not None else ():
                await self._text(_gap(told) if isinstance(told, Gap) else told.json)
                sent = True
            shot = None if viewer is None else viewer.take(time.monotonic())
            if shot is not None:
                message = await self._gallery.message(shot)
                async with self._sending:
                    await self._send({"type": "websocket.send", "bytes": message})
            elif not sent:
                pause_s = None if viewer is None else viewer.pause_s(time.monotonic())
                await self._bell.wait(_PATIENCE_S if pause_s is None else pause_s)

    def unsubscribe(self) -> None:
        """Want nothing any more."""
        if self._listener is not None:
            self._hub.leave(self._listener)
        if self._viewer is not None:
            self._gallery.leave(self._viewer)
        self._listener = self._viewer = None

    async def _obey(self, wish: Wish) -> None:
        if wish.op == "ping":
            await self._text(_PONG)
            return
        self.unsubscribe()
        if wish.op == "subscribe":
            await self._subscribe(wish)

    async def _subscribe(self, wish: Wish) -> None:
        listener = Listener(wish.wanted, self._bell)
        await self._hub.join(listener)
        self._listener = listener
        if wish.pictures:
            self._viewer = Viewer(wish.wanted.takes_place, self._bell, wish.max_fps)
            self._gallery.join(self._viewer)

    async def _text(self, text: str) -> None:
        async with self._sending:
            await self._send({"type": "websocket.send", "text": text})


def _gap(gap: Gap) -> str:
    """Return the event of a gap, in the form of all others."""
    event = make_event("gap", source=PATH, time=datetime.now(UTC), data={"num_lost": gap.num_lost})
    return to_json(encode_event(event)).decode()
