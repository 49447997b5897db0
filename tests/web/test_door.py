"""`GET /` and `/ui/`: which files, with which headers, for whom."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx2
import pytest
from tests.serve.live.conftest import Served, serving
from tests.web.conftest import BUILT

ASSET = min(path for path in (BUILT / "assets").iterdir() if path.suffix == ".js")


def test_the_page_is_asked_for_anew_and_allows_nothing_from_elsewhere(served: Served) -> None:
    answer = httpx2.get(f"{served.url}/", timeout=30)
    assert answer.content == (BUILT / "index.html").read_bytes()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    again = httpx2.get(f"{served.url}/", headers={"If-None-Match": answer.headers["etag"]}, timeout=30)
    assert (again.status_code, again.content) == (304, b"")


def test_files_with_a_hash_in_their_name_are_kept_for_ever(served: Served) -> None:
    url = f"{served.url}/ui/assets/{ASSET.name}"
    plain = httpx2.get(url, headers={"Accept-Encoding": "identity"}, timeout=30)
    assert plain.content == ASSET.read_bytes()
    assert "immutable" in plain.headers["cache-control"]
    assert "content-encoding" not in plain.headers
    with httpx2.stream("GET", url, headers={"Accept-Encoding": "gzip"}, timeout=30) as zipped:
        body = b"".join(zipped.iter_raw())
        assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == ASSET.read_bytes()


@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/none.js", "/ui/manifest.json", "/ui/assets", "/ui/../web.py", "/ui/%2e%2e/web.py"]
)
def test_what_is_no_file_of_it_is_not_found(served: Served, path: str) -> None:
    assert httpx2.get(f"{served.url}{path}", timeout=30).status_code == 404


def test_it_takes_no_other_method(served: Served) -> None:
    answer = httpx2.post(f"{served.url}/ui/theme.js", timeout=30)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_it_is_open_where_keys_are_asked_for_and_its_data_is_not(tmp_path: Path) -> None:
    with serving(tmp_path, {"SIGHTLINE_AUTH__MODE": "on"}, whole=True) as served:
        assert httpx2.get(f"{served.url}/", timeout=30).status_code == 200
        assert httpx2.get(f"{served.url}/ui/theme.js", timeout=30).status_code == 200
        assert httpx2.get(f"{served.url}/api/v1/sources", timeout=30).status_code == 401
