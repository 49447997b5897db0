"""The client against a real server, and its own behaviour: keys, threads, connections, deadlines."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from tests.client.conftest import PHOTOS, Script, Scripted, Waits
from tests.serve.processes import server_process
from tests.serve.test_tls import made_pair
from tests.servers import RunningServer, serving

import sightline
from sightline import AsyncClient, Client, Labels
from sightline.client.jobs import Runs
from sightline.core.errors import (
    CaseNotFound,
    ConfigError,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    NotProcessed,
    Overloaded,
    SightlineError,
    Unauthenticated,
    Unavailable,
)

X = np.arange(6, dtype=np.float32).reshape(2, 3)
BUSY = Scripted(status=503, headers={"Retry-After": "1"}, body=b'{"code": "overloaded", "detail": "Too much waits."}')


def test_tensors_go_there_and_back(client: Client) -> None:
    np.testing.assert_array_equal(client.infer("echo-fp32", {"x": X})["y"], X)
    np.testing.assert_array_equal(client.infer("echo-fp32@1", {"x": X}, outputs=["y"])["y"], X)
    np.testing.assert_array_equal(client.infer("echo-fp32", {"x": X[:, ::-1]}, version=1)["y"], X[:, ::-1])


def test_texts_go_there_and_back(client: Client) -> None:
    texts = np.array([["ü", "", "three"]], object)
    assert client.infer("echo-bytes", {"x": texts})["y"].tolist() == texts.tolist()


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda client: client.infer("nothing", {"x": X}), ModelNotFound),
        (lambda client: client.infer("echo-fp32", {"x": X}, version=9), ModelNotFound),
        (lambda client: client.infer("echo-fp32", {"z": X}), InvalidInput),
        (lambda client: client.infer("echo-fp32", {"x": X.astype(np.int8)}), InvalidInput),
        (lambda client: client.infer("echo-fp32", {"x": X}, outputs=["z"]), InvalidInput),
        (lambda client: client.infer("a/../b?c", {"x": X}), SightlineError),
        (lambda client: client.predict(b"", case="nothing"), CaseNotFound),
        (lambda client: client.forward({"x": [[1, 2]]}, model="echo-fp32"), NotProcessed),
    ],
)
def test_errors_are_those_of_the_process(client: Client, call: Any, kind: type[SightlineError]) -> None:
    with pytest.raises(kind) as raised:
        call(client)
    assert raised.value.request_id


def test_forward_takes_and_gives_lists(client: Client) -> None:
    assert client.forward({"x": X}, model="echo-fp32") == {"y": X.tolist()}
    assert client.forward_batch([{"x": [[1, 2, 3]]}, {"x": [[4, 5, 6]]}], model="echo-fp32@1") == [
        {"y": [[1, 2, 3]]},
        {"y": [[4, 5, 6]]},
    ]


def test_the_server_tells_of_itself_and_its_models(client: Client) -> None:
    assert client.health()["version"] == sightline.__version__
    assert client.metadata("echo-fp32")["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["n", 3]}]


def test_one_client_serves_many_threads(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: client.infer("echo-fp32", {"x": X + number})["y"], range(64)))
    for number, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, X + number)


def test_the_awaited_client_does_the_same(server: RunningServer) -> None:
    async def ask() -> None:
        async with AsyncClient(server.url) as client:
            answers = await asyncio.gather(*(client.infer("echo-fp32", {"x": X + n}) for n in range(16)))
            for number, answer in enumerate(answers):
                np.testing.assert_array_equal(answer["y"], X + number)
            sample = await client.predict(PHOTOS / "german-shepherd.jpg", model="efficientnet-lite0")
            assert sample.prediction("model", Labels).class_name[0] == "German shepherd"
            with pytest.raises(ModelNotFound):
                await client.infer("nothing", {"x": X})
            assert "street_people" in [case["name"] async for case in client.cases.list()]

    asyncio.run(ask())


def test_both_clients_have_the_same_operations() -> None:
    for name in ("predict", "infer", "events", "health"):
        assert getattr(Client, name) is getattr(AsyncClient, name)
    signature = inspect.signature(Client("http://127.0.0.1:1").infer)
    assert list(signature.parameters) == ["model", "inputs", "outputs", "version", "timeout_s"]


def test_an_operation_tells_its_signature_and_what_it_gives_on_the_class_too() -> None:
    on_class, bound = inspect.signature(Client.forward), inspect.signature(Client("http://127.0.0.1:1").forward)
    assert list(on_class.parameters) == ["self", "inputs", "model", "version", "timeout_s"]
    assert list(bound.parameters) == ["inputs", "model", "version", "timeout_s"]
    assert on_class.return_annotation == bound.return_annotation == "dict[str, Any]"
    assert inspect.signature(Runs.list).return_annotation == "Iterator[Run]"
    assert Client.forward.__doc__
    assert callable(Client.forward)


def test_a_certificate_that_vouches_for_itself_is_told_with_what_to_give(tmp_path: Path) -> None:
    certificate, key = made_pair(tmp_path)
    with server_process(tmp_path, "--tls-cert", certificate, "--tls-key", key) as server:
        with Client(server.url) as client, pytest.raises(ConfigError, match=r"not trusted: self.signed") as caught:
            client.health()
        assert "verify=" in caught.value.cure
        with Client(server.url, verify=ssl.create_default_context(cafile=str(certificate))) as client:
            assert client.health()["status"] == "healthy"


def test_a_busy_server_is_asked_again_after_the_pause_it_wants(script: Script, waits: Waits) -> None:
    script.answers = [BUSY, BUSY, Scripted(body=b'{"status": "ok"}')]
    with Client(script.url) as client:
        assert client.health() == {"status": "ok"}
    assert len(waits) == 2
    assert all(1 <= wait <= 1.5 for wait in waits)


def test_a_server_that_stays_busy_is_told(script: Script, waits: Waits) -> None:
    script.answers = [BUSY]
    with Client(script.url, retries=2) as client, pytest.raises(Overloaded, match="Too much waits"):
        client.runs.start("door")
    assert len(script.asked) == 3
    assert len(waits) == 2


def test_a_start_whose_answer_was_lost_is_not_repeated(script: Script, waits: Waits) -> None:
    script.answers = [Scripted(breaks_off=True)]
    with Client(script.url) as client:
        with pytest.raises(Unavailable, match="broke off"):
            client.runs.start("door")
        assert len(script.asked) == 1
        with pytest.raises(Unavailable, match="broke off"):
            client.runs.get("r")
    assert len(script.asked) == 1 + 5
    assert len(waits) == 4


def test_connections_are_kept(script: Script) -> None:
    script.answers = [Scripted()]
    with Client(script.url) as client:
        for _ in range(3):
            client.health()
        pool: Any = client._carrier.http
        assert len(pool._pool.connections) == 1


def test_nobody_there_is_told(waits: Waits) -> None:
    with (
        Client("http://127.0.0.1:1", retries=1) as client,
        pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 cannot be"),
    ):
        client.health()
    assert len(waits) == 1


def test_a_slow_answer_ends_in_time(server: RunningServer) -> None:
    with Client(server.url) as client, pytest.raises(DeadlineExceeded):
        client.infer("efficientnet-lite0", {"images": np.zeros((64, 3, 224, 224), np.float32)}, timeout_s=0.15)


def test_a_server_that_says_nothing_is_left() -> None:
    async def ask() -> None:
        async with AsyncClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2) as client:
            await client.health()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.2 s"):
            asyncio.run(ask())
        with Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2) as client:  # noqa: SIM117
            with pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.2 s"):
                client.health()
        assert time.monotonic() - begin < 15


def test_an_answer_that_trickles_ends_in_time() -> None:
    def trickle(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(1000):
                connection.sendall(b" ")
                time.sleep(0.05)

    async def ask(url: str) -> None:
        async with AsyncClient(url, timeout_s=0.3) as client:
            await client.health()

    def ask_blocking(url: str) -> None:
        with Client(url, timeout_s=0.3) as client:
            client.health()

    for asking in (ask_blocking, lambda url: asyncio.run(ask(url))):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = Thread(target=trickle, args=(listening,))
            thread.start()
            begin = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                asking(f"http://127.0.0.1:{listening.getsockname()[1]}")
            assert time.monotonic() - begin < 15
            thread.join()


def test_keys_open_the_door(tmp_path: Path) -> None:
    token = "a-service-token-of-some-length"
    with serving(tmp_path, auth__mode="on", auth__service_token=token) as guarded:
        with Client(guarded.url) as client, pytest.raises(Unauthenticated):
            client.metadata("nanodet-m")
        with Client(guarded.url, api_key="sl_no_such_key_of_ours") as client, pytest.raises(Unauthenticated) as raised:
            client.metadata("nanodet-m")
        assert "sl_no" not in str(raised.value)
        with Client(guarded.url, api_key=token) as client:
            assert client.metadata("nanodet-m")["name"] == "nanodet-m"


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "k" * 9000])
def test_a_key_that_is_none_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Client(api_key=key)
    assert key not in str(raised.value)


def test_a_key_is_never_shown(script: Script) -> None:
    script.answers = [Scripted(status=500, body=b"no")]
    with Client(script.url, api_key="sl_secret") as client:
        with pytest.raises(SightlineError) as raised:
            client.health()
        shown = [repr(client), repr(client.runs), repr(client.infer), repr(raised.value)]
    assert script.headers("authorization") == ["Bearer sl_secret"]
    assert not [text for text in shown if "secret" in text]
    assert shown[0] == f"Client({script.url!r})"


@pytest.mark.parametrize(
    "url", ["", "host:8000", "ftp://host", "http://", "http://u:pass@host", "http://h/?a=b", "http://h:x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Client(url)
    assert "pass@" not in str(raised.value)


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"timeout_s": float("inf")}, {"retries": -1}])
def test_wrong_terms_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Client(**wrong)


def test_a_server_behind_a_path_is_reached(script: Script) -> None:
    script.answers = [Scripted()]
    with Client(f"{script.url}/vision/") as client:
        client.health()
    assert script.asked[0][1] == "/vision/health"


def test_the_environment_names_the_server(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    script.answers = [Scripted()]
    monkeypatch.setenv("SIGHTLINE_URL", script.url)
    monkeypatch.setenv("SIGHTLINE_API_KEY", "sl_env")
    with Client.from_env() as client:
        client.health()
    assert script.headers("authorization") == ["Bearer sl_env"]
    monkeypatch.delenv("SIGHTLINE_URL")
    monkeypatch.delenv("SIGHTLINE_API_KEY")
    assert repr(AsyncClient.from_env()) == "AsyncClient('http://127.0.0.1:8000')"


def test_something_else_at_the_address_is_told(script: Script) -> None:
    script.answers = [Scripted(headers={"Content-Type": "text/html"}, body=b"<html>")]
    with Client(script.url) as client, pytest.raises(SightlineError, match="no JSON object"):
        client.health()


def test_the_client_needs_nothing_heavy() -> None:
    code = (
        "import sys; from sightline import Client; Client(); "
        "heavy = {'fastapi', 'pydantic', 'cv2', 'av', 'onnxruntime', 'sqlalchemy', 'PIL'} & set(sys.modules); "
        "ours = [name for name in sys.modules if name.startswith(('sightline.serve', 'sightline.settings'))]; "
        "assert not heavy, heavy; assert not ours, ours"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
