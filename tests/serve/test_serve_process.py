"""`sightline serve` in a process of its own: how it starts, what it says when it cannot, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
from tests.programs import environment, sightline
from tests.serve.conftest import PHOTOS, STREET, only_cause, write_case
from tests.serve.oip.nets import echo_net, slow_net
from tests.serve.processes import ServerProcess, server_process
from tests.serve.raw import RawClient, connected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

SLOW = "/v2/models/slow/infer"


def slow_body() -> tuple[bytes, dict[str, str]]:
    """Return a request to the slow model, which takes a good part of a second."""
    data = np.zeros((1, 384, 384), np.float32).tobytes()
    tensor = {"name": "x", "shape": [1, 384, 384], "datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"classification": 1}}]}).encode()
    return head + data, {"Inference-Header-Content-Length": str(len(head))}


def ask_slow(server: ServerProcess, client: httpx2.Client | None = None) -> int:
    body, headers = slow_body()
    return (client or httpx2).post(server.url + SLOW, content=body, headers=headers, timeout=60).status_code


def until(true: Callable[[], bool], *, seconds: float = 60) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, "it does not come about"
        time.sleep(0.02)


def waiting(pool: ThreadPoolExecutor, server: ServerProcess, num: int) -> list[Future[int]]:
    """Ask the slow model and return when all of it is in the server's hands."""
    client = httpx2.Client(timeout=60)  # made once: it takes longer to make than some requests to answer
    futures = [pool.submit(ask_slow, server, client) for _ in range(num)]
    until(lambda: client.get(server.url + "/readyz?verbose").json()["running_requests"] >= num + 1)
    return futures


def test_it_is_ready_soon_and_says_where(tmp_path: Path) -> None:
    sightline(tmp_path, "models", "list")  # makes the database, which happens once
    with server_process(tmp_path) as server:
        assert httpx2.get(server.url + "/readyz", timeout=60).status_code == 200  # what it says is so
        sys.stdout.write(f"ready after {server.ready_s:.2f} s, {server.ready_cpu_s:.2f} s of CPU\n")
        assert server.ready_cpu_s < 4  # 0.7 s alone on the machine; the other tests run meanwhile
        assert "/docs" in server.err
        assert "warning" not in server.err


_WHAT_STAYS = """
import gc, os, signal
from sightline.build import CaseBuildContext
from sightline.serve.cli.serve import serve_until_told
from sightline.settings import load_settings

def begin(platform, url):
    with open("counts", "w") as file:
        print(gc.get_freeze_count(), len(gc.get_objects()), file=file)
    os.kill(os.getpid(), signal.SIGTERM)

with CaseBuildContext(load_settings(overrides={"server.port": 0})) as build:
    serve_until_told(build, [], begin=begin)
"""


def test_what_is_there_from_the_start_is_not_looked_through_by_the_collector_again(tmp_path: Path) -> None:
    program = [sys.executable, "-c", _WHAT_STAYS]
    subprocess.run(program, cwd=tmp_path, env=environment(tmp_path), capture_output=True, timeout=60, check=True)
    num_frozen, num_others = map(int, (tmp_path / "counts").read_text().split())
    assert num_frozen > 10 * num_others


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished_and_no_more_is_taken(tmp_path: Path, number: signal.Signals) -> None:
    net = slow_net(tmp_path / "slow.onnx", rounds=400)
    with server_process(tmp_path, net) as server, ThreadPoolExecutor(4) as pool:
        ask_slow(server)
        running = waiting(pool, server, 4)
        server.signal(number)
        until(lambda: refuses(server.port))
        assert server.is_running()
        assert [each.result() for each in running] == [200] * 4
        assert server.wait(60) == 0
        assert "Traceback" not in server.err


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False


