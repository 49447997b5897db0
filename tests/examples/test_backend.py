"""The example backend, run really: an upload goes in, its page hears how it ended, files come out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.docs.runner import ROOT
from tests.ports import free_port
from tests.serve.medical.tiny import TOKEN, write_letters
from tests.servers import serving
from websockets.sync.client import connect

EXAMPLE = ROOT / "examples/backend"


@contextmanager
def example(port: int, sightline: str) -> Iterator[str]:
    """Run the example as its README says."""
    env = {**os.environ, "ML_SERVICE_TOKEN": TOKEN, "SIGHTLINE_URL": sightline}
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=EXAMPLE, env=env, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        end_s = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end_s
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def asked(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_scan_is_uploaded_analysed_told_and_downloaded(tmp_path: Path) -> None:
    write_letters(tmp_path)
    port = free_port()
    settings: dict[str, Any] = {"auth__mode": "on", "auth__service_token": TOKEN, "medical__case": "letters"}
    with (
        serving(tmp_path, backend__url=f"http://127.0.0.1:{port}", **settings) as running,
        example(port, running.url) as url,
    ):
        with connect(f"ws://127.0.0.1:{port}/ws") as page:
            status, answer = asked(f"{url}/analyses?name=scan.txt", b"abcd")
            assert status == 202, answer
            job = json.loads(answer)["job"]
            told = json.loads(page.recv(timeout=60))
            assert (told["job"], told["status"], told["file_name"]) == (
                job,
                "completed",
                f"analysis_{job[:8]}.nii.gz",
            )
            asked(f"{url}/analyses?name=scan.txt", b"broken")
            failed = json.loads(page.recv(timeout=60))
            assert (failed["status"], failed["error_kind"]) == ("failed", "validation")
        for what, text in (("output", "mask"), ("json", "json"), ("xlsx", "xlsx")):
            status, data = asked(f"{url}/analyses/{job}/{what}")
            assert (status, data) == (200, f"{text} fast_debug 0.5 : 4".encode())
        assert [each["status"] for each in json.loads(asked(f"{url}/analyses")[1])] == ["completed", "failed"]
        completion = f"{url}/internal/jobs/{job}/completion"
        assert asked(completion, b"{}")[0] == 401
        assert asked(completion, b"{}", authorization=f"Bearer {TOKEN}")[0] == 401
