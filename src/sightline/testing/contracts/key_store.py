"""What every KeyStore promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest

from sightline.core.access import ApiKey, Scope
from sightline.core.errors import Conflict, InvalidInput, NotFound
from sightline.core.stores import MetadataStore

_DIGEST = sha256(b"sk_laptop_and_the_rest").hexdigest()


def make_key(key_id: str = "sk_laptop") -> ApiKey:
    """Return a key that can be recorded."""
    return ApiKey(id=key_id, name="Laptop of Ада", digest=_DIGEST, scopes=frozenset({Scope.READ, Scope.INFER}))


class KeyStoreContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_a_key_comes_back_as_it_was_added(self, store: MetadataStore) -> None:
        expires = datetime(2027, 1, 1, 12, 30, 0, 250_000, tzinfo=timezone(timedelta(hours=3)))
        key = replace(make_key(), project="lab", expires=expires)
        added = store.keys.add(key)
        assert added.created is not None
        assert added.created.utcoffset() == timedelta(0)
        assert added == replace(key, created=added.created)
        assert store.keys.list() == [added]

    @pytest.mark.parametrize("scopes", [frozenset[Scope](), frozenset(Scope)])
    def test_a_key_may_have_no_scope_or_all(self, store: MetadataStore, scopes: frozenset[Scope]) -> None:
        assert store.keys.add(replace(make_key(), scopes=scopes)).scopes == scopes

    def test_a_key_is_added_once(self, store: MetadataStore) -> None:
        added = store.keys.add(make_key())
        with pytest.raises(Conflict, match="sk_laptop"):
            store.keys.add(replace(make_key(), digest="0" * 64))
        assert store.keys.list() == [added]

    def test_a_new_key_is_not_revoked_whatever_it_says(self, store: MetadataStore) -> None:
        past = datetime(2020, 1, 1, tzinfo=UTC)
        added = store.keys.add(replace(make_key(), created=past, revoked=past))
        assert added.revoked is None
        assert added.created != past

    def test_keys_are_listed_the_newest_first_and_also_those_that_are_refused(self, store: MetadataStore) -> None:
        store.keys.add(make_key("sk_one"))
        store.keys.add(replace(make_key("sk_two"), expires=datetime(2020, 1, 1, tzinfo=UTC)))
        store.keys.add(make_key("sk_three"))
        store.keys.revoke("sk_three")
        assert [key.id for key in store.keys.list()] == ["sk_three", "sk_two", "sk_one"]

    def test_a_revoked_key_says_since_when_and_a_second_time_changes_nothing(self, store: MetadataStore) -> None:
        added, other = store.keys.add(make_key()), store.keys.add(make_key("sk_other"))
        revoked = store.keys.revoke(added.id)
        assert added.created is not None
        assert revoked.revoked is not None
        assert revoked.revoked >= added.created
        assert revoked == replace(added, revoked=revoked.revoked)
        assert store.keys.revoke(added.id) == revoked
        assert store.keys.list() == [other, revoked]

    def test_revoking_an_absent_key_says_which(self, store: MetadataStore) -> None:
        with pytest.raises(NotFound, match="sk_nobody"):
            store.keys.revoke("sk_nobody")

    @pytest.mark.parametrize("digest", ["", "sk_laptop_and_the_rest", "0" * 63, "0" * 65, "G" * 64, "0" * 64 + "\n"])
    def test_what_is_no_digest_is_refused_and_not_shown(self, store: MetadataStore, digest: str) -> None:
        with pytest.raises(InvalidInput, match="SHA-256") as caught:
            store.keys.add(replace(make_key(), digest=digest))
        assert not digest or digest not in f"{caught.value}{caught.value.cure}"
        assert store.keys.list() == []

    @pytest.mark.parametrize("text", ["", "nul\0", "half \ud83d", "a" * 5000])
    def test_text_of_a_key_that_cannot_be_kept_is_refused(self, store: MetadataStore, text: str) -> None:
        for broken in (
            replace(make_key(), id=text),
            replace(make_key(), name=text),
            replace(make_key(), project=text),
        ):
            with pytest.raises(InvalidInput):
                store.keys.add(broken)
        assert store.keys.list() == []

    def test_a_key_that_expires_says_the_zone(self, store: MetadataStore) -> None:
        with pytest.raises(InvalidInput, match="zone"):
            store.keys.add(replace(make_key(), expires=datetime(2027, 1, 1)))  # noqa: DTZ001 - what is refused
