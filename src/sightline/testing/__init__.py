"""What third parties test their plug-ins with: fakes that work, and the contract tests of the ports.

The contracts need pytest: import them from `sightline.testing.contracts`.
"""

from sightline.testing.fakes import (
    START,
    FakeClock,
    FakeHandle,
    FakePorts,
    FakeSession,
    Tally,
    fake_ports,
    make_clocks,
    make_context,
    make_frame,
    make_reading,
)

__all__ = [
    "START",
    "FakeClock",
    "FakeHandle",
    "FakePorts",
    "FakeSession",
    "Tally",
    "fake_ports",
    "make_clocks",
    "make_context",
    "make_frame",
    "make_reading",
]
