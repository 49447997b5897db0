"""What was acknowledged outlives kill -9."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sightline.adapters.database import SqlStore

BATCH = 3

RECORDER = f"""
import sys
from sightline.adapters.database import SqlStore
from sightline.testing.contracts.metadata_store import line_event, seen_sample

store = SqlStore(sys.argv[1])
number = 0
while True:
    samples = [seen_sample(number + offset) for offset in range({BATCH})]
    store.predictions.record("r1", "street", samples)
    store.events.append([line_event(number=number)])
    number += {BATCH}
    print(number, flush=True)
"""


@pytest.mark.parametrize("num_acknowledged", [30, 151, 600])
def test_a_killed_process_loses_nothing_that_it_was_told_is_kept(tmp_path: Path, num_acknowledged: int) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    SqlStore(url).close()
    command = [sys.executable, "-c", RECORDER, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = 0
        for line in child.stdout:
            last = int(line)
            if last >= num_acknowledged:
                break
        child.kill()
        told = [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        last = max([last, *told])
    with closing(SqlStore(url)) as store:
        rows = [row for _, row in store.predictions.list(limit=100_000)]
        found = [event.data["number"] for _, event in store.events.list(limit=100_000)]
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert len(rows) % BATCH == 0
    assert last <= len(rows) <= last + BATCH
    assert found[: last // BATCH] == list(range(0, last, BATCH))
