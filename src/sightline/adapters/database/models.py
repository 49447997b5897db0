"""Model versions, their aliases, and where the aliases pointed before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from sightline.adapters.database.checks import checked_filter, plain
from sightline.adapters.database.tables import alias_moves, aliases, models
from sightline.adapters.database.transactions import Transactions
from sightline.core.errors import Conflict, ModelNotFound
from sightline.core.events import Event
from sightline.core.model import Model, ModelCard, TensorSpec, checked_model_name
from sightline.core.stores import ModelStore

DEFAULT_ALIAS = "production"
"""What a model's name alone means, where this alias is set."""

_REMOVED = "removed"  # in the JSON of a card: its version was taken away; the row keeps the number
_CARD_FIELDS = frozenset(field.name for field in fields(ModelCard))


class SqlModels(ModelStore):
    """Models in the tables `models`, `model_aliases` and `model_alias_moves`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._now = transactions.dialect.now

    def add(self, model: Model, *, events: Sequence[Event] = ()) -> Model:
        """Record a version. Its `aliases` are not looked at: `point` moves those."""
        values = {
            "name": checked_model_name(model.name),
            "version": checked_model_name(model.version),
            "card": encode_card(model.card),
            "files": model.files,
            "created": self._now(),
        }
        query = self._transactions.dialect.insert_new(models).values(values).returning(models)
        with self._transactions.writing(events) as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise Conflict(f"The model {model.ref} exists already.", cure="Give the new one another version.")
        return _model(row, ())

    def get(self, name: str, version: str | None = None) -> Model:
        """Return one version."""
        name, version = checked_filter(name), None if version is None else checked_filter(version)
        with self._transactions.reading() as connection:
            pointed = _aliases(connection, name)[name]
            wanted = pointed.get(DEFAULT_ALIAS) if version is None else version
            query = select(models).where(models.c.name == name).order_by(models.c.position.desc())
            if wanted is not None:  # a version of this very name goes before what an alias of this name points at
                meant = {wanted, pointed.get(wanted, wanted)}
                query = query.where(models.c.version.in_(meant)).order_by(None).order_by(models.c.version != wanted)
            row = next(filter(_is_there, connection.execute(query)), None)
            if row is None:
                raise _not_found(connection, name, version)
        return _model(row, _pointing_at(pointed, row.version))

    def list(self, name: str | None = None) -> Sequence[Model]:
        """Return all versions."""
        query = select(models)
        if name is not None:
            query = query.where(models.c.name == checked_filter(name))
        with self._transactions.reading() as connection:
            pointed = _aliases(connection, name)
            rows = connection.execute(query.order_by(models.c.position.desc())).all()
        # Sorted here: the databases disagree about the order of letters.
        by_name = sorted(filter(_is_there, rows), key=lambda row: str(row.name))
        return [_model(row, _pointing_at(pointed[row.name], row.version)) for row in by_name]

    def taken(self, name: str) -> Sequence[str]:
        """Return every version that a name ever had."""
        query = select(models.c.version).where(models.c.name == checked_filter(name))
        with self._transactions.reading() as connection:
            return list(connection.execute(query).scalars())

    def remove(self, name: str, version: str, *, events: Sequence[Event] = ()) -> None:
        """Empty the row of a version, and keep it for its number."""
        name, version = checked_filter(name), checked_filter(version)
        here = (models.c.name == name, models.c.version == version)
        with self._transactions.writing(events) as connection:
            row = connection.execute(select(models).where(*here).with_for_update()).one_or_none()
            if row is None or not _is_there(row):
                raise _not_found(connection, name, version)
            if pointing := _pointing_at(_aliases(connection, name)[name], version):
                raise Conflict(
                    f"The alias {pointing[0]} points at {name}@{version}.", cure="Move it to another version first."
                )
            connection.execute(update(models).where(*here).values(card={**row.card, _REMOVED: True}, files={}))

    def point(self, name: str, alias: str, version: str, *, expected: str | None, events: Sequence[Event] = ()) -> None:
        """Move `alias` by compare-and-set."""
        checked_model_name(alias)
        name, version = checked_filter(name), checked_filter(version)
        expected = None if expected is None else checked_filter(expected)
        with self._transactions.writing(events) as connection:
            known = select(models).where(models.c.name == name, models.c.version == version).with_for_update()
            row = connection.execute(known).one_or_none()
            if row is None or not _is_there(row):
                raise _not_found(connection, name, version)
            target = {"name": name, "alias": alias, "version": version}
            if expected is None:
                change = self._transactions.dialect.insert_new(aliases).values(target)
            else:
                here = (aliases.c.name == name, aliases.c.alias == alias, aliases.c.version == expected)
                change = update(aliases).where(*here).values(version=version)
            if connection.execute(change.returning(aliases.c.version)).one_or_none() is None:
                now = _aliases(connection, name)[name].get(alias)
                at = "nowhere" if now is None else f"at version {now}"
                raise Conflict(
                    f"The alias {name}@{alias} points {at}, not {'nowhere' if expected is None else f'at {expected}'}.",
                    cure="Look at it again, then decide anew.",
                )
            connection.execute(insert(alias_moves).values(target | {"moved": self._now()}))

    def history(self, name: str, alias: str) -> Sequence[tuple[datetime, str]]:
        """Return the moves of an alias, the newest first."""
        query = (
            select(alias_moves.c.moved, alias_moves.c.version)
            .where(alias_moves.c.name == checked_filter(name), alias_moves.c.alias == checked_filter(alias))
            .order_by(alias_moves.c.position.desc())
        )
        with self._transactions.reading() as connection:
            return [(row.moved, row.version) for row in connection.execute(query)]


def encode_card(card: ModelCard) -> dict[str, Any]:
    """Return a card as JSON."""
    wire = {field.name: plain(getattr(card, field.name)) for field in fields(card)}
    return wire | {key: [asdict(spec) for spec in getattr(card, key)] for key in ("inputs", "outputs")}


def decode_card(wire: Mapping[str, Any]) -> ModelCard:
    """Return the card that `encode_card` described; fields that a newer Sightline wrote are passed over."""
    known = {key: value for key, value in wire.items() if key in _CARD_FIELDS}
    for key in ("inputs", "outputs"):
        known[key] = tuple(
            TensorSpec(name=spec["name"], dtype=spec["dtype"], shape=tuple(spec["shape"])) for spec in known[key]
        )
    return ModelCard(**known | {"labels": tuple(known["labels"])})


def _model(row: Row[Any], pointing: tuple[str, ...]) -> Model:
    return Model(
        name=row.name,
        version=row.version,
        card=decode_card(row.card),
        files=row.files,
        aliases=pointing,
        created=row.created,
    )


def _aliases(connection: Connection, name: str | None) -> defaultdict[str, dict[str, str]]:
    """Return model name -> alias -> version, of one model or of all."""
    query = select(aliases)
    if name is not None:
        query = query.where(aliases.c.name == name)
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(query):
        found[row.name][row.alias] = row.version
    return found


def _is_there(row: Row[Any]) -> bool:
    return _REMOVED not in row.card


def _pointing_at(pointed: Mapping[str, str], version: str) -> tuple[str, ...]:
    return tuple(sorted(alias for alias, target in pointed.items() if target == version))


def _not_found(connection: Connection, name: str, version: str | None) -> ModelNotFound:
    """Say what there is instead."""
    rows = connection.execute(select(models).where(models.c.name == name).order_by(models.c.position.desc()).limit(20))
    if known := [row.version for row in rows if _is_there(row)]:
        return ModelNotFound(f"The model {name} has no version or alias {version!r}. Known: {', '.join(known)}.")
    names = {row.name for row in connection.execute(select(models).limit(200)) if _is_there(row)}
    return ModelNotFound(f"No model is called {name!r}. Known: {', '.join(sorted(names)) or 'none'}.")
