"""API keys: what recognises them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import Row, func, select, update

from sightline.adapters.database.checks import checked_filter, checked_name, checked_time
from sightline.adapters.database.tables import api_keys
from sightline.adapters.database.transactions import Transactions
from sightline.core.access import ApiKey, Scope
from sightline.core.errors import Conflict, InvalidInput, NotFound
from sightline.core.stores import KeyStore

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SCOPES = frozenset(Scope)


class SqlKeys(KeyStore):
    """Keys in the table `api_keys`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._now = transactions.dialect.now

    def add(self, key: ApiKey) -> ApiKey:
        """Record a key as one that is not revoked; InvalidInput where its digest is none."""
        if not _DIGEST.fullmatch(key.digest):  # never shown: it may be the key itself, given by mistake
            raise InvalidInput("The digest of an API key is no SHA-256.", cure="Give 64 hexadecimal digits.")
        values = {
            "id": checked_name(key.id, "The id of an API key"),
            "name": checked_name(key.name, "The name of an API key"),
            "digest": key.digest,
            "scopes": sorted(Scope(scope).value for scope in key.scopes),
            "project": checked_name(key.project, "The name of a project"),
            "created": self._now(),
            "expires": None if key.expires is None else checked_time(key.expires, "expires"),
        }
        query = self._transactions.dialect.insert_new(api_keys).values(values).returning(api_keys)
        with self._transactions.writing() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise Conflict(f"An API key of the id {key.id!r} exists already.", cure="Make another key.")
        return _key(row)

    def list(self) -> Sequence[ApiKey]:
        """Return all keys."""
        with self._transactions.reading() as connection:
            rows = connection.execute(select(api_keys).order_by(api_keys.c.position.desc())).all()
        return [_key(row) for row in rows]

    def revoke(self, key_id: str) -> ApiKey:
        """Refuse the key from now on."""
        since = func.coalesce(api_keys.c.revoked, self._now(), type_=api_keys.c.revoked.type)
        change = update(api_keys).where(api_keys.c.id == checked_filter(key_id)).values(revoked=since)
        with self._transactions.writing() as connection:
            row = connection.execute(change.returning(api_keys)).one_or_none()
            if row is None:
                raise NotFound(f"No API key has the id {key_id!r}.", cure="sightline keys list")
        return _key(row)


def _key(row: Row[tuple[object, ...]]) -> ApiKey:
    """Return a row as a key; scopes that only a newer Sightline knows allow nothing here."""
    return ApiKey(
        id=row.id,
        name=row.name,
        digest=row.digest,
        scopes=frozenset(Scope(scope) for scope in row.scopes if scope in _SCOPES),
        project=row.project,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
    )
