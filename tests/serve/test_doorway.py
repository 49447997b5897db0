"""What HTTP allows, and what it does not, through the door of a real server: methods, names, headers, connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.serve.oip.nets import echo_net
from tests.serve.raw import asked, connected
from tests.servers import RunningServer, serving

INFER = "/v2/models/echo-fp32/infer"
BODY = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, [echo_net(folder / "echo-fp32.onnx", "FP32")], server__body_timeout_s=2.0) as running:
        yield running


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/health", "/v2", "/v2/models/echo-fp32", "/api/v1/models", "/x"]
)
def test_head_is_get_without_its_body(server: RunningServer, path: str) -> None:
    get = asked(server.port, "GET", path)
    with connected(server.port) as client:
        for _ in range(2):  # twice on one connection: a body that was sent after all would be read as an answer
            client.ask("HEAD", path)
            head = client.answer(head=True)
            assert head.status == get.status
            assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/predict", "POST"),
        ("DELETE", "/predict", "POST"),
        ("POST", "/livez", "GET"),
        ("OPTIONS", "/predict", "POST"),
        ("PUT", "/stream", "GET"),
        ("GET", INFER, "POST"),
        ("DELETE", "/v2", "GET, HEAD"),
        ("POST", "/v2/models/echo-fp32", "GET, HEAD"),
        ("GET", "/v2/repository/index", "POST"),
        ("PUT", "/api/v1/models", ""),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(server: RunningServer, method: str, path: str, allow: str) -> None:
    answer = asked(server.port, method, path)

    assert (answer.status, answer.code) == (405, "method_not_allowed")
    allowed = answer.headers["allow"]
    assert allowed
    assert allow in ("", allowed)
    assert all(name in answer.json()["cure"] for name in allowed.split(", "))


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/%2e%2e/infer",
        "/v2/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd/infer",
        "/v2/models/%252e%252e/infer",
        "/v2/models/a%00b/infer",
        "/v2/models/%ff%fe/infer",
        "/v2/models/%F0%9F%90%95/infer",
        "/v2/models//infer",
        "/v2/models/" + "a" * 5000 + "/infer",
        "/v2/models/C:%5Cx.onnx/infer",
        "/v2/models/echo-fp32/versions/..%2f1/infer",
        "/v2/models/echo-fp32/versions/%00/infer",
        "/v2/models/echo-fp32/versions/999/infer",
        "/v2/models/nobody/infer",
        "/v2/repository/models/%2e%2e/load",
        "/v2/repository/models/%2Fetc%2Fpasswd/unload",
    ],
)
def test_a_name_that_is_none_finds_nothing(server: RunningServer, path: str) -> None:
    answer = asked(server.port, "POST", path, body=BODY)

    assert answer.status in (400, 404)
    assert answer.code in ("invalid_input", "not_found", "model_not_found")
    assert b"root:" not in answer.body


@pytest.mark.parametrize("path", ["/metadata?model=%2e%2e%2f%00", "/api/v1/models/%2e%2e", "/v2/models/%00", "/%00"])
def test_a_name_that_is_none_is_no_path_of_a_read_either(server: RunningServer, path: str) -> None:
    answer = asked(server.port, "GET", path)

    assert answer.status in (400, 404)
    assert answer.code


def test_a_query_of_many_parameters_is_refused(server: RunningServer) -> None:
    many = "&".join(f"a{number}=1" for number in range(200))

    assert asked(server.port, "POST", f"/predict?{many}", body=b"x").code == "invalid_input"


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X-Bomb: 1\r\n" * 1000 + b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Bomb: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Bomb: " + b"a" * 1_000_000,
    ],
    ids=["address", "many", "long", "endless"],
)
def test_a_head_without_measure_is_refused(server: RunningServer, request_head: bytes) -> None:
    with connected(server.port) as client:
        with suppress(ConnectionError):  # it may be refused before it was sent whole, which is as well
            client.send(request_head)
        answer = client.answer()
        assert (answer.status, answer.code) == (431, "head_too_large")
        assert client.is_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"this is no HTTP\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /l\xc3\xafvez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
    ],
    ids=["words", "tls", "version", "line", "address", "negative", "two-lengths", "both-lengths", "zero"],
)
def test_what_is_no_http_is_refused_as_a_problem(server: RunningServer, data: bytes) -> None:
    with connected(server.port) as client:
        client.send(data)
        answer = client.answer()
        assert (answer.status, answer.code) == (400, "invalid_input")
        assert client.is_closed()
    assert asked(server.port, "GET", "/livez").status == 200


def test_a_broken_chunk_ends_the_connection(server: RunningServer) -> None:
    with connected(server.port) as client:
        client.ask("POST", INFER, "Transfer-Encoding: chunked")
        client.send(b"5\r\nabcde\r\nzz\r\n")
        assert client.answer().code == "invalid_input"
        assert client.is_closed()


def test_a_chunked_body_is_read(server: RunningServer) -> None:
    with connected(server.port) as client:
        client.ask("POST", INFER, "Transfer-Encoding: chunked")
        for begin in range(0, len(BODY), 7):
            part = BODY[begin : begin + 7]
            client.send(b"%x;ext=1\r\n%s\r\n" % (len(part), part))
        client.send(b"0\r\nX-Trailer: ignored\r\n\r\n")
        assert client.answer().json()["outputs"][0]["data"] == [1, 2, 3]


def test_a_large_part_and_thousands_of_single_bytes_are_one_body(server: RunningServer) -> None:
    parts = [b" " * 100_000 + BODY[:9], *(BODY[at : at + 1] for at in range(9, len(BODY))), *[b" "] * 20_000]
    with connected(server.port) as client:
        client.ask("POST", INFER, "Transfer-Encoding: chunked")
        client.send(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
        assert client.answer().json()["outputs"][0]["data"] == [1, 2, 3]


def test_expect_continue_is_heeded(server: RunningServer) -> None:
    with connected(server.port) as client:
        client.ask("POST", INFER, "Expect: 100-continue", f"Content-Length: {len(BODY)}")
        assert client.answer().status == 100
        client.send(BODY)
        assert client.answer().status == 200


def test_a_body_that_would_be_too_long_is_not_even_asked_for(server: RunningServer) -> None:
    with connected(server.port) as client:
        client.ask("POST", INFER, "Expect: 100-continue", "Content-Length: 9999999999")
        answer = client.answer()
        assert (answer.status, answer.code) == (413, "too_large")


def test_pipelined_requests_are_answered_in_order(server: RunningServer) -> None:
    with connected(server.port) as client:
        for number in range(20):
            client.ask("POST", INFER, f"X-Request-Id: n{number}", body=BODY)
        assert [client.answer().headers["x-request-id"] for _ in range(20)] == [f"n{number}" for number in range(20)]


@pytest.mark.parametrize(
    "given", ["a b", "ü", "x" * 129, "<script>", "a;b", "'; drop table--", "${jndi}", "\t", ""], ids=repr
)
def test_a_hostile_request_id_is_replaced(server: RunningServer, given: str) -> None:
    answer = asked(server.port, "GET", "/livez", f"X-Request-Id: {given}")

    assert answer.status == 200
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-request-id"].isalnum()


def test_a_plain_request_id_comes_back_also_with_an_error(server: RunningServer) -> None:
    assert asked(server.port, "GET", "/livez", "X-Request-Id: me-1").headers["x-request-id"] == "me-1"
    refused = asked(server.port, "GET", "/nowhere", "X-Request-Id: me-2")
    assert refused.headers["x-request-id"] == refused.json()["request_id"] == "me-2"


def test_headers_given_twice_confuse_nobody(server: RunningServer) -> None:
    answer = asked(server.port, "GET", "/livez", "X-Request-Id: one", "X-Request-Id: two")

    assert answer.status == 200
    assert answer.headers["x-request-id"] in ("one", "two")


@pytest.mark.parametrize("given", ["-1", "1.5", "soon", "1e3", "٣", "", "9" * 40])
def test_a_malformed_deadline_is_refused(server: RunningServer, given: str) -> None:
    answer = asked(server.port, "POST", INFER, f"X-Request-Timeout-Ms: {given}".encode().decode("latin-1"), body=BODY)

    assert (answer.status, answer.code) == (400, "invalid_input")


def test_a_deadline_that_is_over_answers_504(server: RunningServer) -> None:
    answer = asked(server.port, "POST", INFER, "X-Request-Timeout-Ms: 0", body=BODY)

    assert (answer.status, answer.code) == (504, "deadline_exceeded")


def test_an_error_without_a_body_keeps_the_connection(server: RunningServer) -> None:
    with connected(server.port) as client:
        for _ in range(3):
            client.ask("GET", "/nowhere")
            assert client.answer().status == 404


@pytest.mark.parametrize("path", [INFER, "/predict", "/forward", "/api/v1/models"])
def test_a_body_that_stalls_is_told_so_and_the_connection_ended(server: RunningServer, path: str) -> None:
    with connected(server.port) as client:
        begin = time.monotonic()
        client.ask("POST", path, "Content-Type: application/json", "Content-Length: 100")
        client.send(b"{")
        answer = client.answer()
        assert (answer.status, answer.code) == (504, "deadline_exceeded")
        assert 1.8 < time.monotonic() - begin < 20
        assert client.is_closed()


def test_a_head_of_a_byte_now_and_then_is_told_so_and_the_connection_ended(server: RunningServer) -> None:
    with connected(server.port) as client:
        for byte in b"GET /livez":
            client.send(bytes([byte]))
            time.sleep(0.02)
        answer = client.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert client.is_closed()


def test_the_second_head_of_a_connection_may_not_dawdle_either(server: RunningServer) -> None:
    with connected(server.port) as client:
        client.ask()
        assert client.answer().status == 200
        client.send(b"GET /livez HTTP/1.1\r\nHost: lo")
        assert client.answer().code == "request_timeout"
        assert client.is_closed()


def test_a_head_that_comes_in_pieces_is_answered(server: RunningServer) -> None:
    with connected(server.port) as client:
        for piece in (b"GET /li", b"vez HTTP/1.1\r\nHo", b"st: localhost\r\n", b"\r\n"):
            client.send(piece)
            time.sleep(0.05)
        assert client.answer().status == 200


@pytest.mark.parametrize(
    "headers",
    [
        ["Sec-WebSocket-Version: 13"],
        ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 7"],
        ["Sec-WebSocket-Key: short", "Sec-WebSocket-Version: 13"],
        ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "X-Long: " + "a" * 9000],
    ],
    ids=["no-key", "version", "short-key", "long-line"],
)
def test_a_handshake_that_is_none_is_refused_at_once(server: RunningServer, headers: list[str]) -> None:
    with connected(server.port) as client:
        client.ask("GET", "/ws", "Upgrade: websocket", "Connection: Upgrade", *headers)
        assert 400 <= client.answer().status < 500
        assert client.is_closed()
