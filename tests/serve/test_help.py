from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.programs import command, environment, sightline
from tests.serve.conftest import Cli

from sightline.serve.cli import app

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "demo", "list", "run", "probe", "doctor", "models", "models list", "models show", "models add", "config",
    "config show", "config check",
)  # fmt: skip


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command below `command` with its words."""
    for name, child in getattr(command, "commands", {}).items():
        words = f"{path} {name}".strip()
        yield words, child
        yield from commands(child, words)


def test_every_command_and_every_option_has_help() -> None:
    root = typer.main.get_command(app)
    found = dict(commands(root))

    assert set(found) >= set(COMMANDS)
    for words, each in [("", root), *found.items()]:
        assert each.help, words
        for parameter in each.params:
            assert getattr(parameter, "help", None), f"{words} {parameter.name} has no help"


@pytest.mark.parametrize("words", ["", *COMMANDS])
def test_help_is_shown(cli: Cli, words: str) -> None:
    finished = cli(*words.split(), "--help")

    assert finished.code == 0
    assert finished.out.startswith(f"Usage: sightline {words}".strip())
    assert all(len(line) <= 80 for line in finished.out.splitlines())
    assert "Error" not in finished.err


def test_the_version_is_told(cli: Cli) -> None:
    finished = cli("--version")

    assert finished.code == 0
    assert finished.out.startswith("sightline 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["run"],
        ["run", "dummy_offline", "--nosuch"],
        ["run", "dummy_offline", "--duration", "long"],
        ["run", "dummy_offline", "--duration", "-1"],
        ["run", "dummy_offline", "--set", "x"],
        ["run", "dummy_offline", "--metadata", "x"],
        ["run", "dummy_offline", "--metadata", "dummy_offline:=x"],
        ["run", "dummy_offline", "--metadata", "other:place=x"],
        ["run", "dummy_offline", "--device-serial", "other=x"],
        ["--log-level", "loud", "list"],
    ],
)
def test_wrong_use_is_told_and_ends_with_2(cli: Cli, arguments: list[str]) -> None:
    finished = cli(*arguments)

    assert finished.code == 2
    assert "Error: " in finished.err
    assert "Value error" not in finished.err
    assert "Traceback" not in finished.err


def test_without_a_command_help_is_shown(cli: Cli) -> None:
    finished = cli()

    assert "Usage: sightline" in finished.out + finished.err


@pytest.mark.parametrize(
    "program",
    [command(), [str(Path(sys.executable).with_name("sightline"))], [sys.executable, str(ROOT / "cli.py")]],
    ids=["-m sightline", "sightline", "cli.py"],
)
def test_every_way_in_is_the_same(tmp_path: Path, program: list[str]) -> None:
    if not Path(program[-1]).exists() and len(program) == 1:
        pytest.skip("the package is not installed with its script")
    done = subprocess.run(
        [*program, "list"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=True
    )

    assert "street_people" in done.stdout
    assert done.stderr == ""


def test_a_script_for_completion_is_printed_and_names_of_cases_are_completed(tmp_path: Path) -> None:
    # Which shell runs cannot be known everywhere: it is named, as typer wants it then.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = sightline(tmp_path, "--show-completion", "bash", env=named)
    assert "_SIGHTLINE_COMPLETE=complete_bash" in script.out

    words = {"_SIGHTLINE_COMPLETE": "complete_bash", "COMP_WORDS": "sightline run str", "COMP_CWORD": "2"}
    completed = sightline(tmp_path, env=words)

    assert completed.out.split() == ["street_people"]
    (tmp_path / "sightline.yaml").write_text("nonsense: 1\n")
    assert "Traceback" not in sightline(tmp_path, env=words).err
