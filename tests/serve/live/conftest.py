"""A real server with the live doors on a free port, a real bus and database, and cases that are drawn."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from threading import enumerate as enumerate_threads
from typing import Any

import httpx2
import numpy as np
import pytest
from tests.packs.vision.sources.conftest import loop_h264, rtsp_server

from sightline.build import CaseBuildContext
from sightline.build.running import held_run
from sightline.core.case import Case
from sightline.core.events import Event, make_event, source_uri
from sightline.core.plugins import Predictor, Source
from sightline.core.prediction import Boxes, Prediction
from sightline.core.run import Run
from sightline.core.sample import Sample
from sightline.packs.basic.sinks import BusSink
from sightline.packs.vision.sources.synthetic import SyntheticSource
from sightline.serve.app import make_app
from sightline.serve.doorway import Doorway, Handler
from sightline.serve.exchange import Exchange, Receive, Scope, Send
from sightline.serve.live import LiveDoors
from sightline.serve.platform import Platform
from sightline.serve.server import make_server
from sightline.settings import load_settings

__all__ = ["loop_h264", "rtsp_server"]  # fixtures
SIZE = (64, 48)


@dataclass(kw_only=True)
class Corner(Predictor):
    """One tracked person in the same place of each picture."""

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        return [
            Boxes(
                xyxy=np.array([[4, 6, 20, 40]], np.float32),
                confidence=np.array([0.75], np.float32),
                class_id=np.array([0], np.int64),
                class_name=("person",),
                tracker_id=np.array([7], np.int64),
            )
            for _ in samples
        ]


class Served:
    """A server that runs, and what it runs on."""

    def __init__(self, folder: Path, environ: dict[str, str], heartbeat_s: float, *, whole: bool) -> None:
        given = {"SIGHTLINE_DATA_ROOT": str(folder / "data"), "SIGHTLINE_SERVER__PORT": "0", **environ}
        self.context = CaseBuildContext(load_settings(folder=folder, environ=given))
        self.platform = Platform(self.context)
        self.live = LiveDoors(self.platform, heartbeat_s=heartbeat_s)
        routes: dict[str, Handler] = {
            "/stream": self.live.events,
            "/stream.mjpeg": self.live.pictures,
            "/viewer": self.live.viewer,
            "/health/stream": self.live.health,
        }

        def find(exchange: Exchange) -> Handler | None:
            exchange.route = exchange.path
            return routes.get(exchange.path)

        doorway = Doorway(self.platform, find, self.live.socket, _nothing)
        self.server = make_server(self.context.settings, make_app(self.platform) if whole else doorway)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}/ws"
        self._thread = Thread(target=lambda: self.server.run(sockets=[self._socket]), daemon=True)

    def begin(self) -> None:
        self._thread.start()
        until(lambda: self.server.started or self.platform.failure, 60)  # a busy machine takes its time
        assert self.platform.failure is None
        for thread in enumerate_threads():
            if thread.name == "warm":
                thread.join(30)  # a platform that is closed while it warms a model is another file's matter

    def end(self) -> None:
        self.platform.stopping = True
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server does not end"
        self._socket.close()

    def run(self, case: str = "yard", /, **sources: Source) -> Run:
        """Run a case over `sources` until it is stopped; one drawn camera where none is given."""
        made = Case(
            name=case,
            sources=sources or {"door": SyntheticSource(size=SIZE, fps=50, realtime=True)},
            stages={"analytics": {"people": Corner()}},
            sinks=(BusSink(),),
        )
        return self.platform.streams.start(lambda: held_run(made, self.context))

    def publish(
        self, number: int, short_type: str = "run.progress", *, case: str = "yard", source: str = "door"
    ) -> Event:
        event = make_event(short_type, source=source_uri(case, source), time=datetime.now(UTC), data={"number": number})
        self.context.bus.publish(event)
        return event

    def record(self, number: int, short_type: str = "line.crossed", *, case: str = "yard") -> Event:
        """Record an event as another process does: the relay carries it to the bus, or nobody."""
        event = make_event(short_type, source=source_uri(case, "door"), time=datetime.now(UTC), data={"number": number})
        self.context.store.events.append([event])
        return event

    def until_relayed(self) -> None:
        """Wait until the relay has carried what is recorded: it would tell of it later, among newer events."""
        newest = self.context.store.events.position()
        assert newest is not None
        relay = self.platform.relay
        relay.look_now()
        until(lambda: relay._position is not None and relay._position >= newest)

    @contextmanager
    def stream(self, query: str = "", after: str | None = None) -> Iterator[Iterator[Told]]:
        """Listen to `/stream`."""
        headers = {} if after is None else {"Last-Event-ID": after}
        with httpx2.stream("GET", f"{self.url}/stream{query}", headers=headers, timeout=30) as answer:
            assert answer.status_code == 200, answer.read()
            yield told(answer)


@dataclass(frozen=True)
class Told:
    """One Server-Sent Event."""

    event: str
    data: Any
    id: str | None

    @property
    def number(self) -> Any:
        return self.data["data"]["number"] if "data" in self.data else self.event


def told(answer: httpx2.Response) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Told(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


async def _nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def until(happened: Callable[[], object], timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)


@contextmanager
def serving(
    folder: Path, environ: dict[str, str] | None = None, *, heartbeat_s: float = 15.0, whole: bool = False
) -> Iterator[Served]:
    """Serve the live doors alone, which are then at hand, or the `whole` application as users have it."""
    served = Served(folder, environ or {}, heartbeat_s, whole=whole)
    try:
        served.begin()
        yield served
    finally:
        served.end()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for a whole file of tests."""
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def served(house: Served) -> Iterator[Served]:
    """The server, on which nothing runs; nobody may be left listening."""
    yield house
    for run in house.platform.streams.list():
        house.platform.streams.stop(run.id)
    until(lambda: not house.platform.streams.list())
    until(lambda: not (len(house.live.hub) or len(house.live.gallery) or len(house.live.bells)))
