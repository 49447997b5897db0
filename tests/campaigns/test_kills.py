"""The short form of `make chaos`: real commands killed and frozen, judged from a journal outside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks.chaos import Campaign, Goals
from benchmarks.job_worlds import OwnPostgres, World

SHORT = Goals(torn=4, freezes=1, restarts=1, step_s="0,0.15", workers=2, server=False, queue=8)


@pytest.fixture
def postgres() -> Iterator[OwnPostgres]:
    try:
        server = OwnPostgres()
    except FileNotFoundError as error:
        if os.environ.get("SIGHTLINE_REQUIRE_SERVICES") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
    with closing(server):
        yield server


def broken(url: str, folder: Path, server: OwnPostgres | None) -> Campaign:
    world = World(folder, url)
    campaign = Campaign(world, SHORT, server, seed=7)
    outcome = campaign.run()
    assert outcome.wrong == [], "\n".join(outcome.wrong[:20])
    assert outcome.torn >= SHORT.torn
    assert outcome.freezes >= SHORT.freezes
    assert outcome.jobs >= SHORT.queue
    return campaign


def test_nothing_is_lost_or_done_again_on_sqlite(tmp_path: Path) -> None:
    broken(f"sqlite:///{tmp_path}/store.db", tmp_path, None)


@pytest.mark.service("postgres")
def test_nothing_is_lost_or_done_again_on_a_postgresql_that_dies_too(postgres: OwnPostgres) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert broken(postgres.url, Path(folder), postgres).outcome.restarts >= SHORT.restarts


def test_the_judge_sees_what_is_wrong(tmp_path: Path) -> None:
    """A campaign that broke nothing, whose journal, results and record are then forged."""
    world = World(tmp_path, f"sqlite:///{tmp_path}/store.db")
    campaign = Campaign(
        world, Goals(torn=0, freezes=0, restarts=0, step_s="0,0", workers=1, server=False), None, seed=1
    )
    assert campaign.run().wrong == []
    journal = tmp_path / "journal"
    last = journal.read_text().splitlines()[-1].split()
    run_id = last[2]
    later = float(last[0]) + 60
    with journal.open("a") as file:
        file.write(f"{later} begin {run_id} one 99 1\n")
    key = next((tmp_path / "data" / "artifacts" / "results").iterdir())
    key.write_text("forged")
    (key.parent / "another.txt").write_text("x")
    campaign._accepted["nobody"] = 12345
    again = Campaign(world, Goals(torn=0, freezes=0, restarts=0, workers=0, server=False), None, seed=1)
    again._accepted = campaign._accepted
    with closing(again._context):
        again._judge()
    wrong = "\n".join(again.outcome.wrong)
    for words in ("one begun by 1", "forged", "another.txt", "nobody: accepted and gone"):
        assert words in wrong
