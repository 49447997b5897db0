"""`/ws` through a real server and the `websockets` client."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.serve.live.conftest import SIZE, Served, serving, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from sightline.core.codec import decode_event, decode_sample, unpack
from sightline.core.prediction import Boxes
from sightline.packs.vision.sources.synthetic import SyntheticSource


@contextmanager
def talking(served: Served, **wish: Any) -> Iterator[ClientConnection]:
    """Connect, subscribe, and wait until that has been heard."""
    with connect(served.ws, max_size=None) as client:
        if wish:
            client.send(json.dumps({"op": "subscribe", **wish}))
            ping(client)
        yield client


def narrow(served: Served) -> socket.socket:
    """Return a connection on which little can be on its way."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", served.port))
    return sock


def ping(client: ClientConnection) -> None:
    client.send('{"op": "ping"}')
    while client.recv(30) != '{"op":"pong"}':
        continue


def texts(client: ClientConnection, num: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < num:
        message = client.recv(30)
        if isinstance(message, str):
            found.append(json.loads(message))
    return found


def pictures(client: ClientConnection, num: int) -> list[tuple[dict[str, Any], bytes]]:
    found: list[tuple[dict[str, Any], bytes]] = []
    while len(found) < num:
        message = client.recv(30)
        if isinstance(message, bytes):
            header, body = unpack(message)
            found.append((header, bytes(body)))
    return found


class TestEvents:
    def test_a_subscription_gets_the_events_that_it_names_as_cloud_events(self, served: Served) -> None:
        with talking(served, case="yard", source="door", types=["line.crossed"]) as client:
            served.publish(1, "zone.entered")
            served.publish(2, "line.crossed", source="gate")
            event = served.publish(3, "line.crossed")
            [told] = texts(client, 1)
        assert decode_event(told).id == event.id
        assert told["data"] == {"number": 3}

    def test_predictions_come_as_events_too(self, served: Served) -> None:
        served.run()
        with talking(served, types=["prediction"]) as client:
            [told] = texts(client, 1)
        assert told["type"] == "io.sightline.prediction.v1"
        assert decode_sample(told["data"]).prediction("people", Boxes).class_name == ("person",)

    def test_a_new_subscription_takes_the_place_of_the_old_one(self, served: Served) -> None:
        with talking(served, types=["line.crossed"]) as client:
            client.send('{"op": "subscribe", "types": "zone.entered"}')
            ping(client)
            served.publish(1, "line.crossed")
            served.publish(2, "zone.entered")
            assert texts(client, 1)[0]["data"]["number"] == 2

    def test_nothing_comes_before_a_subscription_nor_after_it_was_given_up(self, served: Served) -> None:
        with talking(served) as client:
            served.publish(1)
            ping(client)
            client.send('{"op": "subscribe"}')
            ping(client)
            served.publish(2)
            assert texts(client, 1)[0]["data"]["number"] == 2
            client.send('{"op": "unsubscribe"}')
            ping(client)
            assert len(served.live.hub) == 0
            served.publish(3)
            client.send('{"op": "ping"}')
            assert client.recv(30) == '{"op":"pong"}'

    def test_a_slow_reader_is_told_how_many_events_it_lost(self, served: Served) -> None:
        num = 60 * 250
        with connect(served.ws, sock=narrow(served), max_size=None, max_queue=1, compression=None) as client:
            client.send('{"op": "subscribe", "types": "run.progress"}')
            until(lambda: len(served.live.hub) == 1 and served.live.hub.is_open)
            for number in range(num):
                served.publish(number)
                if number % 250 == 0:
                    time.sleep(0.005)
            got, lost = 0, 0
            while True:
                told = texts(client, 1)[0]
                if told["type"] == "io.sightline.gap.v1":
                    lost += decode_event(told).data["num_lost"]
                else:
                    got += 1
                    if told["data"]["number"] == num - 1:
                        break
        assert lost > 0
        assert got + lost == num


class TestPictures:
    def test_a_picture_comes_with_what_was_predicted_about_it(self, served: Served) -> None:
        run = served.run()
        with talking(served, types=["run.completed"], pictures=True) as client:
            (first, jpeg), (second, _) = pictures(client, 2)
        assert first["mime"] == "image/jpeg"
        assert (first["case"], first["source"], first["run"]) == ("yard", "door", run.id)
        assert first["size"] == list(SIZE)
        [box] = first["predictions"]["people"]["items"]
        assert (box["tracker_id"], box["class_name"]) == (7, "person")
        assert second["seq"] > first["seq"]
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape == (SIZE[1], SIZE[0], 3)

    def test_no_more_pictures_a_second_come_than_are_wanted(self, served: Served) -> None:
        served.run()
        begin = time.monotonic()  # pictures that wait for a client on a busy machine come at once then
        with talking(served, types=["run.completed"], pictures=True, max_fps=10) as client:
            pictures(client, 11)
        assert 0.8 < time.monotonic() - begin < 20

    def test_only_pictures_of_the_sources_that_are_named_come(self, served: Served) -> None:
        camera = SyntheticSource(size=SIZE, fps=50, realtime=True)
        served.run("yard", door=camera, gate=SyntheticSource(size=SIZE, fps=50, realtime=True))
        with talking(served, source="gate", types=["run.completed"], pictures=True) as client:
            assert {header["source"] for header, _ in pictures(client, 8)} == {"gate"}
        with talking(served, types=["run.completed"], pictures=True) as client:
            assert {header["source"] for header, _ in pictures(client, 8)} == {"door", "gate"}

    def test_the_last_picture_of_a_camera_that_is_quiet_comes_at_once(self, served: Served) -> None:
        run = served.run("yard", door=SyntheticSource(size=SIZE, num_frames=3))
        until(lambda: getattr(served.platform.streams.latest(run.id, "door"), "seq", 0) == 2)
        with talking(served, pictures=True) as client:
            [(header, _)] = pictures(client, 1)
        assert header["seq"] == 2

    def test_a_slow_reader_gets_new_pictures_not_old_ones(self, served: Served) -> None:
        run = served.run("yard", door=SyntheticSource(size=(640, 480), fps=100, pattern="noise", realtime=True))
        with connect(served.ws, max_size=None, max_queue=1) as client:
            client.send('{"op": "subscribe", "types": "run.completed", "pictures": true}')
            until(lambda: getattr(served.platform.streams.latest(run.id, "door"), "seq", 0) > 200)
            seen = [header["seq"] for header, _ in pictures(client, 40)]
        newest = served.platform.streams.latest(run.id, "door")
        assert newest is not None
        assert seen == sorted(set(seen))
        assert seen[-1] > newest.seq - 120
        assert max(later - sooner for sooner, later in pairwise(seen)) > 20


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        "said",
        [
            "no json",
            "[]",
            '{"op": "sing"}',
            '{"op": "subscribe", "colour": "red"}',
            '{"op": "subscribe", "types": ["No Type"]}',
            '{"op": "subscribe", "types": [1]}',
            '{"op": "subscribe", "case": {}}',
            '{"op": "subscribe", "pictures": "yes"}',
            '{"op": "subscribe", "pictures": true, "max_fps": 0}',
            '{"op": "subscribe", "max_fps": true}',
            '{"op": "subscribe", "max_fps": 1e999}',
            "[" * 10_000,
            json.dumps({"op": "subscribe", "case": ["x"] * 101}),
            json.dumps({"op": "subscribe", "case": "x" * 20_000}),
        ],
    )
    def test_what_nobody_understands_is_answered_with_a_problem_and_the_socket_stays_open(
        self, served: Served, said: str
    ) -> None:
        with talking(served) as client:
            client.send(said)
            problem = texts(client, 1)[0]
            assert (problem["code"], problem["status"], problem["instance"]) == ("invalid_input", 400, "/ws")
            assert problem["cure"]
            ping(client)

    def test_a_message_of_a_megabyte_ends_the_connection(self, served: Served) -> None:
        with talking(served) as client:
            client.send("x" * (1 << 20))
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009

    def test_there_is_no_websocket_elsewhere(self, served: Served) -> None:
        with pytest.raises(InvalidStatus, match="403"), connect(served.ws + "x"):
            pass


class TestTheEnd:
    def test_it_is_told_when_the_server_ends(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served, talking(served, pictures=True) as client:
            served.platform.stopping = True
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
