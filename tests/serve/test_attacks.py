"""What an attacker tries against a real server: with a key that may little, or with none at all."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from select import select
from threading import Event
from typing import Any

import grpc
import numpy as np
import pytest
from tests.serve.oip.nets import echo_net
from tests.serve.raw import RawAnswer, asked, connected
from tests.serve.rpc.test_bad_calls import INFER
from tests.servers import RunningServer, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sightline.core.access import Scope
from sightline.serve.auth.keys import new_key
from sightline.serve.auth.scopes import scope_of
from sightline.serve.rpc.messages import message

ECHO, TEXTS = "/v2/models/echo-FP32/infer", "/v2/models/echo-BYTES/infer"
Request = message("inference.ModelInferRequest")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    nets = [echo_net(folder / f"echo-{datatype}.onnx", datatype) for datatype in ("FP32", "BYTES")]
    with serving(folder, nets, auth__mode="on", server__max_body_mb=16, server__grpc_port=0) as running:
        yield running


def bearer(server: RunningServer, *scopes: Scope) -> str:
    shown, kept = new_key("test", scopes)
    server.platform.context.store.keys.add(kept)
    server.platform.gate.refresh()
    return f"Authorization: Bearer {shown}"


@pytest.fixture(scope="module")
def infer(server: RunningServer) -> str:
    return bearer(server, Scope.INFER)


@pytest.fixture(scope="module")
def manage(server: RunningServer) -> str:
    return bearer(server, Scope.READ, Scope.INFER, Scope.MANAGE)


def posted(server: RunningServer, path: str, body: Any, *headers: str) -> RawAnswer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asked(server.port, "POST", path, "Content-Type: application/json", *headers, body=data)


def tensor(shape: list[int], datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, **more}]}


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
@pytest.mark.parametrize("shape", [[0, 2**62, 2**62], [2**63, 0], [0, 2**64 - 1], [2**40, 0, 2**40]])
def test_a_side_of_0_does_not_hide_sides_that_nobody_can_count(
    server: RunningServer, infer: str, shape: list[int], datatype: str
) -> None:
    answer = posted(server, ECHO, tensor(shape, datatype, data=[]), infer)
    assert (answer.status, answer.code) == (400, "invalid_input")

    head = json.dumps(tensor(shape, datatype, parameters={"binary_data_size": 0})).encode()
    answer = posted(server, ECHO, head, f"Inference-Header-Content-Length: {len(head)}", infer)
    assert (answer.status, answer.code) == (400, "invalid_input")


def test_millions_of_texts_are_refused_before_they_are_made(server: RunningServer, infer: str) -> None:
    num = 3_000_000
    head = json.dumps(tensor([num], "BYTES", parameters={"binary_data_size": 4 * num})).encode()
    begin_s = time.process_time()  # of the server too, which runs here; others on the machine do not count
    answer = posted(server, TEXTS, head + bytes(4 * num), f"Inference-Header-Content-Length: {len(head)}", infer)

    assert (answer.status, answer.code) == (400, "invalid_input")
    assert f"{num} texts" in answer.json()["detail"]
    assert time.process_time() - begin_s < 1  # they took 3 s, in which nobody else was answered


@pytest.mark.parametrize(("path", "name"), [("/forward", "inputs"), ("/predict", "image"), (ECHO, "inputs")])
@pytest.mark.parametrize("inside", [b"[]", b'{"":0}'])
def test_millions_of_lists_in_json_are_refused_before_they_are_made(
    server: RunningServer, infer: str, path: str, name: str, inside: bytes
) -> None:
    body = b'{"' + name.encode() + b'":[' + b",".join([inside] * 1_000_000) + b"]}"
    answer = posted(server, path, body, infer)

    assert (answer.status, answer.code) == (400, "invalid_input")
    assert "lists and objects" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/echo-FP32/load", "/api/v1/runs"])
@pytest.mark.parametrize("inside", [b"[]", b'{"":0}', b"1"])
def test_millions_of_values_are_no_wish(server: RunningServer, manage: str, path: str, inside: bytes) -> None:
    answer = posted(server, path, b'{"parameters":[' + b",".join([inside] * 1_000_000) + b"]}", manage)

    assert (answer.status, answer.code) == (400, "invalid_input")
    assert "values" in answer.json()["detail"]


def test_the_names_of_all_classes_of_a_large_output_are_refused(server: RunningServer, infer: str) -> None:
    array = np.zeros((40_000, 3), np.float32)
    asks = tensor([40_000, 3], parameters={"binary_data_size": array.nbytes})
    asks["outputs"] = [{"name": "y", "parameters": {"classification": 2**31 - 1}}]
    head = json.dumps(asks).encode()
    answer = posted(server, ECHO, head + array.tobytes(), f"Inference-Header-Content-Length: {len(head)}", infer)

    assert (answer.status, answer.code) == (400, "invalid_input")
    assert "120000 texts" in answer.json()["detail"]


def test_of_a_caller_without_a_key_grpc_reads_no_message(server: RunningServer) -> None:
    request = Request(model_name="echo-FP32", raw_input_contents=[bytes(12 << 20)])
    seen: list[int] = []
    infer = server.platform.requests.add
    server.platform.requests.add = lambda row: seen.append(row.bytes_in)  # type: ignore[method-assign]
    try:
        with (
            grpc.insecure_channel(f"127.0.0.1:{server.platform.grpc_port}") as channel,
            pytest.raises(grpc.RpcError) as found,
        ):
            channel.unary_unary(INFER)(request.SerializeToString(), timeout=20)
        end_s = time.monotonic() + 30
        while not seen:  # the caller is told before the call is written down
            assert time.monotonic() < end_s
            time.sleep(0.01)
    finally:
        server.platform.requests.add = infer  # type: ignore[method-assign]

    assert found.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert seen == [0]


def test_a_call_whose_message_never_comes_is_ended(tmp_path: Any) -> None:
    net = echo_net(tmp_path / "echo-FP32.onnx", "FP32")
    with (
        serving(tmp_path, [net], server__grpc_port=0, server__body_timeout_s=0.3) as running,
        grpc.insecure_channel(f"127.0.0.1:{running.platform.grpc_port}") as channel,
    ):
        over = Event()

        def nothing() -> Iterator[bytes]:
            over.wait(30)
            yield b""

        with pytest.raises(grpc.RpcError) as found:
            channel.stream_unary(INFER)(nothing(), timeout=20)
        over.set()
        assert found.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "did not arrive" in str(found.value.details())  # it is the server that gave up, not the caller

        with pytest.raises(grpc.RpcError) as found:
            channel.stream_unary(INFER)(iter(()), timeout=20)
        assert found.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_lists_of_numbers_over_grpc_have_a_limit(server: RunningServer, infer: str) -> None:
    request = Request(model_name="echo-FP32")
    made = request.inputs.add(name="x", datatype="INT32", shape=[5_000_000])
    made.contents.int_contents.extend(np.zeros(5_000_000, np.int32))
    metadata = [("authorization", infer.removeprefix("Authorization: "))]
    with (
        grpc.insecure_channel(f"127.0.0.1:{server.platform.grpc_port}") as channel,
        pytest.raises(grpc.RpcError) as found,
    ):
        channel.unary_unary(INFER)(request.SerializeToString(), timeout=20, metadata=metadata)
    assert found.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "raw_input_contents" in str(found.value.details())


def test_thousands_of_requests_sent_at_once_end_the_connection(server: RunningServer) -> None:
    with connected(server.port) as client:
        client.send(b"GET /livez HTTP/1.1\r\n\r\n" * 3000)
        assert not [_ for _ in range(2000) if not _answered(client)] or client.is_closed()
        assert client.is_closed()
    assert asked(server.port, "GET", "/livez").status == 200


def _answered(client: Any) -> bool:
    try:
        return bool(client.answer().status == 200)
    except (ConnectionError, OSError):
        return False


def _is_told(client: Any) -> bool:
    """Return whether an answer is there for who looks."""
    return bool(select([client.socket], [], [], 0.01)[0])


def test_all_bodies_together_hold_no_more_than_a_bound(tmp_path: Any) -> None:
    part = bytes(900_000)
    with serving(tmp_path, server__max_body_mb=1, server__body_timeout_s=60.0) as running, ExitStack() as stack:
        clients = [stack.enter_context(connected(running.port)) for _ in range(24)]
        for client in clients:
            client.ask("POST", "/forward", "Content-Type: application/json", f"Content-Length: {1 << 20}")
            client.send(part)
        refused: set[int] = set()
        end_s = time.monotonic() + 30
        while len(refused) < 4:  # 16 MiB hold 18 of them
            assert time.monotonic() < end_s, "nobody is refused"
            refused = {number for number, client in enumerate(clients) if _is_told(client)}
        time.sleep(0.5)
        refused = {number for number, client in enumerate(clients) if _is_told(client)}
        assert len(refused) < 12
        for number in refused:
            answer = clients[number].answer()
            assert (answer.status, answer.code) == (503, "overloaded")
            assert answer.headers["retry-after"]
        for client in clients:
            client.close()
        end_s = time.monotonic() + 30
        while asked(running.port, "POST", "/forward", body=b"{}" + b" " * 900_000).status == 503:
            assert time.monotonic() < end_s, "what was given up is counted still"
            time.sleep(0.05)


@pytest.mark.parametrize(
    "place",
    [
        "/etc/passwd", "file:///etc/passwd", "street.mp4", "~/.ssh/id_rsa", "/dev/zero", "concat://etc/passwd",
        "subfile,,start,0,end,9,,://etc/passwd", "unix:///run/docker.sock", "pipe://0", "/dev/video0/../zero", "http",
    ],
)  # fmt: skip
def test_who_manages_cameras_reads_no_files_of_this_machine(server: RunningServer, manage: str, place: str) -> None:
    for path, body in (
        ("/api/v1/sources/probe", {"url": place}),
        ("/api/v1/runs", {"case": "street_people", "source": place}),
        ("/api/v1/runs", {"case": "street_people", "source": f"main={place}"}),
        ("/api/v1/runs", {"case": "street_people", "sources": {"a": {"use": "readings", "url": place}}}),
        ("/api/v1/runs", {"case": "street_people", "sources": {"a": place}}),
    ):
        answer = posted(server, path, body, manage)
        assert (answer.status, answer.code) == (403, "forbidden"), (path, body, answer)
    answer = asked(server.port, "GET", f"/health/stream?source={place}", manage)
    assert (answer.status, answer.code) == (403, "forbidden")


def test_he_may_look_at_cameras_and_an_admin_at_files_too(server: RunningServer, manage: str) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/x"
        answer = posted(server, "/api/v1/sources/probe", {"url": url}, manage)
    assert (answer.status, answer.code) == (503, "source_unreachable")
    answer = posted(server, "/api/v1/sources/probe", {"url": "/nothing.mp4"}, bearer(server, Scope.ADMIN))
    assert (answer.status, answer.code) == (404, "file_missing")


def test_a_stream_ends_when_its_key_is_revoked(server: RunningServer) -> None:
    shown, kept = new_key("test", [Scope.READ])
    server.platform.context.store.keys.add(kept)
    server.platform.gate.refresh()
    with (
        connected(server.port) as client,
        connect(f"ws://127.0.0.1:{server.port}/ws?access_token={shown}", proxy=None) as ws,
    ):
        client.ask("GET", f"/stream?access_token={shown}")
        assert client.answer().status == 200
        server.platform.context.store.keys.revoke(kept.id)
        end_s = time.monotonic() + 30
        while not client.socket.recv(1000).endswith(b"0\r\n\r\n"):  # the answer ends, the connection may stay
            assert time.monotonic() < end_s
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=30)
        assert ws.close_code == 1008


def test_a_proxys_word_about_the_client_is_no_key(server: RunningServer) -> None:
    said = "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https", "Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1"
    other = "X-HTTP-Method-Override: GET", "X-Original-URL: /livez", "X-Rewrite-URL: /livez"
    assert asked(server.port, "GET", "/metrics", *said, *other).status == 401


def test_long_paths_of_strangers_are_not_remembered() -> None:
    from sightline.serve.auth import scopes

    before = scopes._remembered.cache_info().currsize
    assert scope_of("GET", "/" + "a" * 10_000) is Scope.READ
    assert scope_of("GET", "/docs/../api/v1/keys" + "/" * 10_000) is Scope.ADMIN
    assert scopes._remembered.cache_info().currsize == before