def test_under_load_whoever_is_let_in_is_answered(tmp_path: Path) -> None:
    net = echo_net(tmp_path / "echo.onnx", "FP32")
    body = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}'

    answered: list[int] = []

    def ask_on(port: int) -> tuple[int, int]:
        """Ask, each time anew, until nobody listens; return how often it went well, and how often not."""
        good = bad = 0
        while True:
            try:
                client = RawClient(port)
            except ConnectionError:
                return good, bad
            try:
                client.ask("POST", "/v2/models/echo/infer", "Connection: close", f"Content-Length: {len(body)}")
                client.send(body)
                status = client.answer().status
            except ConnectionResetError:  # it lay in the queue of the system when the server ceased to listen
                return good, bad
            except OSError:
                status = 0
            finally:
                client.close()
            good, bad = good + (status == 200), bad + (status != 200)
            answered.append(status)

    with server_process(tmp_path, net) as server, ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask_on, server.port) for _ in range(8)]
        until(lambda: len(answered) > 100)
        server.signal(signal.SIGTERM)
        assert server.wait(60) == 0
        outcomes = [each.result() for each in asking]
    assert sum(good for good, _ in outcomes) > 100
    assert sum(bad for _, bad in outcomes) == 0


def test_streams_and_sockets_do_not_keep_it(tmp_path: Path) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with server_process(tmp_path) as server, connected(server.port) as stream, connected(server.port) as idle:
        stream.ask("GET", "/stream")
        assert stream.answer().status == 200
        with connect(f"ws://127.0.0.1:{server.port}/ws") as socket_client:
            socket_client.send('{"op":"ping"}')
            assert json.loads(socket_client.recv(timeout=30)) == {"op": "pong"}
            begin = time.monotonic()
            server.signal(signal.SIGTERM)
            assert server.wait(60) == 0
            with pytest.raises(ConnectionClosed) as closed:
                socket_client.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code in (1001, 1012)
        assert time.monotonic() - begin < 20  # the drain takes 30 s
        assert idle.is_closed()
        rest = b"".join(iter(lambda: stream.socket.recv(4096), b""))  # ends by the end of the chunks
        assert rest == b"" or rest.endswith(b"0\r\n\r\n")


def test_the_second_signal_gives_up_what_runs(tmp_path: Path) -> None:
    net = slow_net(tmp_path / "slow.onnx", rounds=6000)
    with server_process(tmp_path, net) as server, ThreadPoolExecutor(4) as pool:
        running = waiting(pool, server, 4)
        server.signal(signal.SIGTERM)
        until(lambda: refuses(server.port))
        server.signal(signal.SIGTERM)
        begin = time.monotonic()
        assert server.wait(60) == 0
        sys.stdout.write(f"ended {time.monotonic() - begin:.1f} s after the second signal\n")
        assert "Traceback" not in server.err, server.err
        assert any(each.exception() or each.result() == 503 for each in running)


