"""Captures go to a real S3 server by settings alone, and are exported from there."""

from __future__ import annotations

import urllib.request
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store
from tests.programs import sightline
from tests.seaweed import S3Server

CASE = """
source: {use: synthetic, fps: 10, num_frames: 30, realtime: false}
stages: {analytics: {light: {use: brightness}}}
sinks: [{use: capture, every_s: 1}]
"""


@pytest.mark.service("s3")
def test_captures_in_a_bucket_become_a_data_set(s3_server: S3Server, tmp_path: Path) -> None:
    store = S3Store(
        "captures-of-tests",
        endpoint=s3_server.endpoint,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    made = obstore.sign(store, "PUT", "", timedelta(minutes=5))
    urllib.request.urlopen(urllib.request.Request(made, method="PUT"), timeout=30).close()
    (tmp_path / "cases" / "learn").mkdir(parents=True)
    (tmp_path / "cases" / "learn" / "case.yaml").write_text(CASE)
    env = {
        "SIGHTLINE_S3__ENDPOINT": s3_server.endpoint,
        "SIGHTLINE_S3__ACCESS_KEY": s3_server.access_key,
        "SIGHTLINE_S3__SECRET_KEY": s3_server.secret_key,
        "SIGHTLINE_S3__BUCKET": "captures-of-tests",
    }

    assert sightline(tmp_path, "run", "learn", env=env).code == 0
    keys = [entry["path"] for page in obstore.list(store, "captures/learn") for entry in page]
    done = sightline(tmp_path, "export", "captures/learn", "--format", "coco", "--out", "set", env=env)

    assert len(keys) == 6
    assert done.code == 0, done.err
    assert "3 pictures" in done.out
    assert len(list((tmp_path / "set" / "images" / "train").iterdir())) == 3
