"""`GET /stream` through a real server: what is told, what is told again, and what is said of the rest."""

from __future__ import annotations

import socket
import time
from itertools import islice
from pathlib import Path

import httpx2
from tests.serve.live.conftest import Served, serving, until

from sightline.core.codec import decode_event, decode_sample
from sightline.core.prediction import Boxes


def listening(served: Served, num: int = 1) -> None:
    until(lambda: len(served.live.hub) == num and served.live.hub.is_open)


class TestWhatIsTold:
    def test_predictions_of_a_running_case_come_in_the_wire_form_of_their_samples(self, served: Served) -> None:
        served.run()
        with served.stream("?type=prediction") as events:
            first, second = islice(events, 2)
        assert (first.event, first.data["case"], first.data["source"]) == ("prediction", "yard", "door")
        assert second.data["seq"] > first.data["seq"]
        assert first.id != second.id
        boxes = decode_sample(first.data).prediction("people", Boxes)
        assert boxes.class_name == ("person",)

    def test_everything_else_is_a_cloud_event(self, served: Served) -> None:
        with served.stream("?type=line.crossed") as events:
            listening(served)
            event = served.publish(3, "line.crossed")
            [told] = islice(events, 1)
        assert (told.event, told.id) == ("line.crossed", event.id)
        again = decode_event(told.data)
        assert (again.id, again.type, again.data) == (event.id, event.type, {"number": 3})

    def test_it_begins_with_how_soon_to_come_back_and_is_not_buffered(self, served: Served) -> None:
        with httpx2.stream("GET", f"{served.url}/stream", timeout=30) as answer:
            assert next(answer.iter_lines()) == "retry: 2000"
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"].startswith("no-cache")
            assert answer.headers["x-accel-buffering"] == "no"

    def test_head_tells_the_headers_and_ends(self, served: Served) -> None:
        answer = httpx2.head(f"{served.url}/stream", timeout=30)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

    def test_a_parameter_that_does_not_exist_is_refused(self, served: Served) -> None:
        for path in ("/stream?bogus=1", "/stream?types=line.*", "/stream.mjpeg?cases=yard"):
            answer = httpx2.get(served.url + path, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
            assert "case" in answer.json()["cure"]

    def test_filters_choose_cases_sources_and_types(self, served: Served) -> None:
        with served.stream("?case=yard,shop&source=door&type=line.*,prediction") as events:
            listening(served)
            for number, (short_type, case, source) in enumerate(
                [
                    ("line.crossed", "yard", "door"),
                    ("line.crossed", "yard", "gate"),
                    ("line.crossed", "roof", "door"),
                    ("zone.entered", "yard", "door"),
                    ("line.crossed", "shop", "door"),
                    ("prediction", "shop", "door"),
                ]
            ):
                served.publish(number, short_type, case=case, source=source)
            told = list(islice(events, 3))
        assert [each.event for each in told] == ["line.crossed", "line.crossed", "prediction"]
        assert [each.data["data"]["number"] for each in told[:2]] == [0, 4]

    def test_a_filter_that_is_none_is_refused(self, served: Served) -> None:
        for query in ("?type=No%20Type", "?case=,", "?case=" + "a," * 101, "?type=x/y"):
            answer = httpx2.get(f"{served.url}/stream{query}", timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input"), query

    def test_a_comment_comes_while_nothing_happens(self, tmp_path: Path) -> None:
        with (
            serving(tmp_path, heartbeat_s=0.1) as quiet,
            httpx2.stream("GET", f"{quiet.url}/stream", timeout=30) as answer,
        ):
            lines = islice((line for line in answer.iter_lines() if line.startswith(":")), 3)
            assert list(lines) == [": still here"] * 3


class TestComingBack:
    def test_what_the_bus_still_has_comes_again_in_order_and_once(self, served: Served) -> None:
        events = [served.publish(number) for number in range(50)]
        with served.stream("?type=run.progress", after=events[9].id) as told:
            listening(served)
            for number in range(50, 60):
                served.publish(number)
            assert [each.number for each in islice(told, 50)] == list(range(10, 60))

    def test_the_id_may_stand_in_the_address(self, served: Served) -> None:
        first, second = served.publish(1), served.publish(2)
        with served.stream(f"?type=run.progress&last_event_id={first.id}") as told:
            assert next(told).id == second.id

    def test_durable_events_come_from_the_outbox_when_the_bus_has_them_no_more(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served:
            events = [served.record(number) for number in range(1200)]
            served.until_relayed()
            for number in range(3000):  # more than the ring of the bus holds
                served.publish(number)
            with served.stream("?type=line.crossed", after=events[99].id) as told:
                assert [each.number for each in islice(told, 1100)] == list(range(100, 1200))

    def test_where_outbox_and_bus_meet_nothing_comes_twice_and_a_gap_says_what_is_lost(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served:
            old = [served.record(number) for number in range(10)]
            served.until_relayed()
            for number in range(2500):
                served.publish(number)
            young = [served.publish(2500, "line.crossed")]
            served.context.store.events.append(young)
            served.publish(2501)
            with served.stream(after=old[4].id) as told:
                got = list(islice(told, 1 + 5 + 2048))
            assert (got[0].event, got[0].id) == ("gap", None)
            assert [each.number for each in got[1:6]] == [5, 6, 7, 8, 9]
            assert [each.number for each in got[6:]] == list(range(2502 - 2048, 2502))
            assert len({each.id for each in got}) == len(got)

    def test_who_last_had_a_prediction_gets_the_durable_events_that_followed_it(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served:
            with served.stream() as told:
                listening(served)
                served.publish(1)
                [last] = islice(told, 1)
            until(lambda: not len(served.live.hub))
            alarm = served.record(2)
            served.until_relayed()
            for number in range(3000):
                served.publish(number)
            with served.stream(after=last.id) as told:
                gap, first = islice(told, 2)
            assert gap.event == "gap"
            assert (first.event, first.id) == ("line.crossed", alarm.id)

    def test_after_a_restart_the_outbox_goes_on_and_what_the_relay_brings_is_not_told_twice(
        self, tmp_path: Path
    ) -> None:
        with serving(tmp_path) as served:
            old = [served.record(number) for number in range(3)]
        with serving(tmp_path) as served:
            served.record(3)
            with served.stream(after=old[0].id) as told:
                listening(served)
                served.until_relayed()
                served.publish(4, "line.crossed")
                assert [each.number for each in islice(told, 5)] == ["gap", 1, 2, 3, 4]

    def test_an_id_that_nobody_knows_is_a_gap_of_unknown_size(self, served: Served) -> None:
        with served.stream("?type=run.progress", after="never-heard-of") as told:
            assert next(told).data == {"num_lost": None}

    def test_an_id_of_a_megabyte_is_refused(self, served: Served) -> None:
        assert httpx2.get(f"{served.url}/stream?last_event_id={'x' * 300}", timeout=30).status_code == 400


class TestTheEnd:
    def test_who_leaves_is_forgotten_and_the_bus_too_when_nobody_listens(self, served: Served) -> None:
        bus = served.context.bus
        before = len(bus._subscriptions)  # type: ignore[attr-defined]
        with served.stream() as one:
            with served.stream():
                listening(served, 2)
                assert len(bus._subscriptions) == before + 1  # type: ignore[attr-defined]
            until(lambda: len(served.live.hub) == 1)
            served.publish(1)
            assert next(one).number == 1
        until(lambda: not served.live.hub.is_open)
        assert len(bus._subscriptions) == before  # type: ignore[attr-defined]

    def test_it_ends_cleanly_when_the_server_does(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served, served.stream() as told:
            listening(served)
            begin = time.monotonic()
            served.platform.stopping = True
            assert list(told) == []
        assert time.monotonic() - begin < 15  # the drain takes 30 s

    def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(self, served: Served) -> None:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", served.port))
            slow.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            listening(served)
            num = 60
            for begin in range(num):
                for number in range(250):
                    served.publish(begin * 250 + number)
                time.sleep(0.005)
            slow.settimeout(30)
            got = b""
            while f'"number":{num * 250 - 1}}}'.encode() not in got:
                got += slow.recv(1 << 16)
        lost = [int(part.split(b"}")[0]) for part in got.split(b'event: gap\ndata: {"num_lost":')[1:]]
        assert lost
        assert sum(lost) + got.count(b"event: run.progress") == num * 250
