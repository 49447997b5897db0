"""Objects over HTTP: uploaded without being held, sent in parts, listed and deleted; and keys that lead elsewhere."""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.serve.api.conftest import problem, soon
from tests.serve.processes import ServerProcess, server_process
from tests.servers import RunningServer, serving

MIB = 1 << 20
PATH = "/api/v1/objects/uploads"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folders = ["uploads/", "results/", "studies", "models/"]
    folder = tmp_path_factory.mktemp("server")
    with serving(
        folder, server__max_body_mb=1, server__max_upload_mb=4, server__object_folders=folders, server__body_timeout_s=1
    ) as running:
        yield running


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    with server_process(tmp_path) as running:
        yield running


def test_an_object_comes_back_as_it_was_put(http: httpx2.Client) -> None:
    data = bytes(range(256)) * 100
    put = http.put("/objects/uploads/a/Grüße b.bin", content=data, headers={"Content-Type": "application/x-any"})
    assert put.status_code == 201, put.text
    told = {"key": "uploads/a/Grüße b.bin", "num_bytes": len(data), "media_type": "application/octet-stream"}
    assert put.json() == told | {"sha256": hashlib.sha256(data).hexdigest()}
    got = http.get("/objects/uploads/a/Grüße b.bin")
    assert (got.status_code, got.content, got.headers["accept-ranges"]) == (200, data, "bytes")
    disposition = got.headers["content-disposition"]
    assert disposition == "attachment; filename=\"Gr__e b.bin\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20b.bin"
    assert got.headers["x-content-type-options"] == "nosniff"
    part = http.get("/objects/uploads/a/Grüße b.bin", headers={"Range": "bytes=10-19", "If-Range": got.headers["etag"]})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(data)}"
    last = http.get("/objects/uploads/a/Grüße b.bin", headers={"Range": "bytes=-5"})
    assert (last.status_code, last.content) == (206, data[-5:])
    problem(http.get("/objects/uploads/a/Grüße b.bin", headers={"Range": f"bytes={len(data)}-"}), 416, "wrong_range")
    head = http.head("/objects/uploads/a/Grüße b.bin")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(data)), b"")


def test_an_object_that_was_put_anew_is_another_version(http: httpx2.Client) -> None:
    http.put("/objects/uploads/new.txt", content=b"old")
    seen = http.get("/objects/uploads/new.txt").headers["etag"]
    assert http.get("/objects/uploads/new.txt", headers={"If-None-Match": seen}).status_code == 304
    http.put("/objects/uploads/new.txt", content=b"new")
    got = http.get("/objects/uploads/new.txt", headers={"Range": "bytes=1-", "If-Range": seen})
    assert (got.status_code, got.content) == (200, b"new")


def test_objects_are_listed_in_pages_and_deleted(http: httpx2.Client) -> None:
    for number in range(3):
        assert http.put(f"/objects/results/list/{number}.nii.gz", content=b"x" * number).status_code == 201
    first = http.get("/objects", params={"prefix": "results/list/", "limit": 2}).json()
    rest = http.get("/objects", params={"prefix": "results/list/", "limit": 2, "after": first["next"]}).json()
    assert [each["key"][-8] for each in first["items"] + rest["items"]] == ["0", "1", "2"]
    assert (rest["next"], rest["items"][0]["num_bytes"], rest["items"][0]["media_type"]) == (
        None,
        2,
        "application/gzip",
    )
    assert http.delete("/objects/results/list/1.nii.gz").status_code == 204
    problem(http.delete("/objects/results/list/1.nii.gz"), 404, "not_found")
    problem(http.get("/objects/results/list/1.nii.gz"), 404, "not_found")
    assert len(http.get("/objects", params={"prefix": "results/li"}).json()["items"]) == 2
    assert {each["key"].partition("/")[0] for each in http.get("/objects").json()["items"]} <= {"uploads", "results"}


@pytest.mark.parametrize(
    "key",
    [
        "models/mine/1/model.onnx",
        "runs/1/1/result.nii.gz",
        "events/a.jpg",
        "nowhere/a",
        "uploads",
        "uploads/",
        "uploadsa/b",
        "uploads//a",
        "uploads/.hidden",
        "uploads/..%2Fmodels/a",
        "uploads/%2e%2e/models/a",
        "uploads/a%5C..%5Cb",
        "uploads/a%00b",
        "uploads/a%0Ab",
        "uploads/a%FFb",
        "uploads/a%20/b",
        "uploads/%E2%80%AEcod.exe",
        "uploads/" + "a" * 505,
    ],
)
def test_keys_that_are_not_the_callers_lead_nowhere(server: RunningServer, key: str) -> None:
    server.platform.context.artifacts.put("runs/1/1/result.nii.gz", b"secret")
    server.platform.context.artifacts.put("models/mine/1/model.onnx", b"secret")
    for method in ("PUT", "GET", "DELETE"):
        connection = http.client.HTTPConnection(server.address, timeout=10)
        body = b"x" if method == "PUT" else None
        connection.request(method, f"/api/v1/objects/{key}", body=body)
        answer = connection.getresponse()
        assert answer.status in (400, 404), (method, answer.read())
        assert b"secret" not in answer.read()
        connection.close()
    assert server.platform.context.artifacts.size("runs/1/1/result.nii.gz") == 6
    assert server.platform.context.artifacts.size("models/mine/1/model.onnx") == 6


