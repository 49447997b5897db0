"""The server keeps its own OpenAPI document: thousands of requests that fit it, and that do not, find no mistake."""

from __future__ import annotations

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core import NOT_SET
from tests.servers import RunningServer, serving

from sightline.core.events import make_event, media_key, source_uri
from sightline.core.run import Run, RunKind, RunState

DOCUMENT = Path(__file__).parents[3] / "docs/reference/openapi.json"
ENDLESS = {"/stream", "/stream.mjpeg"}
"""Answers that do not end by themselves; tests/serve/live has them."""
ENDING = {
    "delete_run", "stop_run", "restart_run", "unload_model", "repository_unload", "remove_run_source", "revoke_key",
    "remove_version", "cancel_run", "delete_schedule", "delete_object",
}  # fmt: skip
"""What would take away what the other requests ask for, if it were named to them."""
OUTSIDE = {"health_stream", "probe_source", "start_run", "add_run_source", "change_run_source"}
"""What reaches for addresses that the requests made up: the answer may be that nobody is there."""
LEAST = int(os.environ.get("SIGHTLINE_TEST_REQUESTS", "2000"))
SEED = int(os.environ.get("SIGHTLINE_TEST_SEED", "1"))
LAST = [
    "end_split",
    "end_shadow",
    "remove_version",
    "unload_model",
    "repository_unload",
    "remove_run_source",
    "delete_schedule",
    "delete_object",
    "restart_run",
    "cancel_run",
    "stop_run",
    "delete_run",
]
PHOTO = Path(__file__).parents[2] / "data/photos/castle.jpg"
GATE = {"use": "video", "url": "rtsp://127.0.0.1:9/nobody"}  # a camera that can be opened anew
MANIFEST = "stages: {analytics: {light: {use: brightness}}}"
KINDS = {"put_manifest": "text/yaml", "push_frame": "image/jpeg", "put_object": "application/octet-stream"}
"""Bodies that are no JSON."""
WANTED = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with serving(tmp_path, log__level="error", medical__case="resnet50_classification") as running:
        running.platform.context.artifacts.put("uploads/photo.jpg", PHOTO.read_bytes())
        yield running


def things(server: RunningServer, **sources: Any) -> dict[str, str]:
    """Make a model, jobs and a run with further sources, and return what paths may name."""
    made = {"name": "mine", "file": {"model": "efficientnet-lite0"}, "aliases": ["production"]}
    assert httpx2.post(f"{server.url}/api/v1/models", json=made, timeout=30).status_code == 201
    wish = {
        "case": "dummy_offline",
        "sources": {"door": {"use": "synthetic", "realtime": True, "fps": 2}, "phone": {"use": "push"}, **sources},
        "stands": True,
    }
    answer = httpx2.post(f"{server.url}/api/v1/runs", json=wish, timeout=30)
    assert answer.status_code == 201, answer.text
    event = make_event("line.crossed", source=source_uri("dummy_offline", "door"), time=datetime.now(UTC), data={})
    server.platform.context.store.events.append([event])
    for suffix in (".jpg", ".mp4"):
        server.platform.context.artifacts.put(media_key(event.time, event.id, suffix), b"media of an event")
    store = server.platform.context.store
    jobs = [Run(case="dummy_offline", kind=RunKind.JOB, spec={"object": "uploads/photo.jpg"}) for _ in range(2)]
    photo: dict[str, Any] = {"key": "uploads/photo.jpg", "num_bytes": PHOTO.stat().st_size, "media_type": "image/jpeg"}
    for job, state in zip(jobs, (RunState.COMPLETED, RunState.FAILED), strict=True):
        held = store.runs.create(job, worker="elsewhere")
        store.runs.finish(held.id, held.token, state, status={"files": {"photo": photo}})
    return {
        "object": "uploads/photo.jpg",
        "schedule": "nightly",
        "word": "photo",
        "completed": jobs[0].id,
        "failed": jobs[1].id,
        "event": event.id,
        "model": "mine",
        "name": "mine",
        "version": "1",
        "alias": "production",
        "case": "dummy_offline",
        "run": answer.json()["id"],
        "source": "door",
    }


def named(operation: str, parts: Iterable[str], known: dict[str, str]) -> dict[str, str]:
    """Return what the parts of a path may be called; of some operations they are other things than of most."""
    others = {
        **{name: {"key": known["object"]} for name in ("put_object", "get_object", "delete_object")},
        "get_run_file": {"run": known["completed"]},
        "reconnect_run_source": {"source": known.get("gate", "door")},
        "retry_run": {"run": known["failed"]},
    }
    return {part: others.get(operation, {}).get(part) or known[part] for part in parts}


