"""What all tests share: where a server is required, a test that needs it may not be skipped.

A test that needs a server of this machine is marked `service`, and skipped with the reason where the server is not
there. With SIGHTLINE_REQUIRE_SERVICES=1, as in continuous integration, that skip is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

REQUIRED = "SIGHTLINE_REQUIRE_SERVICES"


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
