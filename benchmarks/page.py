"""The pages below `benchmarks/results`: how, when and where it was measured, and a table of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def page(title: str, command: str, note: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a page in Markdown.

    Args:
        title: its heading.
        command: what measured it.
        note: goes on with the sentence that names the command, the day, the machine and the Python.
        columns: heads of the table.
        rows: its cells.
    """
    about = f"`{command}`, {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores ({_processor()}), "
    about += f"Python {platform.python_version()}{note}"
    table = [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]
    return "\n".join([f"# {title}", "", about, "", *table, ""])


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model}, {platform.machine()}" if model else platform.machine()
