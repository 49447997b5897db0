"""`/api/v1/keys`: who may ask; for admins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path

from sightline.core.access import ApiKey, Scope
from sightline.core.errors import InvalidInput, NotFound
from sightline.serve.api.asked import PREFIX, After, Json, Limit, Route, answer, page_of, told
from sightline.serve.api.shapes import KeyShape, KeyWish, NewKey, Page
from sightline.serve.auth.keys import new_key
from sightline.serve.platform import Platform


class KeyDoors:
    """Answers `/keys`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = router = APIRouter(prefix=PREFIX, tags=["keys"], route_class=Route)
        router.add_api_route("/keys", self.list_all, response_model=Page[KeyShape], name="list_keys")
        router.add_api_route(
            "/keys", self.create, methods=["POST"], status_code=201, response_model=NewKey, name="create_key"
        )
        router.add_api_route("/keys/{key}", self.revoke, methods=["DELETE"], response_model=KeyShape, name="revoke_key")

    def list_all(self, limit: Limit = 50, after: After = None) -> Any:
        """List the keys, also those that are over, without what is secret of them."""
        rows = [_facts(key) for key in self._platform.context.store.keys.list()]
        return page_of(rows, limit, after, lambda row: row["id"])

    def create(self, wish: KeyWish) -> Json:
        """Make a key; it is shown now and never again."""
        expires = wish.expires
        if expires is not None:
            try:
                expires = expires.replace(tzinfo=UTC) if expires.tzinfo is None else expires.astimezone(UTC)
            except OverflowError:
                raise InvalidInput("`expires` is no time of the years 1 to 9999.") from None
        key, made = new_key(wish.name, wish.scopes, project=wish.project, expires=expires)
        kept = self._platform.context.store.keys.add(made)
        return answer({**_facts(kept), "key": key}, 201, Cache_Control="no-store")

    def revoke(self, key: Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_]+$")]) -> Any:
        """Refuse a key from now on; processes that run know it within two seconds."""
        try:
            return _facts(self._platform.context.store.keys.revoke(key))
        except NotFound:
            raise NotFound(f"There is no key of id {key[:32]!r}.", cure="GET /api/v1/keys shows the ids.") from None


def _facts(key: ApiKey) -> dict[str, Any]:
    over = key.expires is not None and key.expires <= datetime.now(UTC)
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope.value for scope in Scope if scope in key.scopes],
        "project": key.project,
        "created": told(key.created),
        "expires": told(key.expires),
        "revoked": told(key.revoked),
        "state": "revoked" if key.revoked is not None else "expired" if over else "valid",
    }
