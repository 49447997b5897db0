"""Who may: API keys, signed tokens, scopes and rates, for every door alike."""

from __future__ import annotations

from sightline.serve.auth.audit import is_audited, shown_path
from sightline.serve.auth.audit_log import AuditLog
from sightline.serve.auth.credentials import challenge
from sightline.serve.auth.examples import refuse_examples_in
from sightline.serve.auth.files import secret_files
from sightline.serve.auth.gate import Gate
from sightline.serve.auth.hosts import is_loopback, is_required
from sightline.serve.auth.keys import first_key
from sightline.serve.auth.scopes import scope_of, scope_of_rpc, takes_query_token

__all__ = [
    "AuditLog",
    "Gate",
    "challenge",
    "first_key",
    "is_audited",
    "is_loopback",
    "is_required",
    "refuse_examples_in",
    "scope_of",
    "scope_of_rpc",
    "secret_files",
    "shown_path",
    "takes_query_token",
]
