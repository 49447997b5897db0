"""Which scope a route or a remote procedure needs.

Knows names only. What is asked for under a disguised name (double slashes, dot segments, percent signs, other case)
needs at least what the plain name needs, whatever a router makes of it; what nobody listed here is not open.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

from sightline.core.access import Scope

_RANK = (None, Scope.READ, Scope.INFER, Scope.MANAGE, Scope.ADMIN)
_SAFE = frozenset({"GET", "HEAD"})
_OPEN = frozenset({"/", "/livez", "/readyz", "/health", "/openapi.json", "/viewer", "/favicon.ico", "/v2"})
_OPEN_FOLDERS = ("/docs", "/static", "/ui", "/v2/health")
_PREDICTING = frozenset({"/predict", "/forward", "/forward_batch", "/infer"})
_INFERRING = re.compile(r"/v2/models/.*/infer|/api/v1/sources/[^/]+/frames")
_AS_WRITTEN = re.compile(r"/api/v1/log|/api/v1/cases/[^/]+/manifest")
"""What is read as somebody wrote it: passwords may be among it."""

_ADMIN = frozenset({"/api/v1/keys", "/api/v1/audit"})
_QUERY_TOKEN = frozenset({"/stream", "/stream.mjpeg", "/ws", "/viewer"})
_LONGEST = 256  # letters of a path that is remembered
_UNQUOTED = 4  # rounds; a name that is still not plain is nobody's honest request

_RPC_OPEN = frozenset({"ServerLive", "ServerReady", "ServerMetadata"})
_RPC_INFER = frozenset({"ModelInfer", "ModelStreamInfer", "InferModel"})
_RPC_READ = frozenset({"ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics", "RepositoryIndex"})


def scope_of(method: str, path: str) -> Scope | None:
    """Return what a request needs; None: it is open to everybody.

    Args:
        method: of HTTP; `GET` for a WebSocket. `OPTIONS` is open: a browser asks it without credentials.
        path: without the query, as the server decoded it.
    """
    # What is long is not remembered: a stranger must not fill the memory with paths.
    return _remembered(method, path) if len(path) <= _LONGEST else _scope_of(method, path)


def _scope_of(method: str, path: str) -> Scope | None:
    method = method.upper()
    if method == "OPTIONS":
        return None
    plain = _plain(path)
    if plain is None:
        return Scope.ADMIN
    given = path[:-1] if path[-1:] == "/" and len(path) > 1 else path
    needs = (_need(method, given), _need(method, plain))
    return max(needs, key=_RANK.index)


_remembered = lru_cache(maxsize=2048)(_scope_of)


def scope_of_rpc(method: str) -> Scope | None:
    """Return what a remote procedure needs, by its full name `/inference.GRPCInferenceService/ModelInfer`."""
    service, _, name = method.removeprefix("/").partition("/")
    if service == "grpc.health.v1.Health" or (service == "inference.GRPCInferenceService" and name in _RPC_OPEN):
        return None
    if name in _RPC_INFER:
        return Scope.INFER
    if name in _RPC_READ or service.startswith("grpc.reflection."):
        return Scope.READ
    return Scope.MANAGE


def takes_query_token(path: str) -> bool:
    """Return whether `?access_token=` counts here: where a browser cannot set a header, and nowhere else."""
    return path in _QUERY_TOKEN


def _need(method: str, path: str) -> Scope | None:
    if path in _OPEN or any(path == folder or path.startswith(f"{folder}/") for folder in _OPEN_FOLDERS):
        return None
    if path in _PREDICTING or (method not in _SAFE and _INFERRING.fullmatch(path)):
        return Scope.INFER
    if path in _ADMIN or path.startswith(tuple(f"{folder}/" for folder in _ADMIN)):
        return Scope.ADMIN
    if _AS_WRITTEN.fullmatch(path):
        return Scope.MANAGE
    if method in _SAFE or path == "/v2/repository/index":  # a list, although the protocol asks for it by POST
        return Scope.READ
    return Scope.MANAGE  # also for what is unknown: a route that was forgotten here is not given to everybody


def _plain(path: str) -> str | None:
    """Return the plain name of what `path` may be taken for; None if that cannot be told."""
    for _ in range(_UNQUOTED):
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    else:
        return None
    kept: list[str] = []
    for part in path.replace("\\", "/").lower().split("/"):
        segment = part.partition(";")[0].strip()
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept)
