"""What a manifest may newly have this machine do, when its writer is no admin."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from tests.serve.api.conftest import problem
from tests.servers import serving

from sightline.core.access import Caller, Scope
from sightline.serve.api.manifest_rights import not_allowed
from sightline.serve.auth.keys import new_key

MANAGER = Caller(id="m", scopes=frozenset({Scope.MANAGE}))
ADMIN = Caller(id="a", scopes=frozenset({Scope.ADMIN}))


@pytest.mark.parametrize(
    ("text", "loc"),
    [
        ("source: {use: video, url: /etc/passwd}", "source.url"),
        ("source: {use: video, url: notes.txt}", "source.url"),
        ("source: {use: video, url: 'rtsp://a/b', record_url: notes.txt}", "source.record_url"),
        ("sources: {a: {use: video, url: 'file:///etc/passwd'}}", "sources.a.url"),
        ("source: {use: 'os:system', url: 'rtsp://a/b'}", "source.use"),
        ("sinks: [{use: 'my.module:Sink'}]", "sinks.0.use"),
        ("source: {use: video, url: 'rtsp://camera/${DATABASE_PASSWORD}'}", "source.url"),
        ("metadata: {a: '${HOME}'}", "metadata.a"),
        ("title: ${SECRET:-x}", "title"),
        ("sinks: [{use: jsonl, path: /etc/cron.d/x}]", "sinks.0.path"),
        ("sinks: [{use: jsonl, path: a/../../x}]", "sinks.0.path"),
        ("sinks: [{use: jsonl, path: '~/x'}]", "sinks.0.path"),
        ("stages: {analytics: {a: {use: detector, model: /tmp/evil.onnx}}}", "stages.analytics.a.model"),
        ("source: {use: video, url: '${CASE_DIR}/../../secret.mp4'}", "source.url"),
        ("source: {use: video, url: '${CASE_DIR}/${HOME}'}", "source.url"),
    ],
)
def test_what_only_an_admin_may_write_is_told_with_its_place(text: str, loc: str) -> None:
    [found] = not_allowed(text, "", MANAGER)
    assert found.loc == loc
    assert found.code == "forbidden"
    assert found.line == 1
    assert not_allowed(text, "", ADMIN) == []
    assert not_allowed(f"{text}\n", text, MANAGER) == []  # it stood there before


@pytest.mark.parametrize(
    "text",
    [
        "source: {use: video, url: 'rtsp://camera/door'}",
        "source: {use: video, url: 0}",
        "source: {use: video, url: '${CASE_DIR}/street.mp4'}",
        "title: see /etc or ~ there",
        "sinks: [{use: jsonl, events: events.jsonl}]",
        "stages: {analytics: {a: {use: detector, model: 'nanodet-m@production'}}}",
        "not: [yaml",
        "",
    ],
)
def test_anything_else_may_be_written(text: str) -> None:
    assert not_allowed(text, "", MANAGER) == []


def test_a_password_that_stood_in_an_address_is_not_put_elsewhere() -> None:
    before = "source: {use: video, url: 'rtsp://u:${PW}@camera'}"
    moved = "source: {use: video, url: 'rtsp://elsewhere/${PW}'}"
    assert [each.loc for each in not_allowed(moved, before, MANAGER)] == ["source.url"]
    renamed = "metadata: {shown: 'rtsp://u:${PW}@camera'}"
    assert [each.loc for each in not_allowed(renamed, before, MANAGER)] == ["metadata.shown"]


def test_a_key_that_manages_may_not_reach_into_the_machine(tmp_path: Path) -> None:
    with serving(tmp_path, auth__mode="on") as server:

        def key(*scopes: str) -> dict[str, str]:
            shown, record = new_key("test", [Scope(scope) for scope in scopes])
            server.platform.context.store.keys.add(record)
            return {"authorization": f"Bearer {shown}"}

        manager, reader, asker = key("manage", "read"), key("read"), key("infer")
        with httpx2.Client(base_url=f"{server.url}/api/v1", timeout=20) as http:
            bad = {"name": "door", "manifest": "source: {use: video, url: /etc/passwd}"}
            document = problem(http.post("/cases", json=bad, headers=manager), 403, "forbidden")
            assert document["errors"][0]["code"] == "forbidden"
            checked = http.post("/cases/check", json={"manifest": bad["manifest"]}, headers=manager).json()
            assert (checked["ok"], checked["problems"][0]["loc"]) == (False, "source.url")
            good = {"name": "door", "manifest": "source: {use: synthetic}"}
            assert http.post("/cases", json=good, headers=manager).status_code == 201
            for path in ("/cases/door/manifest", "/log"):
                problem(http.get(path, headers=reader), 403, "forbidden")
                assert http.get(path, headers=manager).status_code == 200
            for path in ("/system", "/plugins", "/cases/schema", "/sources"):
                assert http.get(path, headers=reader).status_code == 200
            problem(http.post("/cases/check", json=good, headers=reader), 403, "forbidden")
            problem(http.post("/sources/door/frames", content=b"x", headers=reader), 403, "forbidden")
            problem(http.post("/sources/door/frames", content=b"x", headers=asker), 404, "not_found")
