"""Webhooks: what a receiver gets, in which order, whatever goes wrong with it."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from structlog.testing import capture_logs
from tests.packs.basic.receiver import Receiver, receiving, until

from sightline.core.errors import ConfigError
from sightline.core.events import Event, make_event
from sightline.core.prediction import Finding, Findings
from sightline.packs.basic.webhook import WebhookSink
from sightline.testing import START, FakePorts, make_context, make_frame

NEW, OLD = (f"whsec_{base64.b64encode(bytes([number] * 32)).decode()}" for number in (1, 2))


def crossing(number: int = 0, case: str = "street", short_type: str = "line.crossed") -> Event:
    time = START + timedelta(seconds=number)
    return make_event(short_type, source=f"/cases/{case}/sources/door", time=time, data={"number": number})


@contextmanager
def sending(ports: FakePorts, url: str, *, run: str = "r1", **fields: Any) -> Iterator[WebhookSink]:
    """Send the events of the case `street` in a run; fast pauses, no lingering."""
    sink = WebhookSink(url=url, **{"retry_max_s": 0.1, "linger_s": 0.0, **fields})
    context = make_context(ports=ports, case="street", run=run, clock=lambda: datetime.now(UTC))
    sink.open(replace(context, reachable=("127.0.0.0/8", "localhost")))
    try:
        yield sink
    finally:
        sink.close()
        sink.settle()


def numbers(receiver: Receiver) -> list[int]:
    return [each["data"]["number"] for each in receiver.taken if "number" in each["data"]]


@pytest.fixture
def ports() -> FakePorts:
    return FakePorts()


def test_the_message_is_the_signed_cloudevent(ports: FakePorts) -> None:
    event = crossing(7)
    with receiving() as receiver, sending(ports, receiver.url, secrets=(NEW,), headers={"x-door": "front"}):
        ports.store.events.append([event])
        until(lambda: receiver.taken)
        headers, body = receiver.messages[0]

    assert Webhook(NEW).verify(body, headers)["id"] == event.id  # the official library is the judge
    assert headers["webhook-id"] == event.id
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["x-door"] == "front"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 10
    sent = json.loads(body)
    assert (sent["specversion"], sent["type"]) == ("1.0", "io.sightline.line.crossed.v1")
    assert (sent["source"], sent["data"]) == ("/cases/street/sources/door", {"number": 7})


def test_while_secrets_change_each_of_them_signs(ports: FakePorts) -> None:
    with receiving() as receiver, sending(ports, receiver.url, secrets=(NEW, OLD)):
        ports.store.events.append([crossing()])
        until(lambda: receiver.taken)
        headers, body = receiver.messages[0]

    for secret in (NEW, OLD):
        assert Webhook(secret).verify(body, headers)
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_only_wanted_types_of_this_case_are_sent(ports: FakePorts) -> None:
    with receiving() as receiver, sending(ports, receiver.url, types=("line.*", "source.live")):
        wrong = [crossing(case="street2"), crossing(case="stree"), crossing(short_type="zone.left")]
        ports.store.events.append([*wrong, crossing(1), crossing(2, short_type="source.live")])
        until(lambda: len(receiver.taken) == 2)
        time.sleep(0.2)

    assert receiver.types == ["line.crossed", "source.live"]


def test_the_run_itself_is_told_from_its_begin_and_nothing_older(ports: FakePorts) -> None:
    ports.store.events.append([crossing(0)])
    begun = replace(crossing(1, short_type="run.started"), source="/cases/street", subject="run/r1")
    ports.store.events.append([begun])
    with receiving() as receiver, sending(ports, receiver.url):
        until(lambda: receiver.taken)
        ports.store.events.append([crossing(2)])
        until(lambda: len(receiver.taken) == 2)

    assert receiver.types == ["run.started", "line.crossed"]


def test_the_end_of_the_run_is_sent_after_the_sink_was_closed(ports: FakePorts) -> None:
    ended = replace(crossing(1, short_type="run.failed"), source="/cases/street", subject="run/r1")
    with receiving() as receiver, sending(ports, receiver.url, linger_s=30.0) as sink:
        sink.close()
        ports.store.events.append([ended])
        begin_s = time.monotonic()
        sink.settle()
        assert receiver.types == ["run.failed"]
        assert time.monotonic() - begin_s < 15  # and nobody waits for the rest of the thirty seconds


def test_an_event_on_a_sample_is_sent_at_once(ports: FakePorts) -> None:
    with receiving() as receiver, sending(ports, receiver.url) as sink:
        time.sleep(0.1)
        sink._follower._poll_s = 60.0  # nobody looks by himself
        time.sleep(0.6)
        ports.store.events.append([crossing()])
        finding = Findings(items=(Finding(name="crossing", event="line.crossed"),))
        begin_s = time.monotonic()
        sink.write([make_frame().with_prediction("line", finding)])
        until(lambda: receiver.taken)
        assert time.monotonic() - begin_s < 20


def test_what_fails_is_tried_again_with_the_same_id_and_in_order(ports: FakePorts) -> None:
    with receiving(answer=lambda number: 500 if number < 3 else 200) as receiver, sending(ports, receiver.url):
        ports.store.events.append([crossing(number) for number in range(5)])
        until(lambda: len(receiver.taken) == 5)

    assert numbers(receiver) == [0, 1, 2, 3, 4]
    assert len({headers["webhook-id"] for headers, _ in receiver.messages[:4]}) == 1
    assert len(receiver.messages) == 8


def test_nothing_is_lost_while_the_receiver_is_down_and_over_a_restart(ports: FakePorts) -> None:
    with receiving() as receiver:
        port, url = receiver.port, receiver.url
        with sending(ports, url):
            ports.store.events.append([crossing(0)])
            until(lambda: receiver.taken)
    with sending(ports, url):
        ports.store.events.append([crossing(number) for number in range(1, 300)])
        time.sleep(0.3)
    ports.store.events.append([crossing(300)])  # told by somebody while no run goes on
    with receiving(port) as receiver, sending(ports, url, run="r2"):
        ports.store.events.append([crossing(301)])
        until(lambda: len(receiver.taken) == 301, 60)
        time.sleep(0.1)

        assert numbers(receiver) == list(range(1, 302))  # each once, in order


def test_the_receiver_says_when_it_wants_to_be_asked_again(ports: FakePorts) -> None:
    asked_s: list[float] = []

    def answer(number: int) -> int:
        asked_s.append(time.monotonic())
        return 503 if number == 0 else 200

    with receiving(answer=answer) as receiver:
        receiver.headers["retry-after"] = "1"
        with sending(ports, receiver.url):
            ports.store.events.append([crossing()])
            until(lambda: receiver.taken)
    assert 0.95 < asked_s[1] - asked_s[0] < 20


def test_gone_ends_it_for_good_until_the_address_changes(ports: FakePorts) -> None:
    told = ports.bus.subscribe(types=["webhook.disabled"])
    with receiving(answer=lambda _: 410) as receiver:
        with sending(ports, receiver.url, name="erp"):
            ports.store.events.append([crossing(1), crossing(2)])
            event = told.get(20)
            assert isinstance(event, Event)
            assert event.subject == "webhook/erp"
        with sending(ports, receiver.url, name="erp", run="r2"):
            ports.store.events.append([crossing(3)])
            time.sleep(0.8)
        assert len(receiver.messages) == 1
        receiver.answer = lambda _: 200
        with sending(ports, f"{receiver.url}/new", name="erp", run="r3"):
            until(lambda: numbers(receiver) == [1, 2, 3])


def test_an_event_that_is_refused_again_and_again_is_put_aside(ports: FakePorts) -> None:
    events = [crossing(number) for number in range(3)]

    with receiving() as receiver:
        refused = events[1].id

        def answer(_: int) -> int:
            return 422 if receiver.messages[-1][0]["webhook-id"] == refused else 200

        receiver.answer = answer
        with sending(ports, receiver.url, name="erp"):
            ports.store.events.append(events)
            until(lambda: len(receiver.taken) == 2)
        assert numbers(receiver) == [0, 2]
        assert len(receiver.messages) == 7

    with ports.artifacts.open(f"webhooks/street/erp/refused/{refused}.json") as file:
        assert json.loads(file.read())["data"] == {"number": 1}


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_trouble_of_the_receiver_puts_nothing_aside(ports: FakePorts, status: int) -> None:
    with receiving(answer=lambda number: status if number < 8 else 200) as receiver, sending(ports, receiver.url):
        ports.store.events.append([crossing(1)])
        until(lambda: receiver.taken)


def _hang(receiver: Receiver) -> None:
    def behave(_: BaseHTTPRequestHandler) -> None:
        receiver.over.wait(60)

    receiver.behave = behave


def _trickle_head(receiver: Receiver) -> None:
    def behave(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
        while not receiver.over.wait(0.05):
            request.wfile.write(b"a")
            request.wfile.flush()

    receiver.behave = behave


@pytest.mark.parametrize("trouble", [_hang, _trickle_head])
def test_a_receiver_that_hangs_is_cut_off_and_harms_no_other(ports: FakePorts, trouble: Any) -> None:
    with (
        receiving() as slow,
        receiving() as good,
        sending(ports, slow.url, name="slow", timeout_s=1.0),
        sending(ports, good.url, name="good") as sink,
    ):
        trouble(slow)
        begin_s = time.monotonic()
        ports.store.events.append([crossing(number) for number in range(20)])
        sink.write([make_frame()])
        assert time.monotonic() - begin_s < 0.8
        until(lambda: len(good.taken) == 20)
        until(lambda: len(slow.messages) >= 3)  # it was cut off, twice
        slow.behave = None
        until(lambda: len(slow.taken) == 20)


def test_an_endless_answer_is_not_read(ports: FakePorts) -> None:
    sent: list[int] = []

    with receiving() as receiver:

        def behave(request: BaseHTTPRequestHandler) -> None:
            request.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
            while not receiver.over.is_set():
                request.wfile.write(b"x" * 65536)
                sent.append(65536)

        receiver.behave = behave
        with sending(ports, receiver.url):
            ports.store.events.append([crossing(1), crossing(2)])
            until(lambda: len(receiver.messages) == 2)
    assert sum(sent) < 60_000_000


def test_a_redirect_is_not_followed(ports: FakePorts) -> None:
    with receiving() as other, receiving(answer=lambda _: 302) as receiver:
        receiver.headers["location"] = other.url
        with sending(ports, receiver.url):
            ports.store.events.append([crossing()])
            until(lambda: len(receiver.messages) > 2)
        assert other.messages == []


def test_a_place_that_is_not_allowed_is_refused_before_anything_is_sent(ports: FakePorts) -> None:
    with receiving() as receiver:
        sink = WebhookSink(url=receiver.url)
        with pytest.raises(ConfigError, match=r"may not go to 127\.0\.0\.1") as caught:
            sink.open(make_context(ports=ports))
        assert "webhooks.allow" in caught.value.cure

        by_name = WebhookSink(url=receiver.url.replace("127.0.0.1", "localhost"), retry_max_s=0.1, linger_s=0.0)
        by_name.open(make_context(ports=ports, case="street"))
        ports.store.events.append([crossing()])
        time.sleep(0.7)
        by_name.close()
        assert receiver.messages == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `localhost`, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return folder / "both.pem"


def test_the_certificate_is_checked_against_the_name_though_the_address_is_connected_to(
    ports: FakePorts, certificate: Path
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with receiving(tls=tls) as receiver:
        by_address = receiver.url.replace("http:", "https:")
        by_name = by_address.replace("127.0.0.1", "localhost")
        ports.store.events.append([crossing(0)])
        with capture_logs() as logs:

            def num_told() -> int:
                return sum("certificate" in str(log).lower() for log in logs)

            wrong = (("a", by_name, ""), ("b", by_address, str(certificate)))  # unknown; another name
            for number, (name, url, ca) in enumerate(wrong, 1):
                with sending(ports, url, name=name, ca=ca, run=""):
                    ports.store.events.append([crossing(1)])
                    until(lambda number=number: num_told() == number)  # type: ignore[misc]
                    time.sleep(0.3)
        assert receiver.messages == []
        assert num_told() == 2
        with sending(ports, by_name, name="c", ca=str(certificate), run=""):
            ports.store.events.append([crossing(2)])
            until(lambda: numbers(receiver) == [2])
            assert receiver.messages[0][0]["host"] == f"localhost:{receiver.port}"
    with pytest.raises(ConfigError, match="cannot be used"):
        WebhookSink(url=by_name, ca="/none.pem").open(replace(make_context(ports=ports), reachable=("localhost",)))


def test_logs_and_errors_tell_neither_secrets_nor_the_path(ports: FakePorts) -> None:
    secret_url = "http://user:hidden1@127.0.0.1:9/hidden2?token=hidden3"
    with capture_logs() as logs, sending(ports, secret_url, secrets=(NEW,), headers={"authorization": "hidden4"}) as it:
        ports.store.events.append([crossing()])
        until(lambda: logs)
        shown = repr(it) + repr(logs) + "".join(ports.artifacts.list())
    assert "127.0.0.1" in shown
    assert "hidden" not in shown
    assert NEW[6:] not in shown
    with pytest.raises(ConfigError) as caught:
        WebhookSink(url="http://a", secrets=("whsec_hidden",))
    assert "hidden" not in f"{caught.value}{caught.value.cure}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"secrets": ("abc",)}, "Secret 1"),
        ({"secrets": (NEW, "whsec_c2hvcnQ=")}, "Secret 2"),
        ({"types": ("Line",)}, "types"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"name": "../x"}, "name"),
    ],
)
def test_wrong_fields_are_refused(fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WebhookSink(url="https://example.org", **fields)


@pytest.mark.parametrize("url", ["ftp://example.org", "example.org", "http://", "http://[::1"])
def test_an_address_that_is_none_is_refused(ports: FakePorts, url: str) -> None:
    with pytest.raises(ConfigError, match="url of the webhook"):
        WebhookSink(url=url).open(make_context(ports=ports))
