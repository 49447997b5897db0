"""A real server for the tests of the client, and a scripted one for what a real one does rarely."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.serve.oip.nets import echo_net
from tests.servers import RunningServer, serving

from sightline import Client

PHOTOS = Path(__file__).parents[1] / "data/photos"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Serve the shipped models and cases, and two nets that give back what they get."""
    folder = tmp_path_factory.mktemp("served")
    nets = [echo_net(folder / f"echo-{kind.lower()}.onnx", kind) for kind in ("FP32", "BYTES")]
    with serving(folder, ["street_people", *nets]) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    """Return a client of the real server."""
    with Client(server.url, timeout_s=20) as made:
        yield made


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """One answer of the scripted server.

    Attributes:
        breaks_off: close the connection without an answer.
        is_torn: send no length, and close the connection behind the body.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    breaks_off: bool = False
    is_torn: bool = False


@dataclass(kw_only=True)
class Script:
    """A server that answers what it was told, one after the other; the last answer again and again."""

    url: str
    answers: list[Scripted] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def headers(self, name: str) -> list[str | None]:
        """Return a header of all requests that came."""
        return [headers.get(name) for _, _, headers, _ in self.asked]


@pytest.fixture
def script() -> Iterator[Script]:
    """Return a server that can be told what to answer."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.asked.append((self.command, self.path, headers, self.rfile.read(size)))
            wanted = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if wanted.breaks_off:
                self.close_connection = True
                return
            self.send_response(wanted.status)
            for name, value in {"Content-Type": "application/json", **wanted.headers}.items():
                self.send_header(name, value)
            if wanted.is_torn:
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(wanted.body)))
            self.end_headers()
            self.wfile.write(wanted.body)

        do_GET = do_POST = do_DELETE = do_PUT = answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as listening:
        told = Script(url=f"http://127.0.0.1:{listening.server_port}")
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield told
        finally:
            listening.shutdown()
            thread.join()


Waits = list[float]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Return the pauses that a blocking client makes, which take no time."""
    made: Waits = []
    take: Callable[[float], None] = made.append
    monkeypatch.setattr("sightline.client.carriers.time.sleep", take)
    return made