def schema_of(server: RunningServer) -> Any:
    load_all_checks()
    schema = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_text("utf-8")))
    schema.config.update(base_url=server.url)
    return schema


def test_answers_where_all_goes_well_are_as_the_document_says(server: RunningServer) -> None:
    schema, known = schema_of(server), things(server, gate=GATE) | {"gate": "gate"}
    checks = [CHECKS.get_one(name) for name in WANTED]
    photo = {"image": base64.b64encode(PHOTO.read_bytes()).decode(), "model": "efficientnet-lite0"}
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 3, 224, 224], "data": [0.5] * (3 * 224 * 224)}
    yard = {"use": "synthetic", "num_frames": 2}
    bodies: dict[str, Any] = {
        "create_model": {"name": "mine", "file": {"model": "efficientnet-lite0"}, "title": "Newer"},
        "move_alias": {"version": "1", "expected": "1"},
        "set_split": {"weights": {"1": 1, "2": 1}},
        "start_shadow": {"version": "2"},
        "create_key": {"name": "door"},
        "start_run": {"case": "dummy_offline", "sources": {"a": yard}},
        "add_run_source": {"id": "yard", "source": yard},
        "change_run_source": {"source": yard},
        "probe_source": {"url": str(PHOTO)},
        "create_case": {"name": "mine", "manifest": MANIFEST},
        "check_manifest": {"manifest": MANIFEST},
        "put_manifest": {"stages": {"analytics": {"light": {"use": "brightness"}}}},
        "push_frame": PHOTO.read_bytes(),
        "predict": photo,
        "put_object": PHOTO.read_bytes(),
        "put_schedule": {"case": "dummy_offline", "object": "uploads/photo.jpg", "cron": "@daily"},
        "run_inference": {"job_uuid": "one", "input_object": "uploads/photo.jpg"},
        "forward": {"model": "mine", "inputs": {"image": photo["image"]}},
        "forward_batch": {"model": "mine", "inputs": [{"image": photo["image"]}]},
        "infer": {"inputs": [tensor]},
        "infer_of_version": {"inputs": [tensor]},
        "repository_index": {},
        "repository_load": {},
    }
    operations = {each.ok().definition.raw["operationId"]: each.ok() for each in schema.get_all_operations()}
    # What makes comes first, then what looks, then what takes away.
    order = [*bodies, *(name for name in operations if name not in bodies and name not in LAST), *LAST]
    for name in order:
        operation = operations[name]
        if operation.path in ENDLESS:
            continue
        case = operation.Case(
            path_parameters=named(name, re.findall(r"\{(\w+)\}", operation.path), known),
            query={"model": "mine"} if name == "metadata" else {},
            body=bodies.get(name, NOT_SET),
            media_type=KINDS.get(name, "application/json") if name in bodies else None,
            headers={"If-Match": "*"} if name == "put_manifest" else {},
        )
        if name == "push_frame":
            case.path_parameters["source"] = "phone"
        if name == "remove_version":
            case.path_parameters["version"] = "2"  # to which no alias points
        answer = case.call(timeout=20)
        is_told_so = name == "health_stream" and answer.json()["status"] == "down"  # a source above has ended
        assert answer.status_code < 300 or is_told_so, (name, answer.text)
        case.validate_response(answer, checks=checks)
        if name == "create_key":
            known["key"] = answer.json()["id"]


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore:Do not use the .random. module")  # threads of the server do, for their pauses
def test_two_thousand_requests_find_no_mistake(server: RunningServer) -> None:
    schema, known = schema_of(server), things(server)
    checks = [CHECKS.get_one(name) for name in WANTED]
    operations = [each.ok() for each in schema.get_all_operations() if each.ok().path not in ENDLESS]
    statuses: Counter[int] = Counter()
    for operation in operations:
        fitting, unfitting = (
            operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        )

        @seed(SEED)
        @settings(
            max_examples=round(1.35 * LEAST / len(operations)),  # some have fewer that differ
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(fitting, unfitting), is_known=st.booleans())
        def ask(case: Any, is_known: bool) -> None:
            if is_known and case.operation.definition.raw["operationId"] not in ENDING:
                operation_id = case.operation.definition.raw["operationId"]
                case.path_parameters = named(operation_id, case.path_parameters, known)
            answer = case.call(timeout=20)
            statuses[answer.status_code] += 1
            name = case.operation.definition.raw["operationId"]
            assert answer.status_code < 500 or (answer.status_code in (503, 504) and name in OUTSIDE), answer.text
            case.validate_response(answer, checks=checks)

        ask()
    assert statuses.total() >= LEAST
    assert statuses[200] > LEAST / 10, statuses  # else nothing was asked that could go wrong
