"""The sink `mqtt`: what happens in a case, and what is predicted, as JSON to topics of a broker.

Knows topics; how the outbox is followed stands in `core/following`, the connection in `mqtt_link`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

import structlog

from sightline.core.codec import encode_event, encode_sample, to_json
from sightline.core.errors import ConfigError, SightlineError
from sightline.core.events import Event, checked_pattern, source_uri
from sightline.core.following import Follower
from sightline.core.plugins import Context, Sink
from sightline.core.prediction import Findings
from sightline.core.sample import Sample
from sightline.packs.sensors.mqtt_link import MqttLink, broker_of

log = structlog.get_logger()
_FOLDER = "mqtt"
_ACK_S = 10.0  # longest wait for the broker's acknowledgement of an event
_AWAY_S = 0.5  # between two looks whether the broker is back
_NONE = "-"  # the level of the source in topics of what happens to a whole case
_NO_LEVEL = re.compile(r"[+#/\0\s]+")


@dataclass(kw_only=True)
class MqttSink(Sink):
    """Publishes the durable events of a case, each at least once and in order, and predictions if they are wanted.

    Events are CloudEvents as JSON. While the broker is away they stay in the outbox, and are published from a position
    that outlives the process. Predictions are worth nothing later: while the broker is away they are dropped and
    counted (`mqtt_predictions` with the outcome `dropped`). A retained message on the topic `status` says `online`;
    the broker itself says `offline` when we are lost.

    Attributes:
        url: of the broker, `mqtt://host:1883` or `mqtts://host:8883`; it may hold user and password.
        events: publish events.
        predictions: publish each sample with its predictions, under the type `prediction`.
        types: short types of events to publish, or families such as `line.*`; none: all that are recorded.
        topic: where to publish; `{case}`, `{source}` and `{type}` are filled in, and `{source}` is `-` for the case.
        status: topic for `online` and `offline`; empty: none.
        qos: quality of service of predictions, 0 or 1; events have 1.
        user: name at the broker.
        password: of that user, given by `${NAME}`.
        ca: file with the certificates (PEM) that sign the broker's; empty: those of the system.
        name: under which the position is kept; each broker of a case needs its own.
        retry_max_s: longest wait before a lost broker is asked again, in seconds.
        linger_s: how long the end of a run may wait for what is left, in seconds; the next run sends the rest.
    """

    url: str = field(repr=False)
    events: bool = True
    predictions: bool = False
    types: tuple[str, ...] = ()
    topic: str = "sightline/{case}/{source}/{type}"
    status: str = "sightline/{case}/status"
    qos: int = 1
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ca: str = ""
    name: str = "broker"
    retry_max_s: float = 30.0
    linger_s: float = 5.0

    def __post_init__(self) -> None:
        broker_of(self.url)
        _check_topic("topic", self.topic, {"case", "source", "type"})
        if self.status:
            _check_topic("status", self.status, {"case"})
        if not self.events and not self.predictions:
            raise ConfigError("The sink mqtt would publish nothing.", cure="Set events or predictions.")
        if self.qos not in (0, 1) or not 0.1 <= self.retry_max_s <= 3600 or not 0 <= self.linger_s <= 60:
            raise ConfigError("qos must be 0 or 1, retry_max_s between 0.1 and 3600, linger_s between 0 and 60.")
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ConfigError(f"name is {self.name!r}.", cure="Use letters, digits, hyphens and points.")
        for pattern in self.types:
            try:
                checked_pattern(pattern)
            except SightlineError as error:
                raise ConfigError(f"types of the sink mqtt: {error.message}", cure=error.cure) from None

    def open(self, context: Context) -> None:
        """Begin to connect, and to publish what was not published yet."""
        super().open(context)
        self._reason = ""
        self._is_dropping = False
        broker = broker_of(self.url, user=self.user, password=self.password, ca=self.ca)
        self._broker = broker.name
        case = _level(context.case)
        self._link = MqttLink(
            broker,
            up=self._up,
            down=self._down,
            status=self.status.format(case=case),
            retry_max_s=self.retry_max_s,
        )
        key = f"{_FOLDER}/{case.lstrip('.') or '_'}/{self.name}.json"
        self._follower = Follower(context, key, self.types, self._deliver, ended=self._link.stop)
        self._link.start()
        if self.events:
            self._follower.start()

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Publish the samples, if they are wanted, and look for the events that belong to them."""
        case = self.context.case
        for sample in samples:
            if self.predictions:
                short_type = "prediction" if sample.rejected is None else "sample.rejected"
                body = to_json(encode_sample(sample, case))
                if not self._link.publish(self._place(sample.source, short_type), body, qos=self.qos, done=self._count):
                    self._count(False)
        found = (each for sample in samples for each in sample.predictions.values() if isinstance(each, Findings))
        if self.events and any(item.event for findings in found for item in findings):
            self._follower.wake()

    def close(self) -> None:
        """Let the thread that publishes events come to its end, and the connection with it; see `settle`."""
        if self.events:
            self._follower.close(self.linger_s)
        else:
            self._link.stop()

    def settle(self) -> None:
        """Wait until the end of the run is published, or `linger_s` is over."""
        if self.events:
            self._follower.join()

    def _deliver(self, event: Event) -> float | None:
        """Try once; return None when the broker has the event, else the seconds until the next try."""
        source = event.source.removeprefix(source_uri(self.context.case, "")) if "/sources/" in event.source else ""
        body = to_json(encode_event(event))
        if not self._link.is_up:
            return _AWAY_S
        if self._link.delivered(self._place(source, event.short_type), body, qos=1, timeout_s=_ACK_S):
            return None
        return _AWAY_S

    def _place(self, source: str, short_type: str) -> str:
        case = _level(self.context.case)
        return self.topic.format(case=case, source=_level(source) if source else _NONE, type=short_type)

    def _count(self, taken: bool) -> None:
        """Count a prediction, by any thread."""
        outcome = "sent" if taken else "dropped"
        self.context.ports.meter.count("mqtt_predictions", case=self.context.case, outcome=outcome)
        if not taken and not self._is_dropping:
            log.warning("predictions are dropped, the broker takes none", broker=self._broker)
        self._is_dropping = not taken

    def _up(self) -> None:
        self._reason = ""
        log.info("broker is live", broker=self._broker)
        self._follower.wake()

    def _down(self, reason: str, refused: bool) -> None:
        if reason != self._reason:
            log.warning("broker is lost, events wait", broker=self._broker, reason=reason, refused=refused)
        self._reason = reason


def _level(text: str) -> str:
    """Return `text` as one level of a topic."""
    return _NO_LEVEL.sub("_", text) or "_"


def _check_topic(name: str, template: str, known: set[str]) -> None:
    try:
        wanted = {word for _, word, _, _ in Formatter().parse(template) if word is not None}
    except ValueError:
        wanted = {"?"}
    if wanted - known or not template or set(template) & set("+#\0") or template.startswith("$"):
        raise ConfigError(
            f"{name} is {template!r}, which is no topic to publish to.",
            cure=f"Fill in only {', '.join(sorted(f'{{{word}}}' for word in known))}; no + and no #.",
        )
