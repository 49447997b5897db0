"""No file names a machine, a registry or a folder beside the checkout; the locks install from any mirror."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.architecture.checkout import ROOT, shown, tracked_files

LOCKS = ("requirements.txt", "requirements-build.lock", "requirements-test.lock", "requirements-dev.lock")
BUILD, BASE, TEST, DEV = (
    ROOT / name for name in ("requirements-build.lock", "requirements.txt", "requirements-test.lock", LOCKS[-1])
)

# Put together here, so that this file passes its own test.
FOLDERS = ("work", "root", "home", "Users", "private", "opt")
MACHINE = re.compile(rf"(?<![\w.~}}$/-])/(?:{'|'.join(FOLDERS)})/[\w.-]")
BESIDE = re.compile(r"\.\./" + r"shared\b")
REGISTRY = re.compile(
    r"pypi\." + r"org|python" + r"hosted\.org|registry\." + r"npmjs|npmjs\." + r"org|registry\." + r"yarnpkg"
    r"|index\." + r"docker\.io|conda\." + r"anaconda\.org|download\." + r"pytorch\.org",
    re.IGNORECASE,
)
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*(?:\[[a-z0-9,._-]+\])?)==(?P<version>\S+)(?: ; (?P<marker>.+?))? \\$")


def texts() -> list[tuple[str, str]]:
    """Return every file of text with its name."""
    found = []
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" not in data[:8192]:
            found.append((shown(path), data.decode("utf-8", errors="replace")))
    return found


def places(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_place_on_a_machine() -> None:
    assert places(MACHINE) == []


def test_no_file_needs_a_folder_beside_the_checkout() -> None:
    assert places(BESIDE) == []


def test_no_file_names_a_registry() -> None:
    assert places(REGISTRY) == []


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("before", ["open('", "cd ", "--target=", "="])
def test_a_place_on_a_machine_is_seen(before: str, folder: str) -> None:
    assert MACHINE.search(f"{before}/{folder}/ann")


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("before", ["src", "https://example.com", "${CASE_DIR}", "~"])
def test_other_paths_are_left_alone(before: str, folder: str) -> None:
    assert not MACHINE.search(f"{before}/{folder}/x")


def pins(lock: Path) -> dict[str, set[tuple[str, str]]]:
    """Return the versions, with their markers, that a lock pins by name."""
    found: dict[str, set[tuple[str, str]]] = {}
    for line in lock.read_text("utf-8").splitlines():
        if match := PIN.match(line):
            found.setdefault(match["name"], set()).add((match["version"], match["marker"] or ""))
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pins_and_hashes_and_nothing_else(name: str) -> None:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    assert [
        line for line in lines if not PIN.match(line) and not re.fullmatch(r"    --hash=sha256:\w{64}( \\)?", line)
    ] == []
    assert len(pins(ROOT / name)) >= 5
    assert all(
        not line.endswith("\\") or following.startswith("    --hash=")
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
    )


@pytest.mark.parametrize(("part", "whole"), [(BASE, TEST), (BUILD, TEST), (TEST, DEV)], ids=lambda path: path.name)
def test_the_locks_agree(part: Path, whole: Path) -> None:
    small, large = pins(part), pins(whole)
    assert small.keys() <= large.keys()
    assert {
        name: versions for name, versions in small.items() if {v for v, _ in versions} - {v for v, _ in large[name]}
    } == {}


def test_the_base_lock_serves_windows_too() -> None:
    base = pins(BASE)
    assert all("win32" in marker for _, marker in base["uvloop"])
    assert all("win32" in marker for _, marker in base["colorama"])


def test_the_base_lock_has_every_dependency() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {re.split(r"[\[<>=;! ]", line)[0].lower() for line in project["dependencies"]}
    assert wanted <= pins(BASE).keys()
