"""Readings from a real Mosquitto, which comes and goes."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.packs.sensors.brokers import broker_in, own_topic, publishing, shared_broker

from sightline.core.errors import ConfigError
from sightline.core.plugins import SourceState
from sightline.core.sample import Reading, Sample
from sightline.packs.sensors.mqtt_source import MqttSource
from sightline.testing import make_context

pytestmark = pytest.mark.service("mqtt")


class Read:
    """What a source gave and told.

    Attributes:
        states: the states that were told, with their reasons.
        dropped: by reason.
    """

    def __init__(self) -> None:
        self.samples: Queue[Sample[Reading]] = Queue()
        self.states: Queue[tuple[SourceState, str]] = Queue()
        self.dropped: Counter[str] = Counter()

    def next(self) -> Sample[Reading]:
        return self.samples.get(timeout=30)

    def until(self, state: SourceState) -> str:
        """Wait for a state and return its reason."""
        while True:
            told, reason = self.states.get(timeout=30)
            if told is state:
                return reason

    def drops(self, kind: str, num: int = 1) -> None:
        end_s = time.monotonic() + 30
        while self.dropped[kind] < num:
            assert time.monotonic() < end_s, self.dropped
            time.sleep(0.01)


@contextmanager
def reading(url: str, *topics: str, live: bool = True, **fields: Any) -> Iterator[Read]:
    """Read topics in a thread, as a lane does."""
    read, stopping = Read(), Event()
    source = MqttSource(url=url, topics=topics, **{"retry_max_s": 0.2, **fields})

    def drop(reason: str, num: int) -> None:
        read.dropped[reason] += num

    source.open(
        make_context(
            source="lab",
            stopping=stopping,
            clock=lambda: datetime.now(UTC),
            state=lambda state, reason: read.states.put((state, reason)),
            dropped=drop,
        )
    )

    def work() -> None:
        for sample in source.read():
            read.samples.put(sample)

    thread = Thread(target=work)
    thread.start()
    try:
        if live:
            read.until(SourceState.LIVE)
        yield read
    finally:
        stopping.set()
        thread.join(10)
        source.close()
        assert not thread.is_alive()


def test_objects_and_numbers_become_readings_with_their_own_time() -> None:
    url, topic = shared_broker(), own_topic()
    taken = datetime.now(UTC).replace(microsecond=250_000) - timedelta(seconds=3)
    with reading(url, f"{topic}/#") as read, publishing(url) as client:
        text = json.dumps({"time": taken.isoformat(), "temperature": 21.5, "door": True, "room": "lab"})
        client.publish(f"{topic}/climate", text, qos=1)
        first = read.next()
        client.publish(f"{topic}/humidity", "40.5", qos=1)
        second = read.next()

    assert dict(first.payload.values) == {"temperature": 21.5, "door": 1.0}
    assert first.time == taken
    assert first.metadata == {"topic": f"{topic}/climate"}
    assert dict(second.payload.values) == {"humidity": 40.5}
    assert second.clocks.sender is None
    assert abs(second.time - datetime.now(UTC)) < timedelta(seconds=5)  # that of its arrival
    assert (first.id, second.id) == ("lab/1/0", "lab/1/1")


def test_messages_that_are_no_readings_are_counted_by_what_is_wrong() -> None:
    url, topic = shared_broker(), own_topic()
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    bad = {
        "no_text": [b"\xff\xfe"],
        "no_json": [b"warm", b"{", b"", b"nan", b"1_0"],
        "no_number": [b"[1]", b"null", b'"x"', b'{"a": "x"}', b"{}", b'{"time": 5}', b"1e999"],
        "bad_time": [b'{"time": "noon", "a": 1}', b'{"time": true, "a": 1}', f'{{"time": "{ahead}", "a": 1}}'.encode()],
        "too_large": [b'{"a": "' + b"x" * 70_000 + b'"}'],
        "too_many": [json.dumps({f"c{number}": number for number in range(300)}).encode()],
    }
    with capture_logs() as logs, reading(url, topic) as read, publishing(url) as client:
        for payloads in bad.values():
            for payload in payloads:
                client.publish(topic, payload, qos=1)
        client.publish(topic, b"7", qos=1)
        assert dict(read.next().payload.values) == {topic.rpartition("/")[2]: 7.0}
        assert read.samples.empty()

    assert sum(read.dropped.values()) == sum(map(len, bad.values()))
    assert read.dropped.keys() == bad.keys()
    assert sum(log["event"] == "message is no reading" for log in logs) == len(bad)  # once for each kind


def test_what_the_broker_kept_is_passed_over_unless_it_is_wanted() -> None:
    url, topic = shared_broker(), own_topic()
    with publishing(url) as client:
        client.publish(topic, b"1", qos=1, retain=True).wait_for_publish(30)
        with reading(url, topic) as read:
            client.publish(topic, b"2", qos=1)
            assert list(read.next().payload.values.values()) == [2.0]
        with reading(url, topic, retained=True) as read:
            assert list(read.next().payload.values.values()) == [1.0]
        client.publish(topic, b"", qos=1, retain=True).wait_for_publish(30)


def test_the_broker_may_be_away_at_the_start_and_later(tmp_path: Path) -> None:
    with broker_in(tmp_path, started=False) as broker, reading(broker.url, "a/b", live=False) as read:
        assert "refused" in read.until(SourceState.BACKOFF).lower()
        for epoch in (1, 2):
            broker.start()
            read.until(SourceState.LIVE)
            with publishing(broker.url) as client:
                for _ in range(3):
                    client.publish("a/b", b"1", qos=1).wait_for_publish(30)
                assert [read.next().id for _ in range(3)] == [f"lab/{epoch}/{seq}" for seq in range(3)]
            broker.kill()
            read.until(SourceState.BACKOFF)
    assert read.until(SourceState.STOPPED) == "stopped"


def test_a_wrong_password_is_told_as_such_and_shown_nowhere(tmp_path: Path) -> None:
    lines = ("allow_anonymous false",)
    with (
        broker_in(tmp_path, *lines) as broker,
        capture_logs() as logs,
        reading(broker.url, "a", live=False, user="eve", password="hidden") as read,
    ):
        assert "authori" in read.until(SourceState.UNAUTHORISED).lower()
    source = MqttSource(url="mqtt://eve:hidden@host", topics=("a",))
    assert "hidden" not in f"{logs}{source!r}"
    assert "eve" not in repr(source)


def test_a_broker_that_freezes_is_left_after_its_time(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker:
        broker.signal(signal.SIGSTOP)
        with reading(broker.url, "a", live=False) as read:
            assert "no answer" in read.until(SourceState.BACKOFF)
            broker.signal(signal.SIGCONT)
            read.until(SourceState.LIVE)


def test_with_a_name_of_ours_the_broker_keeps_messages_while_we_are_away(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker, publishing(broker.url) as client:
        for seq in range(3):
            with reading(broker.url, "a", client_id="door-7") as read:
                if seq:
                    assert list(read.next().payload.values.values()) == [seq]
            client.publish("a", str(seq + 1), qos=1).wait_for_publish(30)


def test_when_nobody_takes_them_the_oldest_readings_go() -> None:
    url, topic = shared_broker(), own_topic()
    source = MqttSource(url=url, topics=(topic,), capacity=10)
    dropped: Counter[str] = Counter()
    states: Queue[SourceState] = Queue()
    context = make_context(
        dropped=lambda reason, num: dropped.update({reason: num}),
        state=lambda state, _: states.put(state),
        clock=lambda: datetime.now(UTC),
    )
    source.open(context)
    read = source.read()
    with publishing(url) as client:
        begun = Thread(target=lambda: next(read))
        begun.start()
        while states.get(timeout=30) is not SourceState.LIVE:
            pass
        client.publish(topic, b"0", qos=1).wait_for_publish(30)
        begun.join(30)
        for number in range(1, 101):
            client.publish(topic, str(number), qos=1).wait_for_publish(30)
        end_s = time.monotonic() + 30
        while dropped["queue_full"] < 90:
            assert time.monotonic() < end_s
            time.sleep(0.01)
        left = [next(read).payload.values for _ in range(10)]
    read.close()  # type: ignore[attr-defined]
    assert [next(iter(values.values())) for values in left] == list(range(91, 101))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topics": ()}, "topics"),
        ({"topics": ("a/#/b",)}, "topic"),
        ({"topics": ("a/b+",)}, "topic"),
        ({"url": "http://host"}, "MQTT"),
        ({"url": "mqtt://host:port"}, "address"),
        ({"qos": 3}, "qos"),
        ({"stalls_s": 0.0}, "stalls_s"),
    ],
)
def test_wrong_fields_are_refused(fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MqttSource(**{"url": "mqtt://host", "topics": ("a",), **fields})
