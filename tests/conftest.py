"""What all tests share: where a server is required, a test that needs it may not be skipped.

A test that needs a server of this machine is marked `service`, and skipped with the reason where the server is not
there. With SIGHTLINE_REQUIRE_SERVICES=1, as in continuous integration, that skip is a failure.

Tests run on all cores at once. A module that measures time is marked `alone`, and runs while no other test does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A machine with other things to do is no mistake of ours.
settings.register_profile("sightline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sightline")

REQUIRED = "SIGHTLINE_REQUIRE_SERVICES"


@pytest.hookimpl(optionalhook=True)  # where xdist is
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes `-n auto` means: more than cores, for half the time a test waits for a server."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cores + (cores + 1) // 2


class _Turns:
    """Lets tests of all processes go on side by side, or those that are marked `alone` by themselves.

    Who wants to be alone keeps the door, so that nobody enters, and waits until the room is empty. Both are locks of
    what lies here anyhow.
    """

    def __init__(self) -> None:
        here = Path(__file__)
        self._door, self._room = (os.open(path, os.O_RDONLY) for path in (here, here.parent))
        self._is_in = False

    def enter(self, *, alone: bool) -> None:
        from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock  # POSIX alone

        if not self._is_in:
            flock(self._door, LOCK_EX)
            flock(self._room, LOCK_EX if alone else LOCK_SH)
            flock(self._door, LOCK_UN)
            self._is_in = True

    def leave(self) -> None:
        from fcntl import LOCK_UN, flock

        flock(self._room, LOCK_UN)
        self._is_in = False


_TURNS = _Turns() if "PYTEST_XDIST_WORKER" in os.environ and sys.platform != "win32" else None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the time limit of a test, for it may wait
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    if _TURNS is None:
        return (yield)
    alone = _is_alone(item)
    _TURNS.enter(alone=alone)
    try:
        return (yield)
    finally:
        if not (alone and nextitem is not None and _is_alone(nextitem)):
            _TURNS.leave()


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    marker = item.get_closest_marker("service")
    if marker and report.skipped and os.environ.get(REQUIRED) == "1" and not hasattr(report, "wasxfail"):
        reason = call.excinfo.value if call.excinfo else "no reason given"
        report.outcome = "failed"
        report.longrepr = f"needs {', '.join(marker.args) or 'a server'}, and {REQUIRED}=1: {reason}"
    return report
