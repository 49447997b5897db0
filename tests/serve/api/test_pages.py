"""The pages about the API: the document, Swagger UI on it, and what each error means; nothing comes from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.servers import RunningServer, serving
from tools.generate_openapi import PLACE, document

from sightline.core.errors import error_types
from sightline.serve.app import make_app

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("pages")) as running:
        yield running


def test_the_committed_document_is_what_the_code_says() -> None:
    assert PLACE.read_text("utf-8") == document(), "run tools/generate_openapi.py"


def test_the_server_gives_the_committed_document(server: RunningServer) -> None:
    answer = httpx2.get(f"{server.url}/openapi.json", timeout=30)
    assert answer.json() == json.loads(PLACE.read_text("utf-8"))
    assert answer.json()["openapi"].startswith("3.1")


def test_the_document_names_every_raw_route() -> None:
    paths = json.loads(PLACE.read_text("utf-8"))["paths"]
    source = Path(make_app.__code__.co_filename).read_text("utf-8")
    named = set(re.findall(r'"(/[a-z_./]+)": \{"', source))
    assert len(named) >= 12
    assert named - paths.keys() == set()


def test_every_operation_says_who_may_and_what_can_go_wrong() -> None:
    operations = [each for path in json.loads(PLACE.read_text("utf-8"))["paths"].values() for each in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    for operation in operations:
        assert {"400", "401", "403", "429", "503"} <= operation["responses"].keys(), operation["operationId"]
        assert operation["security"]
        assert operation["summary"]
        assert "HTTPValidationError" not in json.dumps(operation)


def test_the_websocket_asked_by_plain_http_says_what_it_is(server: RunningServer) -> None:
    answer = httpx2.get(f"{server.url}/ws", timeout=20)
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.json()["code"] == "upgrade_required"


def test_every_code_is_explained_where_problems_point(server: RunningServer) -> None:
    problem = httpx2.get(f"{server.url}/api/v1/cases/nowhere", timeout=30).json()
    page, _, anchor = problem["type"].partition("#")
    text = httpx2.get(f"{server.url}{page}", timeout=30).text
    assert f'id="{anchor}"' in text
    for kind in error_types():
        assert f'id="{kind.code.replace("_", "-")}"' in text


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


@pytest.mark.parametrize("page", ["/docs", "/docs/errors"])
def test_a_page_names_files_of_this_server_alone(server: RunningServer, page: str) -> None:
    answer = httpx2.get(f"{server.url}{page}", timeout=30)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    links = _Links()
    links.feed(answer.text)
    assert links.found
    for link in links.found:
        assert link.startswith(("/", "#")), link
        assert httpx2.get(f"{server.url}{link}", timeout=30).status_code == 200 or link.startswith("#")


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_packed_files_come_as_the_caller_can_read_them(server: RunningServer, encoding: str) -> None:
    answer = httpx2.get(f"{server.url}/docs/swagger-ui-bundle.js", headers={"accept-encoding": encoding}, timeout=30)
    assert answer.headers.get("content-encoding") == ("gzip" if encoding == "gzip" else None)
    assert len(answer.content) > 1_000_000
    assert b"SwaggerUIBundle" in answer.content


@pytest.mark.parametrize("file", ["../../serve/app.py", "..%2f..%2fpy.typed", "LICENSE", "swagger-ui.css.gz", "%00"])
def test_no_other_file_is_given(server: RunningServer, file: str) -> None:
    assert httpx2.get(f"{server.url}/docs/{file}", timeout=30).status_code in (400, 404)


@pytest.mark.service("Chromium")
def test_a_browser_shows_the_document_and_asks_no_other_host(server: RunningServer, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    log = tmp_path / "net.json"
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}",
        f"--log-net-log={log}", "--virtual-time-budget=8000", "--dump-dom", f"{server.url}/docs",
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "opblock" in shown
    assert 'data-path="/api/v1/runs"' in shown
    text = log.read_text("utf-8")
    asked = {urlsplit(url).netloc for url in re.findall(r'"url":"(https?://[^"]+)"', text)}
    assert server.address in asked
    assert {place for place in asked if place != server.address and not _is_browsers_own(place)} == set()


def _is_browsers_own(place: str) -> bool:
    """Chromium itself looks for updates and models of Google; no page makes it do so."""
    return place.endswith((".google.com", ".googleapis.com", ".gvt1.com"))
