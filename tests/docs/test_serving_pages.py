"""What the pages about serving show is what happens; in a file of their own, for servers take their time."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from tests.docs.runner import ROOT, RUN, has_server, run_page
from tests.docs.servers import Servers


@pytest.mark.service("curl")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [page for page in RUN if has_server(page)])
def test_every_block_of_the_page_does_what_it_says(page: str, desk: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    assert run_page(ROOT / page, desk) > 0


def test_ports_that_a_reader_sees_become_free_ones(tmp_path: Path) -> None:
    servers = Servers(tmp_path)
    shown = servers.shown("curl localhost:8000/livez, gRPC at 8001, 18000 rows")
    assert "8000/" not in shown
    assert "8001" not in shown
    assert shown.endswith("18000 rows")
    assert servers.shown("localhost:8000/livez") in shown


def test_a_server_that_ends_at_once_fails_the_page(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no such case: the server ended"), Servers(tmp_path) as servers:
        servers.start(f"{sys.executable} -c 'exit(3)'", tmp_path, {}, "no such case")


def test_a_server_that_ends_badly_fails_the_page(tmp_path: Path) -> None:
    listens = (
        "import os, signal, socket, time;"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(7));"
        "s = socket.create_server(('127.0.0.1', int(os.environ['SIGHTLINE_SERVER__PORT']))); time.sleep(60)"
    )
    with pytest.raises(AssertionError, match="here: the server ended with 7"), Servers(tmp_path) as servers:
        servers.start(f'{sys.executable} -c "{listens}"', tmp_path, {}, "here")
