"""`sightline serve` as a user starts it: a process of its own on a free port, told by signals, seen from outside."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psutil
from tests.programs import command, environment

_URL = re.compile(r"serving (https?)://(\S+):(\d+) ")


class ServerProcess:
    """A running server.

    Attributes:
        port: of HTTP on the loopback.
        ready_s: from the start to the line that says so.
        ready_cpu_s: seconds of CPU that it took until then.
    """

    def __init__(
        self, folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None, verb: str = "serve"
    ) -> None:
        begin = time.monotonic()
        self._process = subprocess.Popen(
            command(verb, *arguments, "--port", "0"), cwd=folder, env=environment(folder, env),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        while (found := _URL.search(self.err)) is None:
            assert self._process.poll() is None, self.err
            assert time.monotonic() < begin + 90, self.err
            time.sleep(0.005)
        self.ready_s = time.monotonic() - begin
        spent = psutil.Process(self._process.pid).cpu_times()
        self.ready_cpu_s = spent.user + spent.system
        self.scheme, self.host, port = found.groups()
        self.port = int(port)
        self.url = f"{self.scheme}://127.0.0.1:{port}"

    @property
    def err(self) -> str:
        """What it has said on stderr so far."""
        return "".join(self.lines)

    @property
    def rss_mb(self) -> float:
        """Memory that it holds, MB."""
        return float(psutil.Process(self._process.pid).memory_info().rss / 1e6)

    @property
    def num_files(self) -> int:
        """Files and sockets that it holds open."""
        return int(psutil.Process(self._process.pid).num_fds())

    @property
    def num_threads(self) -> int:
        """Threads that it has."""
        return int(psutil.Process(self._process.pid).num_threads())

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def is_running(self) -> bool:
        """Return whether it has not ended."""
        return self._process.poll() is None

    def wait(self, timeout_s: float = 60) -> int:
        """Wait for its end and return its exit code."""
        code = self._process.wait(timeout_s)
        self._reader.join(30)
        return code

    def end(self) -> None:
        """End it, whatever it does."""
        if self.is_running():
            self._process.kill()
        self.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)


@contextmanager
def server_process(
    folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Start a server in `folder`, wait until it says that it serves, and kill it at the end if it still runs."""
    server = ServerProcess(folder, *arguments, env=env)
    try:
        yield server
    finally:
        server.end()
