"""HTTP as bytes, for what no well-behaved client sends."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class RawAnswer:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the problem that this answer tells; it must be one, whole."""
        assert self.headers["content-type"] == PROBLEM, self
        problem = self.json()
        assert problem["status"] == self.status
        assert problem["detail"]
        assert problem["cure"]
        return str(problem["code"])


class RawClient:
    """One connection."""

    def __init__(self, port: int, *, timeout_s: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(
        self,
        method: str = "GET",
        path: str = "/livez",
        *headers: str,
        body: bytes | None = None,
        host: str = "localhost",
    ) -> None:
        """Send a request; `body` None sends neither a body nor its length."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def answer(self, *, head: bool = False) -> RawAnswer:
        """Read one answer; `head`: to HEAD, which has no body."""
        status = int(self._line().split()[1])
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        if status == 100:
            return RawAnswer(status, headers, b"")
        body = b"" if head else self._file.read(int(headers.get("content-length", "0")))
        return RawAnswer(status, headers, body)

    def is_closed(self) -> bool:
        """Wait until the server hangs up or the timeout passes; True when it has hung up."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def _line(self) -> str:
        line = self._file.readline()
        if not line:
            raise ConnectionResetError("the server has hung up")
        return line.decode("latin-1").rstrip("\r\n")


@contextmanager
def connected(port: int, *, timeout_s: float = 30.0) -> Iterator[RawClient]:
    """Connect, and hang up at the end."""
    client = RawClient(port, timeout_s=timeout_s)
    try:
        yield client
    finally:
        client.close()


def asked(port: int, method: str, path: str, *headers: str, body: bytes | None = None, **how: Any) -> RawAnswer:
    """Ask once on a connection of its own."""
    with connected(port) as client:
        client.ask(method, path, *headers, body=body, **how)
        return client.answer(head=method == "HEAD")
