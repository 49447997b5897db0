"""Real servers for the adapters: skipped with a reason where one is not installed, required where CI says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.seaweed import S3Server, make_bucket, seaweed


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def bucket(s3_server: S3Server) -> str:
    """The name of a bucket for all tests; each has its own prefix."""
    return make_bucket(s3_server, "tests")
