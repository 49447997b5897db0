"""A folder of one's own, and a context that keeps its data there and reads no settings of whoever runs the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.build import CaseBuildContext
from sightline.settings import LoadedSettings, load_settings

Load = Callable[..., LoadedSettings]
WriteCase = Callable[..., Path]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Settings of `tmp_path`; keyword arguments are the environment."""

    def loaded(**environ: str) -> LoadedSettings:
        data = {"SIGHTLINE_DATA_ROOT": str(tmp_path / "data")}
        return load_settings(folder=tmp_path, environ=data | environ)

    return loaded


@pytest.fixture
def context(load: Load) -> Iterator[CaseBuildContext]:
    with CaseBuildContext(load()) as made:
        yield made


@pytest.fixture
def write_case(tmp_path: Path) -> WriteCase:
    """Write a case folder below `cases`; further keyword arguments are its Python files."""

    def write(name: str, manifest: str | None = None, root: str = "cases", **files: str) -> Path:
        folder = tmp_path / root / name
        folder.mkdir(parents=True, exist_ok=True)
        if manifest is not None:
            (folder / "case.yaml").write_text(manifest)
        for stem, text in files.items():
            (folder / f"{stem}.py").write_text(text)
        return folder

    return write
