"""A real server inside the tests' process: uvicorn in a thread, on a free port of the loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from sightline.build.context import CaseBuildContext
from sightline.serve.app import make_app
from sightline.serve.platform import Platform
from sightline.serve.server import make_server
from sightline.settings import load_settings


class RunningServer:
    """A server that answers at `url`.

    Attributes:
        platform: what it serves with.
        address: `127.0.0.1:PORT`, as some clients want it.
    """

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._server = make_server(platform.context.settings, make_app(platform))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self._thread = Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def start(self) -> None:
        """Begin, and wait until requests are answered."""
        self._thread.start()
        end_s = time.monotonic() + 60
        while not self._server.started:
            assert self._thread.is_alive(), self.platform.failure
            assert time.monotonic() < end_s, "the server does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """End as after SIGTERM, and wait until that is done."""
        self.platform.stopping = True
        self._server.should_exit = True
        self._thread.join(40)
        assert not self._thread.is_alive(), "the server does not end"


@contextmanager
def serving(folder: Path, wanted: Sequence[str | Path] = (), **settings: Any) -> Iterator[RunningServer]:
    """Serve what is wanted, with the data in `folder`; settings have `__` for a dot: `models__workers=1`."""
    overrides = {name.replace("__", "."): value for name, value in settings.items()}
    loaded = load_settings(folder=folder, environ={"SIGHTLINE_DATA_ROOT": str(folder / "data")}, overrides=overrides)
    running = RunningServer(Platform(CaseBuildContext(loaded), [str(each) for each in wanted]))
    running.start()
    try:
        yield running
    finally:
        running.stop()
