"""What was managed, over HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx2
from tests.serve.api.conftest import soon
from tests.servers import serving

from sightline.core.access import Scope
from sightline.serve.auth.keys import new_key


def test_calls_that_manage_are_bound_to_the_chain_and_admins_read_it(tmp_path: Path) -> None:
    with serving(tmp_path, auth__mode="on") as server:
        keys = {}
        for scope in (Scope.MANAGE, Scope.ADMIN):
            keys[scope], made = new_key(scope.value, [scope])
            server.platform.context.store.keys.add(made)
        server.platform.gate.refresh()

        def ask(method: str, path: str, scope: Scope | None) -> httpx2.Response:
            headers = {"X-API-Key": keys[scope]} if scope else {}
            return httpx2.request(method, f"{server.url}/api/v1{path}", headers=headers, timeout=30)

        assert ask("DELETE", "/runs/nowhere", Scope.MANAGE).status_code == 404
        assert ask("DELETE", "/runs/nowhere", None).status_code == 401
        assert ask("GET", "/audit", Scope.MANAGE).status_code == 403

        def lines() -> list[tuple[str, str, int]]:
            found = ask("GET", "/audit?limit=500", Scope.ADMIN).json()["items"]
            return [(line["method"], line["path"], line["status"]) for line in reversed(found)]

        soon(lambda: ("GET", "/api/v1/audit", 200) in lines())
        assert lines()[:3] == [
            ("DELETE", "/api/v1/runs/nowhere", 404), ("GET", "/api/v1/audit", 403), ("GET", "/api/v1/audit", 200),
        ]  # fmt: skip
        newest = ask("GET", "/audit?limit=2", Scope.ADMIN).json()
        older = ask("GET", f"/audit?limit=1&after={newest['next']}", Scope.ADMIN).json()["items"]
        assert newest["items"][1]["previous"] == older[0]["hash"]
        verdict = ask("GET", "/audit/verdict", Scope.ADMIN).json()
        assert (verdict["whole"], verdict["broken"]) == (True, None)
        assert verdict["num_lines"] >= 5
        for line in ask("GET", "/audit?limit=500", Scope.ADMIN).json()["items"]:
            assert not any(key in str(line) for key in keys.values())
