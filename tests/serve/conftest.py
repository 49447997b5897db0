"""The command line inside the process of the tests, for what a process of its own would not prove."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from tests.programs import Finished

from sightline.build import CaseBuildContext
from sightline.serve.cli import main
from sightline.settings import load_settings

Cli = Callable[..., Finished]
STREET = Path(__file__).parents[2] / "src/sightline/cases/street_people/street.mp4"
PHOTOS = Path(__file__).parents[1] / "data/photos"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """Run `sightline` in `tmp_path`, with its data there; returns code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str | Path) -> Finished:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Finished(int(ended.value.code or 0), shown.out, shown.err)

    yield run
    structlog.reset_defaults()


def opened(folder: Path) -> CaseBuildContext:
    """Return a context on what a run in `folder` has recorded; the caller closes it."""
    return CaseBuildContext(load_settings(folder=folder, environ={"SIGHTLINE_DATA_ROOT": str(folder / "data")}))


def causes(finished: Finished) -> list[str]:
    """Return the causes on stderr; each must have a cure below it, and there may be no traceback."""
    assert "Traceback" not in finished.err, finished.err
    lines = finished.err.splitlines()
    found = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    for number in found:
        assert lines[number + 1].startswith("  cure: "), finished.err
        assert len(lines[number + 1]) > len("  cure: ")
    assert sum(line.startswith("  cure: ") for line in lines) == len(found)
    return [lines[number].removeprefix("error: ") for number in found]


def only_cause(finished: Finished) -> str:
    """Return the one cause on stderr."""
    found = causes(finished)
    assert len(found) == 1, finished.err
    return found[0]


def write_case(folder: Path, name: str, manifest: str | None, **files: str) -> Path:
    """Write a case below `folder/cases`; further keyword arguments are its Python files."""
    case = folder / "cases" / name
    case.mkdir(parents=True, exist_ok=True)
    if manifest is not None:
        (case / "case.yaml").write_text(manifest)
    for stem, text in files.items():
        (case / f"{stem}.py").write_text(text)
    return case
