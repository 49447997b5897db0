"""Modules stay readable in one go."""

from __future__ import annotations

from tests.architecture.checkout import python_files, shown

LONGEST = 400
ARGUED: dict[str, str] = {}
"""Longer file -> the line of docs/explanation/decisions.md that argues for it. Better split it."""


def test_no_module_is_longer_than_400_lines() -> None:
    sizes = {shown(path): len(path.read_text("utf-8").splitlines()) for path in python_files()}
    too_long = {name: size for name, size in sizes.items() if size > LONGEST}
    assert too_long.keys() == ARGUED.keys(), too_long