def test_what_takes_longer_than_the_drain_is_told_so(tmp_path: Path) -> None:
    net = slow_net(tmp_path / "slow.onnx", rounds=6000)
    with (
        server_process(tmp_path, net, env={"SIGHTLINE_SERVER__DRAIN_S": "1"}) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        running = waiting(pool, server, 4)
        server.signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert {each.result() for each in running} <= {200, 503}
        assert 503 in {each.result() for each in running}
        assert "Traceback" not in server.err


def said_once(err: str) -> bool:
    """Return whether there is one line of cause and one of cure, and no error in the log besides."""
    logged = [line for line in err.splitlines() if line.startswith("{")]
    assert not any('"log.level":"error"' in line for line in logged), err
    return len(err.splitlines()) - len(logged) == 2 and "request id" not in err


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments in (["--port", str(port)], ["--port", "0", "--grpc-port", str(port)]):
            finished = sightline(tmp_path, "serve", *arguments)
            assert finished.code == 1, finished
            assert str(port) in only_cause(finished)
            assert said_once(finished.err)


@pytest.mark.parametrize(
    ("wanted", "said", "cure"),
    [
        ("street_peopl", "street_peopl", "street_people"),
        ("nobody", "nobody", "list"),
        ("nanodet_m", "nanodet_m", "nanodet-m"),
        ("picture.jpg", "picture.jpg is no ONNX file", ".onnx"),
        ("nothing.onnx", "nothing.onnx", "path"),
        ("text.onnx", "text.onnx", ""),
    ],
)
def test_what_is_not_there_is_told_with_what_is_near(tmp_path: Path, wanted: str, said: str, cure: str) -> None:
    for name in ("text.onnx", "picture.jpg"):
        (tmp_path / name).write_text("this is no model")

    finished = sightline(tmp_path, "serve", wanted, "--port", "0")

    assert finished.code == (1 if wanted in ("text.onnx", "picture.jpg") else 3), finished.err
    assert said in only_cause(finished)
    assert said_once(finished.err)
    assert cure in finished.err
    assert "serving" not in finished.err.replace("service", "")


def test_to_run_without_a_name_is_a_mistake_of_usage(tmp_path: Path) -> None:
    finished = sightline(tmp_path, "serve", "--run", "--port", "0")

    assert finished.code == 2
    assert "Name the cases" in finished.err


def test_a_model_is_served_by_its_name(tmp_path: Path) -> None:
    with server_process(tmp_path, "nanodet-m") as server:
        answer = httpx2.post(server.url + "/predict", content=(PHOTOS / "german-shepherd.jpg").read_bytes(), timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.json()["case"] == "nanodet-m"
        assert httpx2.post(server.url + "/predict?case=street_people", content=b"x", timeout=20).status_code == 404


def test_a_case_that_runs_plays_its_file_like_a_camera(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "street", f"source: {{use: video, url: '{STREET}'}}\nsinks: [bus]\n")
    with server_process(tmp_path, folder, "--run") as server:
        run = httpx2.get(server.url + "/api/v1/runs", timeout=60).json()["items"][0]
    assert (run["case"], run["stands"]) == ("street", True)
    assert run["spec"]["sources"]["main"] == {"use": "video", "url": str(STREET), "loop": True, "realtime": True}


def test_a_broken_case_keeps_the_others_from_nothing(tmp_path: Path) -> None:
    write_case(tmp_path, "broken", "source: {use: no-such-plugin}\n")
    with server_process(tmp_path, "street_people") as server:
        assert httpx2.get(server.url + "/readyz", timeout=60).status_code == 200
        listed = httpx2.get(server.url + "/api/v1/cases", timeout=20)
        assert listed.status_code == 200
        assert "street_people" in listed.text
        answer = httpx2.post(server.url + "/predict?case=broken", content=b"x", timeout=20)
        assert 400 <= answer.status_code < 500
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_broken_case_that_was_asked_for_starts_the_server_in_safe_mode(tmp_path: Path) -> None:
    text = "source: {use: synthetic, fps: 5}\nstages: {analytics: {a: {use: gone}}}\n"
    write_case(tmp_path, "broken", text)

    with server_process(tmp_path, "dummy_offline", "broken", "--run") as server:
        until(lambda: "safe mode" in server.err)
        assert "case.yaml:2" in server.err
        assert "cure" in server.err
        [told] = httpx2.get(server.url + "/readyz?verbose", timeout=60).json()["safe_mode"]
        assert told["case"] == "broken"
        assert "case.yaml:2" in told["problems"][0]["message"]
        refused = httpx2.post(server.url + "/predict?case=broken", content=b"x", timeout=60)
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_plugin")
        api = server.url + "/api/v1"
        assert httpx2.get(api + "/cases/broken", timeout=60).json()["safe_mode"] is True
        running = httpx2.get(api + "/runs?state=running", timeout=60).json()["items"]
        assert [run["case"] for run in running] == ["dummy_offline"]

        headers = {"if-match": "*", "content-type": "text/yaml"}
        mended = text.replace("gone", "brightness")
        saved = httpx2.put(api + "/cases/broken/manifest", content=mended, headers=headers, timeout=60)

        assert saved.status_code == 200, saved.text
        assert httpx2.get(server.url + "/readyz?verbose", timeout=60).json()["safe_mode"] == []
        running = httpx2.get(api + "/runs?state=running", timeout=60).json()["items"]
        assert {run["case"] for run in running} == {"dummy_offline", "broken"}


def test_broken_settings_end_the_start(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("server: {port: many}\n")

    finished = sightline(tmp_path, "serve", "street_people")

    assert finished.code == 4, finished.err
    assert "sightline.yaml:1" in only_cause(finished)
