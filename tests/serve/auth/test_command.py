"""`sightline keys` on a real database, and the gate on the same one."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import Cli, only_cause, opened

from sightline.core.access import Scope
from sightline.core.errors import Unauthenticated
from sightline.serve.auth import Gate, first_key, secret_files
from sightline.settings import load_settings
from sightline.settings.model import AuthSettings
from sightline.testing.contracts.audit_store import make_entry


def test_a_key_is_printed_alone_and_opens_the_gate(cli: Cli, tmp_path: Path) -> None:
    made = cli("keys", "create", "door", "--scope", "manage", "--scope", "READ", "--project", "yard")
    key = made.out.strip()

    assert made.code == 0
    assert re.fullmatch(r"sl_[a-z0-9]{8}_[A-Za-z0-9]{32,}", key)
    assert "may read, manage" in made.err
    assert key not in made.err
    with opened(tmp_path) as build:
        gate = Gate(AuthSettings(), lambda: build.store.keys, required=True)
        gate.refresh()
        assert gate.admit(f"Bearer {key}", None, Scope.MANAGE).project == "yard"
        assert cli("keys", "revoke", key[3:11]).out == f"revoked {key[3:11]} (door)\n"
        gate.refresh()
        with pytest.raises(Unauthenticated, match="was revoked"):
            gate.admit(f"Bearer {key}", None, Scope.READ)


def test_the_list_shows_every_key_and_nothing_that_is_secret(cli: Cli, tmp_path: Path) -> None:
    door = json.loads(cli("keys", "create", "door", "--expires", "30d", "--json").out)
    yard = json.loads(cli("keys", "create", "yard", "--json").out)
    cli("keys", "revoke", yard["key"])  # the whole key is known by its id too

    listed: list[dict[str, Any]] = json.loads(cli("keys", "list", "--json").out)
    table = cli("keys", "list").out

    assert [(key["name"], key["state"], key["scopes"]) for key in listed] == [
        ("yard", "revoked", ["read", "infer"]),
        ("door", "valid", ["read", "infer"]),
    ]
    ends = datetime.fromisoformat(listed[1]["expires"])
    assert timedelta(days=29, hours=23) < ends - datetime.now(UTC) <= timedelta(days=30)
    assert table.splitlines()[0].split() == ["id", "state", "name", "scopes", "project", "created", "expires"]
    with opened(tmp_path) as build:
        digests = [key.digest for key in build.store.keys.list()]
    for secret in (door["key"].split("_")[2], yard["key"].split("_")[2], *digests):
        assert secret not in table + json.dumps(listed)


def test_an_empty_list_is_empty(cli: Cli) -> None:
    assert json.loads(cli("keys", "list", "--json").out) == []
    assert len(cli("keys", "list").out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "cause"),
    [
        (["revoke", "nosuch00"], 3, "There is no key of id 'nosuch00'."),
        (["create", " "], 1, "Not a name for a key"),
        (["create", "x" * 65], 1, "Not a name for a key"),
        (["create", "a\nb"], 1, "Not a name for a key"),
        (["create", "x", "--project", ""], 1, "Not a project for a key"),
        (["create", "x", "--expires", "2020-01-01"], 1, "would have expired already"),
    ],
)
def test_what_cannot_be_done_is_told(cli: Cli, arguments: list[str], code: int, cause: str) -> None:
    finished = cli("keys", *arguments)

    assert finished.code == code
    assert finished.out == ""
    assert cause in only_cause(finished)


@pytest.mark.parametrize(
    "arguments",
    [
        ["create"],
        ["create", "x", "--scope", "all"],
        ["create", "x", "--expires", "soon"],
        ["create", "x", "--expires", "0d"],
        ["create", "x", "--expires", "999999999w"],
        ["create", "x", "--expires", "2027-13-01"],
        ["revoke"],
    ],
)
def test_wrong_words_end_with_2(cli: Cli, arguments: list[str]) -> None:
    finished = cli("keys", *arguments)

    assert finished.code == 2
    assert "Traceback" not in finished.err
    assert json.loads(cli("keys", "list", "--json").out) == []


@pytest.mark.parametrize("expires", ["90m", "12h", "4w", "2099-01-31", "2099-01-31T10:00+02:00"])
def test_an_end_may_be_written_in_several_ways(cli: Cli, expires: str) -> None:
    made = json.loads(cli("keys", "create", "x", "--expires", expires, "--json").out)

    assert datetime.fromisoformat(made["expires"]) > datetime.now(UTC)
    assert made["state"] == "valid"


def test_the_first_key_is_made_in_a_real_store_once(tmp_path: Path) -> None:
    with opened(tmp_path) as build:
        key = first_key(build.store.keys)
        assert key is not None
        assert first_key(build.store.keys) is None
        assert [kept.scopes for kept in build.store.keys.list()] == [{Scope.ADMIN}]


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"SIGHTLINE_AUTH__JWT_SECRET_FILE": "secret"}, {"jwt_secret": "secret"}),
        ({"ML_SERVICE_TOKEN_FILE": "secret"}, {"service_token": "secret"}),
        ({"sightline_auth__service_token_file": "secret"}, {"service_token": "secret"}),
        ({"SIGHTLINE_AUTH__JWT_SECRET": "plain"}, {}),
        ({}, {}),
    ],
)
def test_the_files_of_secrets_are_found_again(
    tmp_path: Path, environ: Mapping[str, str], found: Mapping[str, str]
) -> None:
    (tmp_path / "secret").write_text("a secret of some length")
    loaded = load_settings(folder=tmp_path, environ=environ)

    assert secret_files(loaded) == {name: tmp_path / file for name, file in found.items()}


def test_a_secret_file_named_in_dot_env_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret of some length")
    (tmp_path / ".env").write_text("SIGHTLINE_AUTH__JWT_SECRET_FILE=secret\n")

    assert secret_files(load_settings(folder=tmp_path, environ={})) == {"jwt_secret": tmp_path / "secret"}


def test_the_audit_chain_is_listed_and_proved(cli: Cli, tmp_path: Path) -> None:
    assert cli("audit", "verify").code == 0
    with opened(tmp_path) as build:
        lines = build.store.audit.append([make_entry(number, caller=f"sk_{number % 2}") for number in range(4)])
        last = lines[-1]
    whole = cli("audit", "verify")
    noted = whole.out.strip()
    listed = json.loads(cli("audit", "list", "--json", "--caller", "sk_1").out)
    table = cli("audit", "list", "--limit", "2").out.splitlines()

    assert (whole.code, noted) == (0, f"4:{last.hash}")
    assert [(line["number"], line["path"]) for line in listed] == [(4, "/api/v1/runs/3"), (2, "/api/v1/runs/1")]
    assert [line.split()[0] for line in table] == ["number", "4", "3"]
    assert cli("audit", "verify", "--noted", noted).code == 0
    assert cli("audit", "verify", "--noted", "4:" + "0" * 64).code == 1
    assert cli("audit", "verify", "--noted", "5:" + last.hash).code == 1
    assert cli("audit", "verify", "--noted", "last").code == 2

    with opened(tmp_path) as build:
        assert build.store.forget("audit", lines[2].entry.time) == 2
    shorter = cli("audit", "verify")
    assert (shorter.code, shorter.out.partition(":")[0]) == (0, "5")
    assert "3 lines" in shorter.err
    assert "the lines before 3, for their age" in shorter.err
    for line, code in zip(lines, (1, 0, 0, 0), strict=True):  # of the first nothing is left, of the second its hash
        assert cli("audit", "verify", "--noted", f"{line.number}:{line.hash}").code == code


def test_the_first_broken_line_of_the_audit_chain_is_told(cli: Cli, tmp_path: Path) -> None:
    with opened(tmp_path) as build:
        build.store.audit.append([make_entry(number) for number in range(4)])
        database = build.settings.database.path
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE audit_lines SET status = 500 WHERE number = 3")

    done = cli("audit", "verify")
    assert (done.code, done.out) == (1, "")
    assert "line 3: it was changed." in done.err
    facts = json.loads(cli("audit", "verify", "--json").out)
    assert (facts["whole"], facts["num_lines"], facts["broken"]) == (False, 2, 3)


def test_keys_that_are_made_and_revoked_by_command_are_in_the_audit_chain(cli: Cli) -> None:
    key = cli("keys", "create", "door").out.strip()
    cli("keys", "revoke", key)
    cli("keys", "revoke", "nowhere1")

    lines = json.loads(cli("audit", "list", "--json").out)
    assert [(line["method"], line["route"], line["path"]) for line in lines] == [
        ("CLI", "keys revoke", key[3:11]),
        ("CLI", "keys create", key[3:11]),
    ]
    assert lines[0]["caller"].startswith("cli:")
    assert key not in json.dumps(lines)
