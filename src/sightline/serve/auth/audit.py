"""The audit line: who managed what, when, and how it went. Never what was in it."""

from __future__ import annotations

import getpass
import hashlib
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

import structlog

from sightline.core.access import Caller, Scope
from sightline.core.audit import AuditEntry, AuditLine, AuditStore

# Of its own level: `log.level: error` silences no audit line.
_log: Any = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))

_OBJECTS = "/api/v1/objects/"


def is_audited(scope: Scope | None) -> bool:
    """Return whether a call that needs `scope` leaves an audit line."""
    return scope is Scope.MANAGE or scope is Scope.ADMIN


def shown_path(path: str) -> str:
    """Return the path of what was managed as it may be written down.

    Keys of stored objects are chosen by users and may name a patient: only a hash of them is told, by which a key
    that one knows is found again.
    """
    if not path.startswith(_OBJECTS):
        return path
    return _OBJECTS + "sha256:" + hashlib.sha256(path[len(_OBJECTS) :].encode(errors="replace")).hexdigest()[:16]


def chained(line: AuditLine) -> None:
    """Write down up to where the chain goes: with this, a copy of the log proves what was in the database."""
    _log.info("audit chain", number=line.number, hash=line.hash)


def audit(caller: Caller, *, method: str, route: str, status: int, request_id: str, path: str = "") -> None:
    """Write the line; its time is that of the log.

    Args:
        caller: who asked; of a call that was refused `Caller()`.
        method: of HTTP, or `RPC`.
        route: pattern, for instance `/api/v1/models/{name}`, or the full name of the remote procedure.
        status: of HTTP; of a remote procedure the one that means the same.
        request_id: that of the answer.
        path: what was managed, without the query: `/api/v1/models/door`.
    """
    _log.info(
        "audit",
        caller=caller.id,
        project=caller.project,
        method=method,
        route=route,
        path=path[:256],
        status=status,
        request=request_id,
    )


def audit_command(store: AuditStore, command: str, thing: str) -> None:
    """Bind a line for what somebody managed by the command line, on the machine of the database: as the user there.

    Args:
        store: where the chain is.
        command: `keys revoke`.
        thing: what was managed.
    """
    entry = AuditEntry(
        time=datetime.now(UTC),
        caller=f"cli:{_user()}"[:256],
        project="",
        method="CLI",
        route=command,
        path=thing[:256],
        status=200,
        request="",
    )
    store.append([entry])


def _user() -> str:
    """Return who runs this process; the environment is not asked, for anybody may write there."""
    if sys.platform == "win32":
        return getpass.getuser()
    import pwd  # there is none on Windows

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number that has no name
        return str(os.getuid())
