"""Events of a source that somebody added, changed, removed or stopped say who that was, as the audit line does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
from tests.serve.api.conftest import soon
from tests.servers import serving

from sightline.core.access import Scope
from sightline.serve.auth.keys import new_key

DRAWN = {"use": "synthetic", "fps": 10, "size": [64, 48]}
PUSHED: dict[str, Any] = {"use": "push"}


def test_events_of_sources_say_who_asked(tmp_path: Path) -> None:
    with serving(tmp_path, auth__mode="on") as server:
        headers, ids = {}, {}
        for name in ("ann", "bob"):
            shown, record = new_key(name, [Scope.MANAGE, Scope.READ])
            server.platform.context.store.keys.add(record)
            headers[name], ids[name] = {"authorization": f"Bearer {shown}"}, record.id
        with httpx2.Client(base_url=f"{server.url}/api/v1", timeout=20, headers=headers["ann"]) as http:

            def told(source: str) -> list[tuple[str, str, str | None]]:
                asked = {"type": "source.*", "case": "dummy_offline", "source": source, "order": "asc"}
                found = http.get("/events", params=asked).json()["items"]
                named = {key: name for name, key in ids.items()}
                return [
                    (each["type"].split(".")[3], each["data"]["reason"], named.get(each["data"].get("by", "")))
                    for each in found
                ]

            begun = {"case": "dummy_offline", "sources": {"door": DRAWN}, "stands": True}
            run = http.post("/runs", json=begun).json()["id"]
            sources = f"/runs/{run}/sources"
            assert http.post(sources, json={"id": "phone", "source": PUSHED}, headers=headers["bob"]).status_code == 201
            soon(lambda: [(each[0], each[2]) for each in told("phone")] == [("connecting", "bob")])
            changed = {"source": {**PUSHED, "num_waiting": 3}}
            assert http.put(f"{sources}/phone", json=changed).status_code == 200
            soon(lambda: len(told("phone")) == 3)
            assert [(each[0], each[2]) for each in told("phone")[1:]] == [("stopped", "ann"), ("connecting", "ann")]
            assert http.delete(f"{sources}/phone", headers=headers["bob"]).status_code == 204
            soon(lambda: len(told("phone")) == 4)
            assert told("phone")[-1] == ("stopped", "the source was removed", "bob")
            assert http.put(f"{sources}/door", json={"source": DRAWN}).status_code == 200  # as it is: nothing happens
            assert http.delete(f"/runs/{run}", headers=headers["bob"]).status_code == 202
            soon(lambda: ("stopped", "the run was stopped", "bob") in told("door"))
            assert not any(who for state, _, who in told("door") if state != "stopped")
