"""A connection to an MQTT broker that comes back by itself, driven by one thread; other threads hand it messages.

Knows the broker and its answers, nothing of samples and events. Each connection has a client of its own: what was not
acknowledged when one broke is told to whoever sent it, and nothing is sent twice behind his back.
"""

from __future__ import annotations

import random
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from sightline.core.errors import ConfigError

Received: TypeAlias = Callable[[MQTTMessage], None]

_PLAIN_PORT, _TLS_PORT = 1883, 8883
_SCHEMES = {"mqtt": False, "tcp": False, "mqtts": True, "ssl": True}
_LOOK_S = 0.5  # longest wait of the thread; the client's pings are a matter of seconds
_CAPACITY = 1000  # messages that wait for the network
_IN_FLIGHT = 100  # messages that wait for the broker's acknowledgement
_FIRST_WAIT_S = 0.25
_REFUSED = frozenset({"Bad user name or password", "Not authorized", "Bad authentication method", "Banned"})


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where a broker is, and who we are there.

    Attributes:
        ca: path of the certificates (PEM) that its own must be signed by; empty: those of the system.
        client_id: a name under which the broker keeps messages while we are away; empty: none, and it keeps nothing.
    """

    host: str
    port: int
    tls: bool
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ca: str = ""
    client_id: str = ""

    @property
    def name(self) -> str:
        """The address without user and password."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"


def broker_of(url: str, *, user: str = "", password: str = "", ca: str = "", client_id: str = "") -> Broker:
    """Return the broker at `mqtt://host:1883` or `mqtts://user:password@host:8883`.

    Raises:
        ConfigError: it is no such address; the message does not show it, for a password may stand in it.
    """
    try:
        parts = urlsplit(url if "://" in url else f"mqtt://{url}")
        port = parts.port
    except ValueError:
        raise ConfigError("url of the broker is no address.", cure="Write mqtt://host:1883.") from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError("url of the broker is no address of MQTT.", cure="Write mqtt://host or mqtts://host.")
    tls = _SCHEMES[parts.scheme]
    return Broker(
        host=parts.hostname,
        port=port or (_TLS_PORT if tls else _PLAIN_PORT),
        tls=tls,
        user=user or unquote(parts.username or ""),
        password=password or unquote(parts.password or ""),
        ca=ca,
        client_id=client_id,
    )


@dataclass(frozen=True, slots=True)
class _Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    done: Callable[[bool], None]


