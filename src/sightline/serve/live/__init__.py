"""What happens now: Server-Sent Events, pictures, WebSockets, a page that shows them, and how the cameras are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sightline.core.sample import Sample
from sightline.serve.exchange import Receive, Scope, Send
from sightline.serve.live.bells import Bells
from sightline.serve.live.health import HealthDoor
from sightline.serve.live.hub import Hub
from sightline.serve.live.mjpeg import PictureDoor
from sightline.serve.live.page import ViewerDoor
from sightline.serve.live.pictures import Gallery
from sightline.serve.live.socket import SocketDoor
from sightline.serve.live.sse import EventDoor

if TYPE_CHECKING:
    from sightline.serve.platform import Platform


class LiveDoors:
    """The live doors of one platform.

    Args:
        platform: what all doors share.
        heartbeat_s: `/stream` sends a comment when it has sent nothing else for so long.

    Attributes:
        health, events, pictures, viewer: raw handlers of `/health/stream`, `/stream`, `/stream.mjpeg` and `/viewer`.
        socket: ASGI application of WebSockets.
        hub, gallery, bells: who listens, who looks on, who is connected; their lengths are the numbers.
    """

    def __init__(self, platform: Platform, *, heartbeat_s: float = 15.0) -> None:
        self._platform = platform
        self.bells = Bells(lambda: platform.stopping)
        self.hub = Hub(lambda: platform.context)
        self.gallery = Gallery(lambda: platform.streams, self._drawn)
        self.health = HealthDoor(platform)
        self.events = EventDoor(platform, self.hub, self.bells, heartbeat_s=heartbeat_s)
        self.pictures = PictureDoor(platform, self.gallery, self.bells)
        self.viewer = ViewerDoor()
        self._socket = SocketDoor(self.hub, self.gallery, self.bells)

    async def socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a WebSocket; who asks has been found out before."""
        await self._socket(scope, receive, send)

    def _drawn(self, sample: Sample[Any]) -> bytes:
        """Return a picture with what was predicted drawn onto it; which pack can do that, entry points know."""
        jpeg: bytes = self._platform.context.plugin("sources", "images", url="-").drawn(sample)
        return jpeg
