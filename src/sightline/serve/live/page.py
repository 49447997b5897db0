"""`GET /viewer`: one page that shows the running cases in a browser; it asks nobody but this server."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cached_property
from importlib.resources import files

from sightline.serve.exchange import Exchange

_BLOCK = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class ViewerDoor:
    """Answers `/viewer`."""

    async def __call__(self, exchange: Exchange) -> None:
        """Send the page."""
        body, policy = self._page
        headers = [
            (b"content-security-policy", policy),
            (b"cache-control", b"no-cache"),
            (b"referrer-policy", b"no-referrer"),  # the address may hold a token
            (b"x-content-type-options", b"nosniff"),
        ]
        await exchange.answer(200, body, b"text/html; charset=utf-8", headers)

    @cached_property
    def _page(self) -> tuple[bytes, bytes]:
        """The page, and the policy by which nothing runs but what stands in it."""
        text = files("sightline.serve.live").joinpath("viewer.html").read_text("utf-8")
        hashes: dict[str, list[str]] = {"script": [], "style": []}
        for kind, block in _BLOCK.findall(text):
            digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
            hashes[kind].append(f"'sha256-{digest}'")
        policy = (
            f"default-src 'none'; script-src {' '.join(hashes['script'])}; style-src {' '.join(hashes['style'])}; "
            "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        return text.encode(), policy.encode()
