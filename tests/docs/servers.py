"""A server that a page starts: it listens at free ports, and ends when the page does."""

from __future__ import annotations

import random
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_START_S = 60.0
_END_S = 60.0
_PLACES = {"HTTP": "8000", "gRPC": "8001"}


class Servers:
    """The server of a page, one at a time, and the ports at which it listens.

    A page says 8000 for HTTP and 8001 for gRPC, as a reader types them; while it is run they are ports that are free.
    """

    def __init__(self, folder: Path) -> None:
        self._log = folder / ".server.log"
        self._ports = {shown: str(port) for shown, port in zip(_PLACES.values(), _free_ports(2), strict=True)}
        self._process: subprocess.Popen[bytes] | None = None
        self._where = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.end()
        elif self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        """What the server of this page has said so far."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def shown(self, text: str) -> str:
        """Return a block with the ports that are used in place of those that a reader sees."""
        return re.sub(rf"\b({'|'.join(self._ports)})\b", lambda found: self._ports[found[1]], text)

    def start(self, command: str, folder: Path, environ: Mapping[str, str], where: str) -> None:
        """Start the server of a block, after the one before has ended, and wait until it listens."""
        self.end()
        words = shlex.split(command, comments=True)
        own: dict[str, str] = {"SIGHTLINE_SERVER__PORT": self._ports["8000"]}
        while words and re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            own[name] = value
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                words, cwd=folder, env={**environ, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._where = where
        until_s = time.monotonic() + _START_S
        while not _listens(int(self._ports["8000"])):
            assert self._process.poll() is None, f"{where}: the server ended:\n{self.log}"
            assert time.monotonic() < until_s, f"{where}: the server does not listen:\n{self.log}"
            time.sleep(0.02)

    def end(self) -> None:
        """End the server as a service of the system does, and see that it ends well."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            code = process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self._where}: the server does not end:\n{self.log}") from None
        # uvicorn by itself ends by the signal that ended it; `sightline serve` with 0.
        assert code in (0, -signal.SIGTERM), f"{self._where}: the server ended with {code}:\n{self.log}"


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(num: int) -> list[int]:
    """Return ports that nobody has, below those that the system gives to whoever wants any: they stay free."""
    found: list[int] = []
    while len(found) < num:
        with socket.socket() as each, suppress(OSError):
            each.bind(("127.0.0.1", random.randrange(20_000, 32_000)))  # noqa: S311 - no secret
            found.append(each.getsockname()[1])
    return found
