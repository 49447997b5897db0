"""The README says the same in both languages: the same commands in the same order."""

from __future__ import annotations

import re

import pytest
from tests.architecture.checkout import ROOT

FENCE = re.compile(r"^```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^```\s*$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Return the language and the lines of each fenced block, without comments: those are translated."""
    found = []
    for match in FENCE.finditer(text):
        lines = [re.sub(r"(^|\s+)#\s.*$", "", line).rstrip() for line in match["body"].splitlines()]
        found.append((match["language"], [line for line in lines if line]))
    return found


def test_both_readmes_hold_the_same_commands() -> None:
    english, russian = (blocks((ROOT / name).read_text("utf-8")) for name in ("README.md", "README.ru.md"))
    assert len(english) >= 3, "no commands: this test sees nothing"
    assert english == russian


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_has_the_two_commands(command: str) -> None:
    lines = [line for _, block in blocks((ROOT / "README.md").read_text("utf-8")) for line in block]
    assert any(command in line for line in lines)


def test_translated_comments_make_no_difference() -> None:
    assert blocks("```bash\n# people\nmake demo  # first\n```\n") == blocks("```bash\nmake demo  # сначала\n```\n")
