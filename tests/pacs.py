"""A picture archive for tests: Orthanc (Debian orthanc, orthanc-dicomweb) with an empty disk, ended with the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.ports import free_port

_PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class Pacs:
    """An archive on this machine.

    Attributes:
        url: its DICOMweb root.
    """

    url: str
    user: str = "tests"
    password: str = "secret-of-the-pacs"


@contextmanager
def orthanc(folder: Path) -> Iterator[Pacs]:
    """Run an archive whose data lies in `folder`; skipped with the reason where it is not installed."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not _PLUGINS.exists():
        reason = "no picture archive: apt-get install orthanc orthanc-dicomweb"
        if os.environ.get("SIGHTLINE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    port = free_port()
    pacs = Pacs(f"http://127.0.0.1:{port}/dicom-web")
    settings = {
        "Name": "Tests",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpServerEnabled": True,
        "HttpPort": port,
        "HttpBindAddresses": ["127.0.0.1"],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {pacs.user: pacs.password},
        "DicomServerEnabled": False,
        "Plugins": [str(_PLUGINS)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(port, process, folder / "log")
            yield pacs
        finally:
            process.kill()  # its data is thrown away
            process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path, timeout_s: float = 60) -> None:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/system", timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            return  # it asks who we are
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the archive did not start:\n{log.read_text(errors='replace')[-2000:]}")