def test_no_prefix_shows_what_the_platform_keeps(server: RunningServer, http: httpx2.Client) -> None:
    server.platform.context.artifacts.put("runs/2/1/result.nii.gz", b"secret")
    for prefix in ("runs/", "models/", "r", "runs"):
        found = http.get("/objects", params={"prefix": prefix})
        assert "runs/" not in found.text.replace(f"'{prefix}'", ""), found.text
    problem(http.get("/objects", params={"prefix": "runs/"}), 400, "invalid_input")
    assert http.put("/objects/studies/a", content=b"x").status_code == 201  # the settings open it


def test_no_key_is_the_folder_of_another(http: httpx2.Client) -> None:
    assert http.put("/objects/uploads/folder/a", content=b"x").status_code == 201
    problem(http.put("/objects/uploads/folder", content=b"x"), 409, "conflict")


def test_what_is_too_large_is_refused_before_it_is_read(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
        line.sendall(f"PUT {PATH}/big HTTP/1.1\r\nHost: {server.address}\r\nContent-Length: {5 * MIB}\r\n\r\n".encode())
        assert b"413" in line.recv(4096)


def test_what_turns_out_too_large_leaves_what_was_there(http: httpx2.Client) -> None:
    assert http.put("/objects/uploads/grows", content=b"before").status_code == 201
    answer = http.put("/objects/uploads/grows", content=(b"\0" * 65536 for _ in range(5 * 16)))
    document = problem(answer, 413, "too_large")
    assert "server.max_upload_mb" in document["cure"]
    assert http.get("/objects/uploads/grows").content == b"before"
    assert http.put("/objects/uploads/grows", content=(b"\1" * 65536 for _ in range(3 * 16))).status_code == 201
    assert http.get("/objects/uploads/grows").content == b"\1" * 3 * MIB  # three times the limit of other bodies


@pytest.mark.parametrize("end", ["leaves", "waits"])
def test_what_is_not_sent_to_its_end_is_not_stored(server: RunningServer, http: httpx2.Client, end: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        head = f"PUT {PATH}/torn-{end} HTTP/1.1\r\nHost: {server.address}\r\nContent-Length: 1000\r\n\r\n"
        line.sendall(head.encode() + b"half")
        if end == "waits":
            assert b"504" in line.recv(4096)
    soon(lambda: server.platform.num_running <= 1)
    problem(http.get(f"/objects/uploads/torn-{end}"), 404, "not_found")
    assert http.get("/objects", params={"prefix": f"uploads/torn-{end}"}).json()["items"] == []


def test_parts_and_encodings_are_not_taken(http: httpx2.Client) -> None:
    zipped = {"Content-Encoding": "gzip"}
    problem(http.put("/objects/uploads/a", content=b"x", headers=zipped), 415, "wrong_media_type")
    part = {"Content-Range": "bytes 0-0/2"}
    problem(http.put("/objects/uploads/a", content=b"x", headers=part), 400, "invalid_input")


def test_a_large_upload_takes_no_memory(process: ServerProcess) -> None:
    with httpx2.Client(base_url=f"{process.url}/api/v1", timeout=60) as http:
        for _ in range(2):  # what is loaded once, and the buffers of one upload, are there then
            assert http.put("/objects/uploads/small", content=bytes(40 * MIB)).status_code == 201
        before_mb, seen = process.rss_mb, 0.0
        zeros = bytes(1 * MIB)

        def body() -> Iterator[bytes]:
            nonlocal seen
            for _ in range(500):
                yield zeros
                seen = max(seen, process.rss_mb)

        put = http.put("/objects/uploads/large", content=body())
        assert (put.status_code, put.json()["num_bytes"]) == (201, 500 * MIB), put.text
        # A store takes 8 MiB at a time, some at once, and malloc keeps what it had: 70 MB here, more on a busy machine.
        assert seen - before_mb < 280, (before_mb, seen)
        whole = hashlib.sha256()
        with http.stream("GET", "/objects/uploads/large") as got:
            for piece in got.iter_bytes():
                whole.update(piece)
                seen = max(seen, process.rss_mb)
        assert whole.hexdigest() == put.json()["sha256"]
        # A store takes 8 MiB at a time, some at once, and malloc keeps what it had: 70 MB here, more on a busy machine.
        assert seen - before_mb < 280, (before_mb, seen)
