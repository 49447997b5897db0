"""The audit chain under those who damage it, and under those who are killed while they write."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import text

from sightline.adapters.database import SqlStore
from sightline.core.audit import AuditLine, bound, verify
from sightline.core.errors import Conflict
from sightline.testing.contracts.audit_store import make_entry

SHIFT = "UPDATE audit_lines SET number = -number - 1 WHERE number >= 4"
SHIFT_BACK = "UPDATE audit_lines SET number = -number WHERE number < 0"
INSERTED = (
    "INSERT INTO audit_lines SELECT {number}, time, 'sk_other', project, method, route, path, status, request, "
    "previous, hash FROM audit_lines WHERE number = 3"
)


@pytest.fixture
def store(fresh_url: str) -> Iterator[SqlStore]:
    with closing(SqlStore(fresh_url)) as store:
        store.audit.append([make_entry(number) for number in range(10)])
        yield store


def tamper(store: SqlStore, *statements: str) -> None:
    with store._transactions.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.parametrize(
    ("statements", "broken", "reason"),
    [
        (["DELETE FROM audit_lines WHERE number = 4"], 4, "it is missing"),
        (["DELETE FROM audit_lines WHERE number = 1"], 1, "it is missing"),
        (["DELETE FROM audit_lines WHERE number > 8"], 9, "the lines from here to 10 are missing"),
        (["DELETE FROM audit_lines"], 1, "the lines from here to 10 are missing"),
        (["UPDATE audit_lines SET caller = 'sk_other' WHERE number = 4"], 4, "it was changed"),
        (["UPDATE audit_lines SET status = 404 WHERE number = 10"], 10, "it was changed"),
        (["UPDATE audit_lines SET path = '/api/v1/runs/x' WHERE number = 1"], 1, "it was changed"),
        ([SHIFT, SHIFT_BACK, INSERTED.format(number=4)], 4, "it does not follow the line before it"),
        ([INSERTED.format(number=0)], 1, "another line has the number 0"),
        ([INSERTED.format(number=11)], 11, "it does not follow the line before it"),
        (["DELETE FROM audit_lines WHERE number = 4", SHIFT, SHIFT_BACK], 4, "it is missing"),
        (
            ["DELETE FROM audit_lines WHERE number = 4", "UPDATE audit_lines SET number = number - 1 WHERE number > 4"],
            4,
            "it does not follow the line before it",
        ),
        (["UPDATE audit_end SET number = 9"], 9, "its hash is not the one that was noted for the last line"),
        (
            [
                "DELETE FROM audit_lines WHERE number < 4",
                "INSERT INTO audit_end SELECT 2, 3, previous FROM audit_lines WHERE number = 4",
            ],
            1,
            "the lines before 4 are missing, and no line tells why",
        ),
        (["DELETE FROM audit_end"], 1, "it was put behind the line that was noted as the last"),
    ],
)
def test_the_first_line_that_is_not_as_it_was_written_is_found(
    statements: list[str], broken: int, reason: str, store: SqlStore
) -> None:
    tamper(store, *statements)
    verdict = verify(store.audit)
    assert (verdict.broken, verdict.reason) == (broken, reason)
    assert verdict.num_lines == broken - 1


def replace_line(store: SqlStore, line: AuditLine) -> None:
    tamper(
        store,
        f"UPDATE audit_lines SET caller = '{line.entry.caller}', previous = '{line.previous}', hash = '{line.hash}' "  # noqa: S608
        f"WHERE number = {line.number}",
    )


def test_a_line_with_a_new_hash_does_not_fit_the_line_behind_it(store: SqlStore) -> None:
    lines = list(store.audit.walk())
    replace_line(store, bound([make_entry(3, caller="sk_other")], 3, lines[2].hash)[0])
    assert verify(store.audit).broken == 5


def test_a_tail_that_was_made_anew_does_not_fit_the_end_that_was_noted(store: SqlStore) -> None:
    lines = list(store.audit.walk())
    for line in bound([make_entry(number, caller="sk_other") for number in range(8, 10)], 8, lines[7].hash):
        replace_line(store, line)
    assert verify(store.audit).broken == 10


def test_a_line_put_behind_the_end_keeps_others_from_being_bound_to_it(store: SqlStore) -> None:
    tamper(store, INSERTED.format(number=11))
    with pytest.raises(Conflict, match="not where it was noted") as caught:
        store.audit.append([make_entry()])
    assert caught.value.cure == "sightline audit verify"


WRITER = """
import sys
from sightline.adapters.database import SqlStore
from sightline.testing.contracts.audit_store import make_entry
store = SqlStore(sys.argv[1])
print("ready", flush=True)
while True:
    store.audit.append([make_entry(number, caller=sys.argv[2]) for number in range(20)])
"""


def test_processes_that_are_killed_while_they_write_leave_one_whole_chain(store: SqlStore, fresh_url: str) -> None:
    chance = random.Random(3)  # noqa: S311
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, fresh_url, f"sk_{n}"], stdout=subprocess.PIPE)
            for n in range(2)
        ]
        for writer in writers:
            assert writer.stdout
            writer.stdout.readline()
        until = time.monotonic() + 60
        while not {"sk_0", "sk_1"} <= {line.entry.caller for line in store.audit.walk()}:
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(0.1)
        for writer in writers:
            time.sleep(chance.uniform(0, 0.05))
            writer.kill()
            writer.communicate(timeout=60)
        verdict = verify(store.audit)
        assert verdict.broken is None, verdict
        assert (verdict.num_lines, verdict.hash) == store.audit.end()
        assert verdict.num_lines % 20 == 10, "a batch was torn"
    assert {line.entry.caller for line in store.audit.walk()} == {"sk_laptop", "sk_0", "sk_1"}
