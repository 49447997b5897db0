"""What is shown on a terminal: a table that follows the run, colours, and no display once the run is over."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.programs import command, environment
from tests.serve.conftest import write_case

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")

# Makes the terminal that of the program, so that Ctrl-C on it reaches the program.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(
    folder: Path, *arguments: str, columns: int = 120, env: dict[str, str] | None = None,
    then: Callable[[str, int], None] = lambda *_: None,
) -> tuple[int, str]:  # fmt: skip
    """Run `sightline` on a terminal; return its exit code and all that it wrote.

    `then` is given what was written so far and the terminal, to press keys on.
    """
    import pty

    environ = environment(folder, {"TERM": "xterm-256color", "COLUMNS": str(columns), **(env or {})})
    if "NO_COLOR" not in (env or {}):
        del environ["NO_COLOR"]
    terminal, inside = pty.openpty()
    out, until = b"", time.monotonic() + 60
    with subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *command(*arguments)],
        cwd=folder, env=environ, stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(inside)
        while time.monotonic() < until:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    data = os.read(terminal, 1 << 16)
                except OSError:  # the program has closed the terminal
                    break
                if not data:
                    break
                out += data
                then(out.decode(errors="replace"), terminal)
        else:
            process.kill()
        code = process.wait()
    os.close(terminal)
    return code, out.decode(errors="replace")


def test_a_table_follows_the_run_and_gives_way_to_the_summary(tmp_path: Path) -> None:
    code, shown = on_terminal(tmp_path, "run", "street_people", "--duration", "1.5")

    plain = ESCAPES.sub("", shown)
    assert code == 0
    assert "Ctrl-C stops" in plain
    assert re.search(r"main +live +\d+ +\d+\.\d +none +\d+ person", plain)
    assert "pavement in" in plain
    live, _, summary = plain.rpartition("Ctrl-C stops")
    assert live.count("Ctrl-C stops") >= 2
    assert re.search(r"source +frames +fps +dropped +counts", summary)
    assert "  video: runs/street_people/" in summary
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back


def test_on_a_narrow_terminal_nothing_is_lost(tmp_path: Path) -> None:
    code, shown = on_terminal(tmp_path, "run", "sensor_anomaly", columns=60)

    words = set(ESCAPES.sub("", shown).split())
    assert code == 0
    assert {"source", "frames", "dropped", "counts", "rejected:", "late"} <= words


def test_ctrl_c_on_the_keyboard_ends_the_run(tmp_path: Path) -> None:
    pressed: list[int] = []

    def press(shown: str, terminal: int) -> None:
        if "live" in shown and not pressed:
            pressed.append(os.write(terminal, b"\x03"))

    code, shown = on_terminal(tmp_path, "run", "dummy_offline", then=press)

    assert code == 130
    assert "stopping; Ctrl-C again to end at once" in shown
    assert " cancelled after " in shown
    assert "Traceback" not in shown


def test_errors_are_coloured_on_a_terminal_unless_that_is_unwanted(tmp_path: Path) -> None:
    _, coloured = on_terminal(tmp_path, "run", "nosuch")
    _, plain = on_terminal(tmp_path, "run", "nosuch", env={"NO_COLOR": "1"})

    assert "\x1b[1;31merror:\x1b[0m No case is called 'nosuch'" in coloured
    assert "31m" not in plain
    assert "error: No case is called 'nosuch'" in ESCAPES.sub("", plain)


def test_a_log_for_people_shows_no_values_of_variables(tmp_path: Path) -> None:
    plugins = """
from dataclasses import dataclass
from sightline import Source

@dataclass(kw_only=True)
class Door(Source):
    def read(self):
        password = "hunter" + "2"
        raise RuntimeError("closed")
        yield password
"""
    write_case(tmp_path, "door", "source: door\n", plugins=plugins)

    code, shown = on_terminal(tmp_path, "--debug", "run", "door")

    assert code == 4
    assert "RuntimeError: closed" in shown
    assert "hunter2" not in shown
