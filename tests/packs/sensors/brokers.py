"""Real brokers: that of this machine, and Mosquittos of the tests' own, which may be killed."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import Empty, Queue
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from tests.ports import free_port

ADDRESS = os.environ.get("SIGHTLINE_TEST_MQTT", "127.0.0.1:1883")
_MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@cache
def shared_broker() -> str:
    """Return the address of the broker of this machine, or of one for all tests; skip the test where there is none."""
    host, _, port = ADDRESS.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        folder = Path(mkdtemp())
        broker = Broker(folder)
        broker.start()
        atexit.register(shutil.rmtree, folder)
        atexit.register(broker.kill)
        return broker.url
    return f"mqtt://{ADDRESS}"


def own_topic() -> str:
    """Return a topic that nobody else uses."""
    return f"tests/{uuid4().hex}"


class Broker:
    """A Mosquitto on a port of its own; `start` and `kill` as often as a test wants."""

    def __init__(self, folder: Path, *lines: str) -> None:
        if _MOSQUITTO is None:
            pytest.skip("mosquitto is not installed")
        self._command = [_MOSQUITTO, "-c", str(folder / "mosquitto.conf")]
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        access = [] if any(line.startswith("allow_anonymous") for line in lines) else ["allow_anonymous true"]
        # `user`: as root it would become another one, who may not read our files.
        text = "\n".join(["user root", f"listener {self.port} 127.0.0.1", *access, *lines])
        (folder / "mosquitto.conf").write_text(f"{text}\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end_s = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < end_s, "mosquitto does not start"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """End it as an administrator does; with `persistence true` it keeps sessions and what waits for them."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def broker_in(folder: Path, *lines: str, started: bool = True) -> Iterator[Broker]:
    """Give a broker of the test's own."""
    broker = Broker(folder, *lines)
    try:
        if started:
            broker.start()
        yield broker
    finally:
        broker.kill()


class Listener:
    """Hears topics of a broker, as somebody else's program does; with a name the broker keeps what it misses."""

    def __init__(self, url: str, *topics: str, name: str = "") -> None:
        self.heard: Queue[tuple[str, str]] = Queue()
        self.client = connected(url, name, lambda topic, payload: self.heard.put((topic, payload.decode())))
        subscribed: Queue[bool] = Queue()
        self.client.on_subscribe = lambda *_: subscribed.put(True)
        self.client.subscribe([(topic, 1) for topic in topics])
        subscribed.get(timeout=30)

    def next(self, timeout_s: float = 30.0) -> tuple[str, Any]:
        """Return topic and payload of the next message; JSON where it is that."""
        topic, text = self.heard.get(timeout=timeout_s)
        return topic, json.loads(text) if text.startswith("{") else text

    def nothing(self, seconds: float = 0.5) -> bool:
        """Return whether nothing is heard for a while."""
        try:
            self.heard.get(timeout=seconds)
        except Empty:
            return True
        return False


@contextmanager
def listening(url: str, *topics: str, name: str = "") -> Iterator[Listener]:
    listener = Listener(url, *topics, name=name)
    try:
        yield listener
    finally:
        left(listener.client)


@contextmanager
def publishing(url: str) -> Iterator[Client]:
    """Give a client that publishes."""
    client = connected(url)
    try:
        yield client
    finally:
        left(client)


def left(client: Client) -> None:
    client.disconnect()
    client.loop_stop()


def connected(url: str, name: str = "", heard: Callable[[str, bytes], None] = lambda *_: None) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=not name)
    client.on_message = lambda _client, _data, message: heard(message.topic, bytes(message.payload))
    host, _, port = url.partition("://")[2].partition(":")
    up: Queue[bool] = Queue()
    client.on_connect = lambda *_: up.put(True)
    client.connect(host, int(port))
    client.loop_start()
    up.get(timeout=30)
    return client
