from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.core.access import Scope
from sightline.serve.auth.hosts import is_loopback, is_required
from sightline.serve.auth.scopes import scope_of, scope_of_rpc, takes_query_token

READ, INFER, MANAGE, ADMIN = Scope.READ, Scope.INFER, Scope.MANAGE, Scope.ADMIN


@pytest.mark.parametrize(
    ("method", "paths", "scope"),
    [
        ("GET", "/ /ui/assets/a.js /livez /readyz /health /docs /docs/oauth2-redirect /openapi.json", None),
        ("GET", "/static/a.css", None),
        ("GET", "/viewer /favicon.ico /v2 /v2/health/live /v2/health/ready", None),
        ("HEAD", "/livez /health", None),
        ("OPTIONS", "/predict /api/v1/keys /nowhere", None),
        ("GET", "/metrics /stream /stream.mjpeg /ws /health/stream /metadata", READ),
        ("GET", "/api/v1/runs /api/v1/models/door/shadow /v2/models/door /v2/models/door/versions/1/ready", READ),
        ("GET", "/nowhere /livezz /docsx /staticx /uix /v2x /health/x", READ),
        ("POST", "/v2/repository/index", READ),
        ("POST", "/predict /forward /forward_batch /infer", INFER),
        ("POST", "/v2/models/door/infer /v2/models/door/versions/1/infer", INFER),
        ("POST", "/api/v1/runs /v2/repository/models/door/load /v2/repository/models/door/unload", MANAGE),
        ("PUT", "/api/v1/cases/a/sources/b", MANAGE),
        ("PATCH", "/api/v1/runs/1", MANAGE),
        ("DELETE", "/api/v1/runs/1", MANAGE),
        ("post", "/api/v1/runs", MANAGE),
        ("POST", "/nowhere /v2/models/door/other /v2/models/infer/x /livezz", MANAGE),
        ("GET", "/api/v1/log /api/v1/cases/door/manifest /api/v1/cases/./door/manifest", MANAGE),
        ("GET", "/api/v1/system /api/v1/plugins /api/v1/cases/schema /api/v1/runs/1/sources/a/picture", READ),
        ("POST", "/api/v1/sources/door/frames", INFER),
        ("POST", "/api/v1/cases/check /api/v1/runs/1/restart /api/v1/sources/probe /api/v1/sources/a/b/frames", MANAGE),
        ("PUT", "/api/v1/cases/door/manifest", MANAGE),
        ("GET", "/api/v1/objects /api/v1/objects/uploads/a /api/v1/runs/1/files/mask /api/v1/runs/1/logs", READ),
        ("GET", "/api/v1/runs/1/events /api/v1/schedules /api/v1/schedules/nightly", READ),
        ("PUT", "/api/v1/objects/uploads/a /api/v1/objects/uploads/predict /api/v1/schedules/nightly", MANAGE),
        ("DELETE", "/api/v1/objects/uploads/a /api/v1/schedules/nightly", MANAGE),
        ("POST", "/api/v1/runs/1/cancel /api/v1/runs/1/retry", MANAGE),
        ("GET", "/api/v1/objects/../keys", ADMIN),
        ("GET", "/api/v1/keys /api/v1/keys/abc /api/v1/audit /api/v1/audit/verdict", ADMIN),
        ("POST", "/api/v1/keys", ADMIN),
        ("DELETE", "/api/v1/keys/abc", ADMIN),
    ],
)
def test_each_route_needs_its_scope(method: str, paths: str, scope: Scope | None) -> None:
    assert {path: scope_of(method, path) for path in paths.split()} == dict.fromkeys(paths.split(), scope)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/keys/",
        "/api/v1/keys//",
        "//api/v1/keys",
        "/api//v1///keys",
        "/api/v1/./keys",
        "/api/v1/runs/../keys",
        "/livez/../api/v1/keys",
        "/docs/../api/v1/keys",
        "/static/../../api/v1/keys",
        "/API/V1/Keys",
        "/api/v1/%6beys",
        "/api/v1/%6Beys",
        "/api/v1/%256beys",
        "/docs/%2e%2e/api/v1/keys",
        "/docs/%2E%2E%2Fapi/v1/keys",
        "/docs/%252e%252e/api/v1/keys",
        "/docs/..%5capi%5cv1%5ckeys",
        "/docs/..\\api\\v1\\keys",
        "/api/v1/keys;x=1",
        "/api/v1;x/keys",
        "/api/v1/keys/../../../livez",
        "/%2525252525252561pi/v1/keys",
    ],
)
def test_a_disguised_path_needs_no_less(path: str) -> None:
    assert scope_of("GET", path) is ADMIN


@pytest.mark.parametrize("path", ["//livez", "/./livez", "/x/../livez", "/%6civez", "/LIVEZ", "/docs/..", "/livez;x"])
def test_what_is_open_is_open_by_its_plain_name_only(path: str) -> None:
    assert scope_of("GET", path) in (READ, None)
    assert scope_of("POST", path) in (MANAGE, None)
    assert scope_of("GET", path) is READ or path == "/docs/.."


@given(st.text("aeiklpsvy1/.%25;\\KE", max_size=30), st.sampled_from(["GET", "POST"]))
def test_nothing_before_it_lowers_what_keys_need(prefix: str, method: str) -> None:
    path = f"/{prefix}{'/..' * 32}/api/v1/keys"

    assert scope_of(method, path) is ADMIN
    assert scope_of(method, quote(path)) is ADMIN


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("/inference.GRPCInferenceService/ServerLive", None),
        ("/inference.GRPCInferenceService/ServerReady", None),
        ("/inference.GRPCInferenceService/ServerMetadata", None),
        ("/grpc.health.v1.Health/Check", None),
        ("/inference.GRPCInferenceService/ModelReady", READ),
        ("/inference.GRPCInferenceService/ModelMetadata", READ),
        ("/inference.GRPCInferenceService/RepositoryIndex", READ),
        ("/inference.GRPCInferenceService/ModelInfer", INFER),
        ("/inference.GRPCInferenceService/ModelStreamInfer", INFER),
        ("/inference.GRPCInferenceService/RepositoryModelLoad", MANAGE),
        ("/sightline.v1.ModelService/InferModel", INFER),
        ("/sightline.v1.ModelService/CreateModel", MANAGE),
        ("/other.Service/ServerLive", MANAGE),
        ("/other/Anything", MANAGE),
        ("", MANAGE),
    ],
)
def test_each_remote_procedure_needs_its_scope(name: str, scope: Scope | None) -> None:
    assert scope_of_rpc(name) is scope


def test_a_token_in_the_query_counts_only_where_a_browser_cannot_set_a_header() -> None:
    assert all(takes_query_token(path) for path in ("/stream", "/stream.mjpeg", "/ws", "/viewer"))
    assert not any(takes_query_token(path) for path in ("/predict", "/api/v1/keys", "/ws/", "/stream/x", "/metrics"))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_loopback_is_loopback(host: str) -> None:
    assert is_loopback(host)
    assert (is_required("auto", host), is_required("on", host), is_required("off", host)) == (False, True, False)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",  # noqa: S104 - nothing is bound
        "::",
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "127.0.0.1.example.org",
        "localhost.example.org",
        "127.1",
        "x",
    ],
)
def test_everything_else_is_public(host: str) -> None:
    assert not is_loopback(host)
    assert (is_required("auto", host), is_required("on", host), is_required("off", host)) == (True, True, False)
