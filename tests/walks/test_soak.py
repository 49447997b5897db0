"""The short form of `make soak`: some seconds of load with alias swaps and evictions going on."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.soak import soak


def test_under_load_swaps_and_evictions_fail_no_accepted_request(tmp_path: Path) -> None:
    tally = soak(tmp_path, seconds=6, concurrency=32)

    sys.stdout.write(tally.report())
    assert not tally.failures, tally.report()
    assert tally.statuses[200] > 50
    assert set(tally.versions) == {"1", "2"}  # both were served, one after the other
    assert tally.num_opened > 5  # models went out of memory and came back
