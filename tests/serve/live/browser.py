"""A real browser without a screen: Debian's Chromium, spoken to over its own debugging protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
)  # fmt: skip
WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""Draws in three dimensions without a graphics card."""
_SIZE = {"width": 1280, "height": 800}
_SOCKET: dict[str, Any] = {
    "max_size": None,
    "max_queue": None,
}  # full of what nobody reads, it would not close for 10 s


class Commands:
    """Tells the browser, or one page of it, what to do."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)

    def tell(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            heard = json.loads(self._socket.recv(60))
            if heard.get("id") == number:
                assert "error" not in heard, heard
                return heard["result"]
            self._note(heard)

    def _note(self, heard: dict[str, Any]) -> None:
        """Hear of what nobody asked for."""


class Page(Commands):
    """One page; `problems` holds what the browser complained of, `asked` every address that it asked for."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self.problems: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.tell(f"{domain}.enable")

    def open(self, url: str) -> None:
        self.tell("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        answer = self.tell("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, timeout_s: float = 30) -> Any:
        end = time.monotonic() + timeout_s
        while not (value := self.value(expression)):
            assert time.monotonic() < end, f"{expression} does not come true: {self.problems}"
            time.sleep(0.05)
        return value

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.tell("Page.captureScreenshot")["data"]))

    def _note(self, heard: dict[str, Any]) -> None:
        params = heard.get("params", {})
        if heard["method"] == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif heard["method"] == "Network.webSocketCreated":
            self.asked.append(params["url"])
        elif heard["method"] == "Runtime.exceptionThrown":
            self.problems.append(_thrown(params["exceptionDetails"]))
        elif heard["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())


def _thrown(details: dict[str, Any]) -> str:
    """What was thrown and from where: the text of an exception names neither."""
    thrown = details.get("exception", {})
    said = thrown.get("description") or thrown.get("value") or details["text"]
    frames = details.get("stackTrace", {}).get("callFrames", ())
    places = [f"{at['functionName']}@{at['url']}:{at['lineNumber']}:{at['columnNumber']}" for at in frames]
    return "\n".join([f"{details['text']}: {said}", *places])


class Browser:
    """A browser that runs; each of its pages begins empty: no storage, no cache, no size of a screen."""

    def __init__(self, port: int, socket: ClientConnection) -> None:
        self.port = port
        self._whole = Commands(socket)

    @contextmanager
    def page(self) -> Iterator[Page]:
        """Open a page that knows nothing of the others, and close it."""
        world = self._whole.tell("Target.createBrowserContext")["browserContextId"]
        try:
            target = self._whole.tell("Target.createTarget", url="about:blank", browserContextId=world, **_SIZE)
            with connect(f"ws://127.0.0.1:{self.port}/devtools/page/{target['targetId']}", **_SOCKET) as socket:
                page = Page(socket)
                page.tell("Emulation.setFocusEmulationEnabled", enabled=True)  # several are open, each as if alone
                yield page
        finally:
            self._whole.tell("Target.disposeBrowserContext", browserContextId=world)


@contextmanager
def browsing(folder: Path, *flags: str) -> Iterator[Page]:
    """Start the browser with an empty profile below `folder`, and give a page; `flags` as `WEBGL`."""
    with started(folder, *flags) as browser, browser.page() as page:
        yield page


@contextmanager
def started(folder: Path, *flags: str) -> Iterator[Browser]:
    """Start the browser with an empty profile below `folder`; `flags` as `WEBGL`."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on this machine")
    profile = folder / "profile"
    process = subprocess.Popen(
        [program, *_FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = profile / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (told.is_file() and told.read_text().strip()):
            assert time.monotonic() < end, "the browser does not start"
            time.sleep(0.05)
        port, path = told.read_text().split()
        with connect(f"ws://127.0.0.1:{port}{path}", **_SOCKET) as socket:
            yield Browser(int(port), socket)
            socket.send('{"id": 0, "method": "Browser.close"}')  # faster than a signal
    finally:
        process.terminate()
        process.wait(30)
