"""Readings that sensors publish to an MQTT broker.

Knows when to connect, what to keep and what to drop; what a message says stands in `payloads`, the connection in
`mqtt_link`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Condition

import structlog
from paho.mqtt.client import MQTTMessage

from sightline.core.errors import ConfigError
from sightline.core.plugins import Context, Source, SourceState
from sightline.core.sample import Clocks, Reading, Sample
from sightline.packs.sensors.mqtt_link import MqttLink, broker_of
from sightline.packs.sensors.payloads import BadPayload, reading_of

log = structlog.get_logger()
_POLL_S = 0.2
_FUTURE = timedelta(minutes=5)  # a sensor's clock that is further ahead is wrong; it would close everybody's windows


@dataclass(frozen=True, slots=True)
class _Came:
    topic: str
    payload: bytes
    wall: datetime
    monotonic_s: float
    connection: int


@dataclass(kw_only=True)
class MqttSource(Source):
    """Readings from the messages of MQTT topics: a JSON object with numbers, or a bare number.

    A bare number is a channel called like the last level of its topic. The time of a reading is that in the message
    (`time_field`), else its arrival, so that readings meet camera pictures of the same moment in a window. The broker
    may be away, at the start too; each connection begins a new epoch. A message that is no reading is dropped and
    counted by what is wrong with it (`no_json`, `no_number`, `bad_time`, `too_large`, ...). When readings come faster
    than they are taken, the oldest are dropped as `queue_full`.

    Attributes:
        url: of the broker, `mqtt://host:1883` or `mqtts://host:8883`; it may hold user and password.
        topics: what to subscribe to; `+` stands for a level, `#` for all that follow.
        user: name at the broker.
        password: of that user, given by `${NAME}`.
        ca: file with the certificates (PEM) that sign the broker's; empty: those of the system.
        client_id: with a name of our own the broker keeps messages for us while we are away; empty: it does not.
        qos: quality of service of the subscription, 0 to 2.
        time_field: field of a JSON object that holds the time: RFC 3339, or seconds or milliseconds since 1970.
        fields: the only fields that are read as channels; none named: every number.
        retained: also take the last message that the broker kept from before we came.
        capacity: readings that wait at most.
        max_bytes: longest message that is read.
        stalls_s: seconds without a reading after which the source counts as stalled; null: it may be silent.
        retry_max_s: longest wait before a lost broker is asked again, in seconds.
    """

    url: str = field(repr=False)
    topics: tuple[str, ...]
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ca: str = ""
    client_id: str = ""
    qos: int = 1
    time_field: str = "time"
    fields: tuple[str, ...] = ()
    retained: bool = False
    capacity: int = 1000
    max_bytes: int = 64 << 10
    stalls_s: float | None = None
    retry_max_s: float = 30.0

    def __post_init__(self) -> None:
        broker_of(self.url)
        if not self.topics:
            raise ConfigError("topics is empty.", cure="Name what to subscribe to, for instance plant/+/temperature")
        for topic in self.topics:
            if not is_filter(topic):
                raise ConfigError(
                    f"{topic!r} is no topic of MQTT.", cure="`+` stands for a whole level, `#` is the last."
                )
        if self.qos not in (0, 1, 2) or self.capacity < 1 or self.max_bytes < 1:
            raise ConfigError("qos must be 0, 1 or 2, capacity and max_bytes at least 1.")
        if not 0.1 <= self.retry_max_s <= 3600 or (self.stalls_s is not None and self.stalls_s <= 0):
            raise ConfigError("retry_max_s must lie between 0.1 and 3600, stalls_s above 0.")

    @property
    def stalls_after_s(self) -> float | None:
        """What `stalls_s` says."""
        return self.stalls_s

    def open(self, context: Context) -> None:
        """Get ready; the broker is asked by `read`."""
        super().open(context)
        self._came: deque[_Came] = deque()
        self._changed = Condition()
        self._connection = 0
        self._logged: set[str] = set()
        self._told = ""
        broker = broker_of(self.url, user=self.user, password=self.password, ca=self.ca, client_id=self.client_id)
        self._name = broker.name
        self._link = MqttLink(
            broker,
            subscribe=tuple((topic, self.qos) for topic in self.topics),
            received=self._receive,
            up=self._up,
            down=self._down,
            retry_max_s=self.retry_max_s,
        )

    def read(self) -> Iterator[Sample[Reading]]:
        """Yield readings until it is stopped, whatever becomes of the broker."""
        context = self.context
        context.state(SourceState.CONNECTING, "")
        self._link.start()
        connection, epoch, seq = 0, context.epoch, 0
        try:
            while not context.stopping.is_set():
                came = self._next()
                if came is None or (read := self._reading(came)) is None:
                    continue
                if came.connection != connection:
                    epoch, seq = epoch + (connection > 0), 0
                    connection = came.connection
                sent, reading = read
                yield Sample(
                    payload=reading,
                    source=context.source,
                    seq=seq,
                    epoch=epoch,
                    clocks=Clocks(pts_s=None, monotonic_s=came.monotonic_s, wall=came.wall, sender=sent),
                    metadata={"topic": came.topic},
                )
                seq += 1
        finally:
            self._link.stop()
            context.state(SourceState.STOPPED, "stopped")

    def _next(self) -> _Came | None:
        with self._changed:
            if not self._came:
                self._changed.wait(_POLL_S)
            return self._came.popleft() if self._came else None

    def _reading(self, came: _Came) -> tuple[datetime | None, Reading] | None:
        """Return time and reading of a message; None for one that is dropped."""
        try:
            sent, values = reading_of(
                came.payload,
                channel=came.topic.rpartition("/")[2] or "value",
                time_field=self.time_field,
                fields=self.fields,
            )
            if sent is not None and sent > came.wall + _FUTURE:
                raise BadPayload("bad_time", "a time that is to come")
        except BadPayload as bad:
            self._drop(bad.kind, came.topic, str(bad))
            return None
        return sent, Reading(dict(values))

    def _receive(self, message: MQTTMessage) -> None:
        """Take a message, by the link's thread."""
        if message.retain and not self.retained:
            return
        if len(message.payload) > self.max_bytes:
            self._drop("too_large", message.topic, f"{len(message.payload)} bytes")
            return
        came = _Came(message.topic, bytes(message.payload), self.context.now(), time.monotonic(), self._connection)
        with self._changed:
            self._came.append(came)
            num_over = len(self._came) - self.capacity
            if num_over > 0:
                self._came.popleft()
            self._changed.notify()
        if num_over > 0:
            self.context.dropped("queue_full", 1)

    def _up(self) -> None:
        self._connection += 1
        self._told = ""
        self.context.state(SourceState.LIVE, "")
        log.info("broker is live", source=self.context.source, broker=self._name)

    def _down(self, reason: str, refused: bool) -> None:
        if reason != self._told:
            log.warning("broker is lost", source=self.context.source, broker=self._name, reason=reason)
        self._told = reason
        self.context.state(SourceState.UNAUTHORISED if refused else SourceState.BACKOFF, reason)

    def _drop(self, kind: str, topic: str, reason: str) -> None:
        self.context.dropped(kind, 1)
        if kind not in self._logged:
            log.warning("message is no reading", source=self.context.source, topic=topic, reason=reason)
        self._logged.add(kind)


def is_filter(topic: str) -> bool:
    """Return whether a text is what MQTT lets one subscribe to."""
    levels = topic.split("/")
    if not topic or "\0" in topic or len(topic.encode()) > 65_535 or "#" in levels[:-1]:
        return False
    return all(level in ("+", "#") or not set(level) & {"+", "#"} for level in levels)
