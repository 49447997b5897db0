"""What the pages show is what happens: their blocks are run, their commands exist, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.docs.runner import ROOT, RUN, blocks_of, has_server, pattern_of, run_page

from sightline.serve.cli import app

PAGES = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", [page for page in RUN if not has_server(page)])
@pytest.mark.service("mqtt")
@pytest.mark.timeout(300)
def test_every_block_of_the_page_does_what_it_says(page: str, desk: Path) -> None:
    if "mqtt://127.0.0.1:1883" in (ROOT / page).read_text("utf-8"):
        needs_broker()
    assert run_page(ROOT / page, desk) > 0


def needs_broker() -> None:
    """Skip where nobody listens at the address that the pages name."""
    try:
        socket.create_connection(("127.0.0.1", 1883), timeout=20).close()
    except OSError:
        pytest.skip("no MQTT broker at 127.0.0.1:1883")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    text = without_blocks((ROOT / page).read_text("utf-8"))
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    missing = [target for target in targets if target and not ((ROOT / page).parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_only_shown_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for block in blocks_of((ROOT / page).read_text("utf-8")):
        if block.language not in ("sh", "bash"):
            continue
        for line in block.text.splitlines():
            command = re.sub(r"^(?:[A-Z_0-9]+=\S+ )+", "", line)
            if not re.match(r"(?:make|(?:\S*[/\\])?sightline) ", command):
                continue
            words = shlex.split(command, comments=True)
            if words[0] == "make":
                assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
            else:
                check_command(words[1:], line)


def check_command(words: list[str], line: str) -> None:
    """Check that a command and its options are those of the command line."""
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts} | {"--debug", "--help"}
    assert not hasattr(command, "commands") or "--help" in words or "--version" in words, line
    unknown = [word for word in words if word.startswith("--") and word not in known]
    assert not unknown, f"{line}: {unknown}"


def test_the_russian_readme_has_the_same_blocks_in_the_same_order() -> None:
    english = [(block.language, block.info, block.text) for block in blocks_of((ROOT / "README.md").read_text("utf-8"))]
    russian = [
        (block.language, block.info, block.text) for block in blocks_of((ROOT / "README.ru.md").read_text("utf-8"))
    ]
    assert english == russian


def test_the_russian_readme_has_the_same_headings_and_table() -> None:
    english, russian = (without_blocks((ROOT / name).read_text("utf-8")) for name in ("README.md", "README.ru.md"))
    assert re.findall(r"^#+(?= )", english, re.MULTILINE) == re.findall(r"^#+(?= )", russian, re.MULTILINE)
    assert english.count("\n| ") == russian.count("\n| ")


def without_blocks(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_the_picture_of_the_readme_is_small() -> None:
    assert (ROOT / "docs/images/street.jpg").stat().st_size < 150_000


@pytest.mark.parametrize(
    ("shown", "printed", "loose"),
    [
        ("run a... done", "run abc done\n", False),
        ("first\n...\nlast", "first\nsecond\nthird\nlast\n", False),
        ("100 frames at 2.5 s", "100 frames  at 31.0 s \n", True),
    ],
)
def test_expected_output_is_compared_line_by_line(shown: str, printed: str, *, loose: bool) -> None:
    assert re.search(pattern_of(shown, loose=loose), printed)


def test_other_output_is_not_taken_for_the_expected_one() -> None:
    assert not re.search(pattern_of("100 frames", loose=False), "97 frames\n")
    assert not re.search(pattern_of("100 frames", loose=True), "97 frames\n")
    assert not re.search(pattern_of("frames", loose=True), "97 frames\n")
