"""Events and predictions at a real Mosquitto, which comes and goes."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.packs.basic.receiver import until
from tests.packs.sensors.brokers import broker_in, listening, own_topic, shared_broker

from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.errors import ConfigError
from sightline.core.events import Event, make_event
from sightline.core.prediction import Finding, Findings, Rejected, Scalar
from sightline.packs.sensors.mqtt_sink import MqttSink
from sightline.testing import START, FakePorts, make_context, make_frame

pytestmark = pytest.mark.service("mqtt")


def crossing(number: int, source: str = "/cases/street/sources/door", short_type: str = "line.crossed") -> Event:
    time_ = START + timedelta(seconds=number)
    return make_event(short_type, source=source, time=time_, data={"number": number})


@contextmanager
def sending(ports: FakePorts, url: str, *, up: bool = True, run: str = "r1", **fields: Any) -> Iterator[MqttSink]:
    sink = MqttSink(url=url, **{"retry_max_s": 0.2, "linger_s": 0.0, **fields})
    sink.open(make_context(ports=ports, case="street", run=run, clock=lambda: datetime.now(UTC)))
    try:
        end_s = time.monotonic() + 30
        while up and not sink._link.is_up:
            assert time.monotonic() < end_s, "the broker does not let us in"
            time.sleep(0.01)
        yield sink
    finally:
        sink.close()
        sink.settle()


@pytest.fixture
def ports() -> FakePorts:
    return FakePorts()


def test_events_go_to_topics_by_case_source_and_type(ports: FakePorts) -> None:
    url, root = shared_broker(), own_topic()
    with (
        listening(url, f"{root}/#") as heard,
        sending(ports, url, topic=f"{root}/{{case}}/{{source}}/{{type}}", status=f"{root}/{{case}}/status"),
    ):
        assert heard.next() == (f"{root}/street/status", "online")
        ports.store.events.append([crossing(1), crossing(2, "/cases/street", "run.started")])
        topic, event = heard.next()
        assert topic == f"{root}/street/door/line.crossed"
        assert (event["specversion"], event["data"]) == ("1.0", {"number": 1})
        assert heard.next()[0] == f"{root}/street/-/run.started"
        ports.store.events.append([crossing(3, "/cases/street/sources/a+b#/c d")])
        assert heard.next()[0] == f"{root}/street/a_b_c_d/line.crossed"
    with listening(url, f"{root}/#") as heard:
        assert heard.next() == (f"{root}/street/status", "offline")  # retained


def test_predictions_go_to_topics_too_if_they_are_wanted(ports: FakePorts) -> None:
    url, root = shared_broker(), own_topic()
    fields: dict[str, Any] = {"topic": f"{root}/{{source}}/{{type}}", "status": "", "events": False}
    refused = make_frame(seq=8, source="door").with_rejection(Rejected(reason="dark", kind="dark", by="usable"))
    with listening(url, f"{root}/#") as heard, sending(ports, url, predictions=True, **fields) as sink:
        sink.write(
            [make_frame(seq=7, source="door").with_prediction("light", Scalar(name="light", value=5.0)), refused]
        )
        topic, body = heard.next()
        assert topic == f"{root}/door/prediction"
        assert (body["id"], body["predictions"]["light"]["value"]) == ("door/1/7", 5.0)
        assert heard.next()[0] == f"{root}/door/sample.rejected"


def test_events_wait_for_a_broker_and_predictions_do_not(ports: FakePorts, tmp_path: Path) -> None:
    lines = ("persistence true", f"persistence_location {tmp_path}/")
    with broker_in(tmp_path, *lines) as broker:
        topics = (broker.url, "sightline/#")
        with listening(*topics, name="judge"):
            pass  # the broker keeps messages for the judge from now on
        broker.stop()
        with sending(ports, broker.url, up=False, predictions=True, status="") as sink:
            begin_s = time.monotonic()
            sink.write([make_frame(seq=seq) for seq in range(50)])
            assert time.monotonic() - begin_s < 15  # nobody waits
            numbers: list[int] = []
            for first in (0, 20):
                ports.store.events.append([crossing(number) for number in range(first, first + 20)])
                time.sleep(0.3)
                broker.start()
                with listening(*topics, name="judge") as heard:
                    while len(set(numbers)) < first + 20:
                        topic, body = heard.next()
                        assert topic.endswith("line.crossed")
                        numbers.append(body["data"]["number"])
                broker.stop()
    assert list(dict.fromkeys(numbers)) == list(range(40))
    assert isinstance(ports.meter, PrometheusMeter)
    assert b'sightline_mqtt_predictions_total{case="street",outcome="dropped"} 50.0' in ports.meter.render()


def test_what_no_broker_had_is_published_by_the_next_run(ports: FakePorts, tmp_path: Path) -> None:
    with broker_in(tmp_path, started=False) as broker:
        with sending(ports, broker.url, up=False, status=""):
            ports.store.events.append([crossing(1)])
            time.sleep(0.7)
        broker.start()
        with listening(broker.url, "sightline/#") as heard:
            with sending(ports, broker.url, run="r2", status=""):
                assert heard.next()[1]["data"] == {"number": 1}
            with sending(ports, broker.url, run="r3", status=""):
                assert heard.nothing()


def test_the_end_of_the_run_is_published_before_we_leave(ports: FakePorts, tmp_path: Path) -> None:
    ended = replace(crossing(1, "/cases/street", "run.completed"), subject="run/r1")
    with broker_in(tmp_path) as broker, listening(broker.url, "sightline/#") as heard:
        with sending(ports, broker.url, linger_s=30.0) as sink:
            sink.close()
            ports.store.events.append([ended])
            begin_s = time.monotonic()
            sink.settle()
            assert time.monotonic() - begin_s < 15
        assert [heard.next()[0].rpartition("/")[2] for _ in range(3)] == ["status", "run.completed", "status"]


_PUBLISH_AND_WAIT = """
import sys, time
from sightline.packs.sensors.mqtt_sink import MqttSink
from sightline.testing import make_context
sink = MqttSink(url=sys.argv[1])
sink.open(make_context(case="street"))
time.sleep(60)
"""


def test_when_we_are_killed_the_broker_says_that_we_are_offline(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker, listening(broker.url, "sightline/#") as heard:
        begun = subprocess.Popen([sys.executable, "-c", _PUBLISH_AND_WAIT, broker.url])
        assert heard.next(60) == ("sightline/street/status", "online")
        os.kill(begun.pid, signal.SIGKILL)
        begun.wait(10)
        assert heard.next() == ("sightline/street/status", "offline")


def test_user_and_password_let_us_in_and_are_shown_nowhere(ports: FakePorts, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "door", "hidden"], check=True)
    lines = ("allow_anonymous false", f"password_file {passwords}")
    with broker_in(tmp_path, *lines) as broker, capture_logs() as logs:
        with sending(ports, broker.url, user="door", password="hidden") as sink:
            pass
        with sending(ports, broker.url.replace("//", "//door:hidden@")):
            pass
        with sending(ports, broker.url, up=False, user="door", password="hidden2"):
            until(lambda: any(log.get("refused") for log in logs))
    assert "hidden" not in f"{logs}{sink!r}"
    assert any(log["event"] == "broker is lost, events wait" and log["refused"] for log in logs)


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_is_checked_against_the_given_certificates(ports: FakePorts, tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    lines = (f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem")
    with broker_in(tmp_path, *lines) as broker:
        url = broker.url.replace("mqtt:", "mqtts:")
        with sending(ports, url, ca=str(tmp_path / "cert.pem")) as sink:
            ports.store.events.append([crossing(1)])
            end_s = time.monotonic() + 30
            while (sink._follower._position or 0) < 1:
                assert time.monotonic() < end_s
                time.sleep(0.01)
        with capture_logs() as logs, sending(ports, url, up=False):
            until(lambda: any("certificate" in str(log).lower() for log in logs))
        gc.collect()  # here, and not in the middle of another test
    with pytest.raises(ConfigError, match="cannot be used"):
        MqttSink(url="mqtts://host", ca=str(tmp_path / "none.pem")).open(make_context(ports=ports))


def test_a_broker_that_is_frozen_holds_up_nobody(ports: FakePorts, tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker, sending(ports, broker.url, predictions=True, status="") as sink:
        broker.signal(signal.SIGSTOP)
        ports.store.events.append([crossing(1)])
        finding = Findings(items=(Finding(name="crossing", event="line.crossed"),))
        begin_s = time.monotonic()
        for seq in range(3000):
            sink.write([make_frame(5, size=(4, 4), seq=seq).with_prediction("line", finding)])
        taken_s = time.monotonic() - begin_s
        sink.close()
        broker.signal(signal.SIGCONT)
        assert taken_s < 60
        assert len(sink._link._waiting) <= 1000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topic": "a/#"}, "topic"),
        ({"topic": "{room}"}, "topic"),
        ({"topic": "{case"}, "topic"),
        ({"status": "{source}"}, "status"),
        ({"events": False}, "nothing"),
        ({"qos": 2}, "qos"),
        ({"types": ("Line",)}, "types"),
        ({"name": "a/b"}, "name"),
        ({"url": "amqp://host"}, "MQTT"),
    ],
)
def test_wrong_fields_are_refused(fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MqttSink(**{"url": "mqtt://host", **fields})
