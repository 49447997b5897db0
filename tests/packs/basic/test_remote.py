"""The predictor `remote` against a real little server: what it asks, and what it makes of good and bad answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from sightline.core.codec import encode_sample, to_json
from sightline.core.errors import ConfigError, InvalidInput, Unavailable
from sightline.core.prediction import Boxes, Labels, Prediction, Scalar
from sightline.packs.basic.remote import Remote
from sightline.packs.basic.remote_calls import Breaker
from sightline.packs.basic.remote_reading import Reads
from sightline.testing import make_context, make_frame, make_reading


class Server:
    """Answers from `answers`, the last one for ever; holds what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.delay_s = 0.0
        server = self

        class Door(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                server.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                time.sleep(server.delay_s)
                status, headers, data = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def says(self, *answers: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answers += [
            (status, headers or {}, a if isinstance(a, bytes) else json.dumps(a).encode()) for a in answers
        ]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def asked(sample: Any = None, **fields: Any) -> Prediction:
    remote = Remote(**fields)
    remote.open(make_context())
    try:
        [prediction] = remote.predict([sample or make_frame(200, size=(64, 48))])
    finally:
        remote.close()
    return prediction


SCALAR = Reads(type="scalar", output="value")


def scalar(server: Server, **fields: Any) -> Prediction:
    return asked(url=server.url, protocol="json", reads=SCALAR, **fields)


def test_another_sightline_is_asked_with_a_picture(server: Server) -> None:
    answer = Labels(class_id=np.array([3]), confidence=np.array([0.5], np.float32), class_name=("cat",))
    server.says(to_json(encode_sample(make_frame().with_prediction("label", answer), "x")))
    found = asked(url=server.url + "/base", model="net", token="secret")
    assert isinstance(found, Labels)
    assert found.best == "cat"
    method, path, headers, body = server.asked[0]
    assert (method, path) == ("POST", "/base/predict?model=net")
    assert (headers["content-type"], headers["authorization"]) == ("image/jpeg", "Bearer secret")
    assert body[:2] == b"\xff\xd8"


@pytest.mark.parametrize("binary", [True, False])
def test_the_open_inference_protocol_gives_labels_by_the_names_of_the_server(server: Server, *, binary: bool) -> None:
    server.says({"name": "net", "inputs": [{"name": "images"}], "parameters": {"labels": ["dog", "cat"]}})
    output: dict[str, Any] = {"name": "logits", "datatype": "FP32", "shape": [1, 2]}
    raw = np.array([[0, 3]], np.float32).tobytes()
    output |= {"parameters": {"binary_data_size": 8}} if binary else {"data": [0, 3]}
    head = json.dumps({"outputs": [output]}).encode()
    server.says(
        head + raw if binary else head, headers={"Inference-Header-Content-Length": str(len(head))} if binary else {}
    )
    found = asked(url=server.url, protocol="oip", model="net", reads=Reads(type="labels", activation="softmax"))
    assert isinstance(found, Labels)
    assert found.class_name == ("cat", "dog")
    assert found.confidence[0] == pytest.approx(np.exp(3) / (1 + np.exp(3)))
    _, path, headers, body = server.asked[1]
    size = int(headers["inference-header-content-length"])
    assert path == "/v2/models/net/infer"
    assert json.loads(body[:size])["inputs"][0] == {
        "name": "images", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(body) - size}
    }  # fmt: skip


def test_a_template_is_filled_and_boxes_are_read_by_path(server: Server) -> None:
    server.says({"result": {"boxes": [[0.5, 0.5, 0.5, 0.5]], "scores": [0.9], "names": ["cat"]}})
    found = asked(
        url=server.url,
        protocol="json",
        body={"image": "data:image/jpeg;base64,{image_base64}", "size": ["{width}", "{height}"]},
        reads=Reads(
            type="boxes",
            output="result.boxes",
            scores="result.scores",
            classes="result.names",
            format="cxcywh",
            scale="unit",
        ),
    )
    assert isinstance(found, Boxes)
    assert (found.xyxy.tolist(), found.class_name) == ([[16, 12, 48, 36]], ("cat",))
    sent = json.loads(server.asked[0][3])
    assert sent["size"] == [64, 48]
    assert sent["image"].startswith("data:image/jpeg;base64,/9j/")


def test_readings_can_be_sent(server: Server) -> None:
    server.says({"value": 7})
    found = asked(make_reading({"a": 1.5}), url=server.url, protocol="json", body={"in": "{values}"}, reads=SCALAR)
    assert isinstance(found, Scalar)
    assert found.value == 7
    assert json.loads(server.asked[0][3]) == {"in": {"a": 1.5}}


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again(server: Server, status: int) -> None:
    server.says(b"busy", status=status)
    server.says({"value": 1})
    assert isinstance(scalar(server), Scalar)
    assert len(server.asked) == 2


def test_a_wait_beyond_the_timeout_is_not_begun(server: Server) -> None:
    server.says(b"busy", status=503, headers={"Retry-After": "60"})
    begin = time.monotonic()
    with pytest.raises(Unavailable, match="status 503"):
        scalar(server, timeout_s=30)
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize(
    ("status", "kind"), [(500, Unavailable), (400, InvalidInput), (401, ConfigError), (404, ConfigError)]
)
def test_other_refusals_are_not_tried_again(server: Server, status: int, kind: type[Exception]) -> None:
    server.says(b"the reason", status=status)
    with pytest.raises(kind, match="the reason"):
        scalar(server)
    assert len(server.asked) == 1


def test_a_slow_server_is_given_up(server: Server) -> None:
    server.says({"value": 1})
    server.delay_s = 0.5
    with pytest.raises(Unavailable, match=r"within 0\.1 s"):
        scalar(server, timeout_s=0.1)


def test_no_redirect_is_followed(server: Server) -> None:
    server.says(b"", status=302, headers={"Location": server.url + "/secret"})
    with pytest.raises(ConfigError, match="redirects"):
        scalar(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"value": "x"}', b'{"value": []}', b'{"value": 1e999}'])
def test_garbage_is_told_as_garbage(server: Server, body: bytes) -> None:
    server.says(body)
    with pytest.raises(Unavailable):
        scalar(server)


def test_an_endless_answer_is_cut(server: Server) -> None:
    server.says(b"x" * (2 << 20))
    with pytest.raises(Unavailable, match="more than 1 MiB"):
        scalar(server, max_answer_mb=1)


def test_a_server_that_fails_is_left_alone_by_all_for_a_while(server: Server) -> None:
    server.says(b"", status=500)
    fields: dict[str, Any] = {"breaker_failures": 2, "breaker_pause_s": 1.0}
    for _ in range(2):
        with pytest.raises(Unavailable, match="status 500"):
            scalar(server, **fields)
    with pytest.raises(Unavailable, match="failed 2 times in a row"):
        scalar(server, **fields)
    assert len(server.asked) == 2
    server.answers.clear()
    server.says({"value": 1})
    time.sleep(1.05)
    assert isinstance(scalar(server, **fields), Scalar)
    assert isinstance(scalar(server, **fields), Scalar)


def test_after_the_pause_one_call_tries_and_the_others_wait() -> None:
    now = [0.0]
    breaker = Breaker(1, 10, lambda: now[0])
    breaker.enter("it")
    breaker.leave(failed=True)
    now[0] = 11
    breaker.enter("it")
    with pytest.raises(Unavailable):
        breaker.enter("it")
    breaker.leave(failed=False)
    breaker.enter("it")


def test_a_password_is_sent_and_never_told(server: Server) -> None:
    url = server.url.replace("//", "//ann:hunter2@")
    remote = Remote(url=url, protocol="json", reads=SCALAR, token="")
    assert "hunter2" not in repr(remote)
    server.says(b"no", status=401)
    with pytest.raises(ConfigError) as found:
        asked(url=url, protocol="json", reads=SCALAR, headers={})
    assert "hunter2" not in str(found.value)
    assert server.asked[0][2]["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "file:///etc/passwd"},
        {"url": "nowhere"},
        {"url": "http://a", "protocol": "oip", "reads": SCALAR},
        {"url": "http://a", "protocol": "json"},
        {"url": "http://a", "protocol": "json", "reads": SCALAR, "body": {"a": ["{what}"]}},
        {"url": "http://a", "timeout_s": 0},
    ],
)
def test_a_wrong_config_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Remote(**fields)


def test_a_case_can_write_it_as_yaml_has_it() -> None:
    fields = {"url": "http://a", "protocol": "json", "body": {"a": "{text}"}, "reads": {"type": "text", "output": "b"}}
    made = TypeAdapter(Remote).validate_python(fields)
    assert made.reads == Reads(type="text", output="b")
    with pytest.raises(ValidationError, match="outputs"):
        TypeAdapter(Remote).validate_python({**fields, "reads": {"type": "text", "outputs": "b"}})
