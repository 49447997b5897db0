"""The sink `webhook`: what happens in a case, as signed HTTP messages to a receiver of the user's.

Knows types of events, tries and order. How the outbox is followed stands in `core/following`, one delivery in
`core/sending`, where may be sent to in `core/targets`.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from sightline.core.codec import encode_event, to_json
from sightline.core.errors import ConfigError, Forbidden, SightlineError
from sightline.core.events import Event, checked_pattern, make_event, source_uri
from sightline.core.following import Follower
from sightline.core.plugins import Context, Sink
from sightline.core.prediction import Findings
from sightline.core.sample import Sample
from sightline.core.sending import Sender, signers_of
from sightline.core.targets import Targets

log = structlog.get_logger()
_MEDIA_TYPE = "application/cloudevents+json"
_FOLDER = "webhooks"
_FIRST_WAIT_S = 1.0
_LONGEST_ASKED_S = 3600.0  # a receiver that asks for more is asked again after that
_GONE = 410
_LATER = frozenset({401, 403, 404, 405, 407, 408, 425, 429})  # 4xx that a change at the receiver ends
_MOST_REFUSALS = 5


@dataclass(kw_only=True)
class WebhookSink(Sink):
    """Sends the durable events of a case to an address, signed as Standard Webhooks says; at least once, in order.

    The body is the CloudEvent as JSON. `webhook-id` is the id of the event, the same at each try, so that a receiver
    knows what it had. A thread follows the outbox from a position that outlives the process: while the receiver is away
    nothing is lost and the run is not held up. It tries again with growing pauses; `Retry-After` is heeded. 410 turns
    the receiver off for good, until it gets another address. An event that it refuses five times (400, 413, 422, ...)
    is put aside below `webhooks/<case>/<name>/refused`, and the next one is sent. Where may be sent to says the
    setting `webhooks.allow`.

    Attributes:
        url: address of the receiver.
        name: under which the position is kept; each receiver of a case needs its own. Empty: host and a digest of url.
        types: short types to send, or families such as `line.*`; none: all that are recorded.
        secrets: `whsec_...`, given by `${NAME}`; each signs, so that an old one works while receivers change.
        headers: further headers of each message.
        ca: file with the certificates (PEM) that sign the receiver's; empty: those of the system.
        timeout_s: longest time of one delivery, in seconds.
        retry_max_s: longest pause between two tries, in seconds.
        linger_s: how long the end of a run may wait for what is left, in seconds; the next run sends the rest.
    """

    url: str = field(repr=False)
    name: str = ""
    types: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: str = ""
    timeout_s: float = 10.0
    retry_max_s: float = 60.0
    linger_s: float = 5.0

    def __post_init__(self) -> None:
        for pattern in self.types:
            try:
                checked_pattern(pattern)
            except SightlineError as error:
                raise ConfigError(f"types of the webhook: {error.message}", cure=error.cure) from None
        if not 0.1 <= self.timeout_s <= 120 or not 0.1 <= self.retry_max_s <= 86_400 or not 0 <= self.linger_s <= 60:
            raise ConfigError(
                "timeout_s must lie between 0.1 and 120, retry_max_s between 0.1 and 86400, linger_s between 0 and 60."
            )
        signers_of(self.secrets)
        if self.name and not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ConfigError(f"name is {self.name!r}.", cure="Use letters, digits, hyphens and points.")

    def open(self, context: Context) -> None:
        """Begin to deliver what was not delivered yet.

        Raises:
            ConfigError: the address is none, or may not be sent to.
        """
        super().open(context)
        try:
            self._sender = Sender(
                self.url,
                signers=signers_of(self.secrets),
                headers=self.headers,
                timeout_s=self.timeout_s,
                targets=Targets(context.reachable),
                ca=self.ca,
                now=context.now,
            )
        except Forbidden as error:
            raise ConfigError(error.message, cure=error.cure) from None
        digest = hashlib.sha256(self.url.encode()).hexdigest()
        host = re.sub(r"[^\w.-]+", "_", self._sender.name.partition("://")[2])
        case = re.sub(r"[^\w.-]+", "_", context.case).lstrip(".") or "_"
        self._place = f"{_FOLDER}/{case}/{self.name or f'{host}-{digest[:8]}'}"
        self._mark = digest
        self._failed: tuple[str, int, int] = ("", 0, 0)  # event, tries that failed, tries that were refused
        self._follower = Follower(context, f"{self._place}.json", self.types, self._deliver)
        self._follower.start(but_not=self._mark)

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Look at once for the events of these samples, which are recorded by now."""
        found = (each for sample in samples for each in sample.predictions.values() if isinstance(each, Findings))
        if any(item.event and self._follower.wanted(item.event) for findings in found for item in findings):
            self._follower.wake()

    def close(self) -> None:
        """Let the thread come to its end; see `settle`."""
        self._follower.close(self.linger_s)

    def settle(self) -> None:
        """Wait until the end of the run is delivered, or `linger_s` is over."""
        self._follower.join()

    def _deliver(self, event: Event) -> float | None:
        """Try once; return None when the event is done with, else the seconds until the next try."""
        wait_s = _LONGEST_ASKED_S
        try:
            answered = self._sender.send(event.id, to_json(encode_event(event)), _MEDIA_TYPE)
        except SightlineError as error:
            return self._pause(event, error.message)
        if 200 <= answered.status < 300:
            self._delivered(event)
            return None
        if answered.status == _GONE:
            self._turn_off()
            return wait_s
        refused = 400 <= answered.status < 500 and answered.status not in _LATER
        pause_s = self._pause(event, f"it answers {answered.status}", refused=refused)
        if refused and self._failed[2] >= _MOST_REFUSALS:
            return self._put_aside(event, answered.status, pause_s)
        return min(_LONGEST_ASKED_S, max(pause_s, answered.retry_after_s or 0.0))

    def _pause(self, event: Event, reason: str, *, refused: bool = False) -> float:
        """Note a failure, and return how long to wait."""
        id_, num, num_refused = self._failed
        num, num_refused = (num + 1, num_refused + refused) if id_ == event.id else (1, int(refused))
        self._failed = event.id, num, num_refused
        self._count("failed")
        if num == 1:
            log.warning("webhook is not taken, will try again", receiver=self._sender.name, reason=reason)
        longest_s = min(self.retry_max_s, _FIRST_WAIT_S * 2.0 ** min(num - 1, 30))
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - so that many senders do not come back in one burst

    def _delivered(self, event: Event) -> None:
        if self._failed[0] == event.id:
            log.info("webhook is taken again", receiver=self._sender.name, tries=self._failed[1] + 1)
        self._failed = "", 0, 0
        self._count("delivered")

    def _put_aside(self, event: Event, status: int, pause_s: float) -> float | None:
        """Keep an event that the receiver will never take where a person finds it."""
        key = f"{self._place}/refused/{event.id}.json"
        try:
            self.context.ports.artifacts.put(key, to_json(encode_event(event)))
        except SightlineError as error:
            log.warning("refused event cannot be put aside, will try again", key=key, error=str(error))
            return pause_s
        log.error("receiver refuses an event, it is put aside", receiver=self._sender.name, status=status, key=key)
        self._failed = "", 0, 0
        self._count("refused")
        return None

    def _turn_off(self) -> None:
        self._follower.turn_off(self._mark)
        self._count("gone")
        log.error("receiver answers 410, nothing more is sent to it", receiver=self._sender.name)
        context = self.context
        self.context.tell(
            make_event(
                "webhook.disabled",
                source=source_uri(context.case),
                time=context.now(),
                subject=f"webhook/{self._place.rpartition('/')[2]}",
                data={"run": context.run, "receiver": self._sender.name, "status": _GONE},
            )
        )

    def _count(self, outcome: str) -> None:
        self.context.ports.meter.count("webhook_events", case=self.context.case, outcome=outcome)
