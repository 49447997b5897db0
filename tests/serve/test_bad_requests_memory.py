"""What clients send, hold back and leave behind costs a server little memory, and no other client its answer."""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Self

import httpx2
import pytest
from tests.serve.oip.nets import echo_net, slow_net
from tests.serve.processes import ServerProcess, server_process
from tests.serve.raw import RawClient, asked, connected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows counts files and memory in another way")

ECHO = "/v2/models/echo/infer"
BODY = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}'
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    nets = [echo_net(folder / "echo.onnx", "FP32"), slow_net(folder / "slow.onnx", rounds=20)]
    env = {"SIGHTLINE_SERVER__MAX_BODY_MB": "16", "SIGHTLINE_SERVER__BODY_TIMEOUT_S": "3"}
    with server_process(folder, *nets, env=env) as running:
        for _ in range(100):
            assert asked(running.port, "POST", ECHO, body=BODY).status == 200
        time.sleep(1)  # until all is open that opens by itself
        yield running


class Watched:
    """Remembers the most memory that the server held while something goes on."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self.before_mb = self.most_mb = server.rss_mb

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def grown_mb(self) -> float:
        return self.most_mb - self.before_mb

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.most_mb = max(self.most_mb, self._server.rss_mb)


def pour(client: RawClient, num_mib: int, *, chunked: bool) -> int:
    """Send so many MiB unless the server hangs up; return how many went."""
    block = bytes(MIB)
    part = b"%x\r\n%s\r\n" % (MIB, block) if chunked else block
    for number in range(num_mib):
        try:
            client.send(part)
        except OSError:
            return number
    return num_mib


@pytest.mark.parametrize("path", [ECHO, "/predict", "/forward", "/api/v1/models"])
@pytest.mark.parametrize("said", ["chunked", "truth", "lie"])
def test_of_a_gigabyte_no_more_than_the_limit_is_kept(server: ServerProcess, path: str, said: str) -> None:
    headers = {
        "chunked": "Transfer-Encoding: chunked",
        "truth": f"Content-Length: {1 << 30}",
        "lie": f"Content-Length: {100}",  # what follows is no request
    }
    with Watched(server) as memory, connected(server.port) as client:
        client.ask("POST", path, "Content-Type: application/json", headers[said])
        sending = Thread(target=pour, args=(client, 1024), kwargs={"chunked": said == "chunked"}, daemon=True)
        sending.start()
        answer = client.answer()
        if said == "lie":
            assert answer.code == "invalid_input"
        else:
            assert (answer.status, answer.code) == (413, "too_large")
        assert client.is_closed()
        sending.join(30)
        assert not sending.is_alive()
    sys.stdout.write(f"{said} to {path}: {memory.grown_mb:.0f} MB more\n")
    assert memory.grown_mb < 80
    assert asked(server.port, "POST", ECHO, body=BODY).status == 200


def test_a_thousand_idle_connections_keep_nobody_from_an_answer(server: ServerProcess) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    before_mb, before_files = server.rss_mb, server.num_files
    idle = [socket.create_connection(("127.0.0.1", server.port), 30) for _ in range(1000)]
    try:
        for client in idle[:500]:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with httpx2.Client(base_url=server.url, timeout=30) as busy:
            begin = time.monotonic()
            for _ in range(50):
                assert busy.post(ECHO, content=BODY).status_code == 200
            spent_ms = 1000 * (time.monotonic() - begin) / 50
        sys.stdout.write(f"1,000 idle: {spent_ms:.1f} ms a request, {server.rss_mb - before_mb:.0f} MB more\n")
        assert server.rss_mb - before_mb < 100
    finally:
        for client in idle:
            client.close()
    gone_by(lambda: server.num_files <= before_files + 5)


def gone_by(true: object, *, seconds: float = 30) -> None:
    assert callable(true)
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, "it is still there"
        time.sleep(0.05)


def test_who_fetches_no_answer_loses_the_connection(server: ServerProcess) -> None:
    rows = 1_000_000  # an answer of 12 MB, more than the kernel takes
    raw = bytes(12 * rows)
    tensor = {"name": "x", "shape": [rows, 3], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    before_files = server.num_files
    clients = []
    for _ in range(5):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", server.port))
        client.sendall(
            f"POST {ECHO} HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: {len(head)}\r\n"
            f"Content-Length: {len(head) + len(raw)}\r\n\r\n".encode()
            + head
            + raw
        )
        clients.append(client)
    try:
        gone_by(lambda: server.num_files >= before_files + 5)
        gone_by(lambda: server.num_files <= before_files + 1)
    finally:
        for client in clients:
            client.close()
    assert asked(server.port, "POST", ECHO, body=BODY).status == 200


def test_two_thousand_requests_leave_nothing_behind(server: ServerProcess) -> None:
    def turbulence(num: int) -> None:
        slow = json.dumps(
            {
                "inputs": [
                    {
                        "name": "x",
                        "shape": [1, 384, 384],
                        "datatype": "FP32",
                        "parameters": {"binary_data_size": 4 * 384 * 384},
                    }
                ]
            }
        ).encode()
        raw = bytes(4 * 384 * 384)
        with httpx2.Client(base_url=server.url, timeout=30) as client:
            for number in range(num):
                match number % 8:
                    case 0 | 1 | 2:
                        assert client.post(ECHO, content=BODY).status_code == 200
                    case 3:
                        assert client.post("/predict", content=b"no picture").status_code == 400
                    case 4:  # gone before the body has come
                        with connected(server.port) as gone:
                            gone.ask("POST", ECHO, "Content-Length: 100")
                            gone.send(b"{")
                    case 5:  # gone while the model would run, by a reset
                        with connected(server.port) as gone:
                            gone.ask(
                                "POST",
                                "/v2/models/slow/infer",
                                f"Inference-Header-Content-Length: {len(slow)}",
                                body=slow + raw,
                            )
                            gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    case 6:  # a stream that is left
                        with connected(server.port) as gone:
                            gone.ask("GET", "/stream")
                            assert gone.answer().status == 200
                    case 7:
                        assert client.get("/api/v1/models?limit=1").status_code == 200

    def counted() -> tuple[int, int]:
        return server.num_files, server.num_threads

    turbulence(400)
    gone_by(lambda: httpx2.get(server.url + "/readyz?verbose", timeout=30).json()["running_requests"] == 1)
    time.sleep(0.5)
    files, threads = counted()
    before_mb = server.rss_mb
    turbulence(1600)
    gone_by(lambda: httpx2.get(server.url + "/readyz?verbose", timeout=30).json()["running_requests"] == 1)
    gone_by(lambda: server.num_files <= files + 3)
    sys.stdout.write(f"after 2,000 requests: {server.rss_mb - before_mb:+.1f} MB, {counted()} files and threads\n")
    assert server.num_threads <= threads + 3
    assert server.rss_mb - before_mb < 40


@pytest.mark.parametrize("path", [ECHO, "/predict", "/forward", "/api/v1/models"])
def test_a_client_that_looks_up_only_after_sending_all_still_sees_the_answer(server: ServerProcess, path: str) -> None:
    for header, chunked in (("Transfer-Encoding: chunked", True), (f"Content-Length: {40 * MIB}", False)):
        with connected(server.port) as client:
            client.ask("POST", path, "Content-Type: application/json", header)
            assert pour(client, 40, chunked=chunked) == 40  # it is not cut off while it sends
            answer = client.answer()
            assert (answer.status, answer.code) == (413, "too_large")