class MqttLink:
    """Keeps a connection to a broker.

    Args:
        broker: where it is.
        subscribe: topics with their quality of service.
        received: takes messages, by the link's thread; quick, and never failing.
        up: told when the broker has let us in, and has noted what we subscribe to.
        down: told why there is no connection, and whether the broker refuses us; also of each try that failed.
        status: topic that says `online`, and `offline` when we go or are lost; empty: none.
        timeout_s: longest wait for an answer to a connection.
        retry_max_s: longest wait before the next try.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        subscribe: tuple[tuple[str, int], ...] = (),
        received: Received | None = None,
        up: Callable[[], None] = lambda: None,
        down: Callable[[str, bool], None] = lambda *_: None,
        status: str = "",
        timeout_s: float = 5.0,
        retry_max_s: float = 30.0,
    ) -> None:
        self._broker = broker
        self._subscribe = subscribe
        self._received = received
        self._up = up
        self._down = down
        self._status = status
        self._timeout_s = timeout_s
        self._retry_max_s = retry_max_s
        self._tls = _tls_context(broker) if broker.tls else None
        self._id = broker.client_id or f"sightline-{uuid4().hex[:12]}"
        self._is_up = Flag()
        self._stopping = Flag()
        self._refusal: str | None = None
        self._waiting: deque[_Message] = deque()
        self._sent: dict[int, _Message] = {}
        self._lock = Lock()
        self._thread = Thread(target=self._work, name=f"mqtt-{broker.host}", daemon=True)

    @property
    def is_up(self) -> bool:
        """True while the broker has us, and our subscriptions."""
        return self._is_up.is_set()

    def start(self) -> None:
        """Begin to connect; the broker may be away."""
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._thread.start()

    def stop(self, within_s: float = 2.0) -> None:
        """Send what waits, say `offline`, and leave; wait for that no longer than `within_s`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._wake()
            self._thread.join(within_s)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        done: Callable[[bool], None] = lambda _: None,
    ) -> bool:
        """Hand over a message; False where there is no connection or no room, and it goes nowhere.

        `done` is told, by the link's thread, whether the broker has it (with qos 0: whether it was sent).
        """
        with self._lock:
            if not self.is_up or self._stopping.is_set() or len(self._waiting) >= _CAPACITY:
                return False
            self._waiting.append(_Message(topic, payload, qos, retain, done))
        self._wake()
        return True

    def delivered(self, topic: str, payload: bytes, *, qos: int, timeout_s: float, retain: bool = False) -> bool:
        """Publish and wait; return whether the broker has it."""
        answered, has = Flag(), [False]

        def done(taken: bool) -> None:
            has[0] = taken
            answered.set()

        return self.publish(topic, payload, qos=qos, retain=retain, done=done) and answered.wait(timeout_s) and has[0]

    def _wake(self) -> None:
        with suppress(OSError):  # full: then it is awake
            self._wake_writer.send(b"-")

    def _work(self) -> None:
        num_failures = 0
        while not self._stopping.is_set():
            was_up, reason = False, ""
            try:
                was_up, reason = self._connected()
            except (OSError, ValueError) as error:
                reason = _words(error)
            finally:
                self._drop()
            if self._stopping.is_set():
                break
            refused = self._refusal in _REFUSED
            self._down(self._refusal or reason, refused)
            num_failures = 1 if was_up else num_failures + 1
            longest_s = min(self._retry_max_s, _FIRST_WAIT_S * 2.0 ** min(num_failures - 1, 16))
            wait_s = self._retry_max_s if refused else longest_s * random.uniform(0.5, 1.0)  # noqa: S311
            self._stopping.wait(wait_s)
        self._wake_reader.close()
        self._wake_writer.close()

    def _connected(self) -> tuple[bool, str]:
        """Keep one connection until it ends; return whether the broker let us in, and why it ended."""
        self._refusal = None
        client = self._client()
        client.connect(self._broker.host, self._broker.port, keepalive=15)
        end_s = time.monotonic() + self._timeout_s
        try:
            while not self._stopping.is_set():
                code = self._turn(client)
                if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._refusal is not None:
                    return self.is_up, _said(code)
                if not self.is_up and time.monotonic() > end_s:
                    return False, f"no answer within {self._timeout_s:g} s"
            self._leave(client)
            return self.is_up, ""
        finally:
            _close(client)

    def _turn(self, client: Client) -> MQTTErrorCode:
        """Read and write what there is, and look after the connection."""
        wire = client.socket()
        if wire is None:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        pending = isinstance(wire, ssl.SSLSocket) and wire.pending() > 0
        with selectors.DefaultSelector() as selector:
            write = selectors.EVENT_WRITE if client.want_write() else 0
            selector.register(wire, selectors.EVENT_READ | write, "wire")
            selector.register(self._wake_reader, selectors.EVENT_READ, "wake")
            ready = {key.data: mask for key, mask in selector.select(0 if pending else _LOOK_S)}
        if "wake" in ready:
            with suppress(BlockingIOError):
                self._wake_reader.recv(4096)
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        if pending or ready.get("wire", 0) & selectors.EVENT_READ:
            code = client.loop_read()
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS and ready.get("wire", 0) & selectors.EVENT_WRITE:
            code = client.loop_write()
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            code = client.loop_misc()
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS and self.is_up:
            self._send(client)
        return code

    def _send(self, client: Client) -> None:
        """Give what waits to the client, as long as the broker keeps up with acknowledging."""
        while len(self._sent) < _IN_FLIGHT:
            with self._lock:
                if not self._waiting:
                    return
                message = self._waiting.popleft()
            info = client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
            if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
                message.done(False)
            elif message.qos:
                self._sent[info.mid] = message
            else:
                message.done(True)

    def _leave(self, client: Client) -> None:
        """Send what waits and say that we go."""
        end_s = time.monotonic() + 1.0
        while self.is_up and (self._waiting or self._sent) and time.monotonic() < end_s:
            if self._turn(client) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
        if self.is_up and self._status:
            client.publish(self._status, b"offline", qos=0, retain=True)
        while client.want_write() and time.monotonic() < end_s:
            client.loop_write()

    def _client(self) -> Client:
        broker = self._broker
        client = Client(CallbackAPIVersion.VERSION2, client_id=self._id, clean_session=not broker.client_id)
        client.connect_timeout = self._timeout_s
        client.max_inflight_messages_set(_IN_FLIGHT)
        if broker.user:
            client.username_pw_set(broker.user, broker.password or None)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if self._status:
            client.will_set(self._status, b"offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        return client

    def _on_connect(self, client: Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._refusal = str(code)
            return
        if self._status:
            client.publish(self._status, b"online", qos=1, retain=True)
        if self._subscribe:
            client.subscribe(list(self._subscribe))
        else:
            self._is_up.set()
            self._up()

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            topics = ", ".join(topic for topic, _ in self._subscribe)
            self._refusal = f"we may not subscribe to {topics}"
            return
        self._is_up.set()  # only now nothing is missed
        self._up()

    def _on_publish(self, _client: Client, _data: Any, mid: int, _code: Any, _properties: Any) -> None:
        message = self._sent.pop(mid, None)
        if message is not None:
            message.done(True)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if self._received is not None:
            self._received(message)

    def _drop(self) -> None:
        """Tell those who sent what the broker never acknowledged."""
        self._is_up.clear()
        with self._lock:
            lost = [*self._sent.values(), *self._waiting]
            self._sent.clear()
            self._waiting.clear()
        for message in lost:
            message.done(False)


def _tls_context(broker: Broker) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=broker.ca or None)
    except OSError as error:
        raise ConfigError(f"ca of the broker, {broker.ca}, cannot be used: {error}.", cure="Name a PEM file.") from None


def _close(client: Client) -> None:
    """End the connection; without the farewell, which follows a healthy one only, the broker tells the last will."""
    with suppress(OSError, ValueError):
        client.disconnect()
        client.loop_write()
    wire = client.socket()
    if wire is not None:
        with suppress(OSError):
            wire.close()


def _said(code: MQTTErrorCode) -> str:
    return "the connection broke" if code != MQTTErrorCode.MQTT_ERR_SUCCESS else "the broker refused"


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
