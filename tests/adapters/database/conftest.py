"""A database without any table; of PostgreSQL one that this session makes and drops on the server that runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from sightline.adapters.database.transactions import Transactions

_TURN = 7_402_611_853  # any number that nobody else locks
DEFAULT = "postgresql+psycopg://postgres@127.0.0.1:5432/test"


def give_up(reason: str) -> NoReturn:
    if os.environ.get("SIGHTLINE_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def turn(engine: Engine) -> Iterator[Connection]:
    """Be the only test process that writes: events wait for every transaction of the whole server, ours or not."""
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({_TURN})"))
        yield connection  # its end gives the lock back


@pytest.fixture(scope="session")
def database() -> Iterator[tuple[str, Engine]]:
    if find_spec("psycopg") is None:
        give_up("psycopg is not installed")
    server = make_url(os.environ.get("SIGHTLINE_TEST_POSTGRES", DEFAULT))
    engine = create_engine(
        server, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 30}, poolclass=NullPool
    )
    name = f"sightline_test_{uuid4().hex[:12]}"
    try:
        with turn(engine) as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError as error:
        engine.dispose()
        reason = f"no PostgreSQL at {server.host}:{server.port}: {str(error.orig).splitlines()[0]}"
        give_up(reason)
    yield server.set(database=name).render_as_string(hide_password=False), engine
    with turn(engine) as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def postgres_url(database: tuple[str, Engine]) -> Iterator[str]:
    url, engine = database
    with turn(engine):
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.service("postgres"))])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    url = request.getfixturevalue("postgres_url")
    clear(url)
    yield url
    clear(url)


def clear(url: str) -> None:
    with closing(Transactions(url)) as transactions, transactions.writing() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
