"""Objects over HTTP where the artifact store is a real S3 server: in parts on their way in, by ranges out again."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator

import httpx2
import pytest
from tests.seaweed import make_bucket, seaweed
from tests.serve.api.conftest import problem, soon
from tests.servers import RunningServer, serving

pytestmark = pytest.mark.service("s3")
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / "store").mkdir()
    with seaweed(folder / "store") as s3:
        settings = {"endpoint": s3.endpoint, "access_key": s3.access_key, "secret_key": s3.secret_key}
        named = {f"s3__{name}": value for name, value in settings.items()}
        with serving(folder, s3__bucket=make_bucket(s3, "objects"), **named) as running:
            yield running


def test_a_large_object_goes_there_and_back(http: httpx2.Client) -> None:
    data = hashlib.shake_256(b"seed").digest(20 * MIB)
    put = http.put("/objects/uploads/large", content=(data[at : at + MIB] for at in range(0, len(data), MIB)))
    assert (put.status_code, put.json()["num_bytes"]) == (201, len(data)), put.text
    got = http.get("/objects/uploads/large")
    assert hashlib.sha256(got.content).hexdigest() == put.json()["sha256"]
    asked = {"Range": f"bytes={9 * MIB}-{9 * MIB + 99}", "If-Range": got.headers["etag"]}
    assert http.get("/objects/uploads/large", headers=asked).content == data[9 * MIB : 9 * MIB + 100]
    assert http.put("/objects/uploads/large", content=b"another one").status_code == 201
    changed = http.get("/objects/uploads/large", headers=asked)
    assert (changed.status_code, changed.content) == (200, b"another one")
    [shown] = http.get("/objects", params={"prefix": "uploads/"}).json()["items"]
    assert (shown["key"], shown["num_bytes"]) == ("uploads/large", 11)
    assert shown["modified"] is not None
    assert http.delete("/objects/uploads/large").status_code == 204
    problem(http.get("/objects/uploads/large"), 404, "not_found")


def test_an_upload_that_breaks_off_leaves_what_was_there(server: RunningServer, http: httpx2.Client) -> None:
    assert http.put("/objects/uploads/torn", content=b"before").status_code == 201
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        head = (
            f"PUT /api/v1/objects/uploads/torn HTTP/1.1\r\nHost: {server.address}\r\nContent-Length: {99 * MIB}\r\n\r\n"
        )
        line.sendall(head.encode() + bytes(20 * MIB))
    soon(lambda: server.platform.num_running == 0)
    assert http.get("/objects/uploads/torn").content == b"before"
