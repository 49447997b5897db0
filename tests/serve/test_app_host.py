"""Which address another program tells its server to listen at: one that others can reach must never look like ours."""

from __future__ import annotations

import pytest

from sightline.serve.app import _host


@pytest.mark.parametrize(
    ("arguments", "host"),
    [
        ("uvicorn app --host 127.0.0.1 --port 8000", "127.0.0.1"),
        ("uvicorn app --host=0.0.0.0", "0.0.0.0"),  # noqa: S104 - is only read
        ("uvicorn app --host 127.0.0.1 --host 0.0.0.0", "0.0.0.0"),  # noqa: S104
        ("gunicorn -b 127.0.0.1:1 -b 0.0.0.0:8000 app", "0.0.0.0"),  # noqa: S104
        ("gunicorn -b127.0.0.1:1 -b0.0.0.0:8000 app", "0.0.0.0"),  # noqa: S104
        ("gunicorn --bind=[::1]:8000 app", "[::1]"),
        ("gunicorn -b :8000 -b 127.0.0.1:1 app", ""),
        ("uvicorn app --uds /run/x.sock", ""),
        ("uvicorn app --host", ""),
    ],
)
def test_the_most_public_address_counts(arguments: str, host: str) -> None:
    assert _host(arguments.split()) == host
