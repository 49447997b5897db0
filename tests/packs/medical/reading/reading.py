"""Reads studies in this process, which is quicker than in one of their own; what isolation adds has its own tests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.packs.medical.reading.studies import read_study


@dataclass(frozen=True, eq=False)
class Read:
    """What was read of a study."""

    voxels_IJK: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    study: Mapping[str, Any]

    @property
    def problems(self) -> dict[str, str]:
        """Severity by code."""
        return {each["code"]: each["severity"] for each in self.study["problems"]}

    def problem(self, code: str) -> Mapping[str, Any]:
        """Return the problem of a code."""
        return next(each for each in self.study["problems"] if each["code"] == code)


def read(data: bytes | Mapping[str, bytes], policy: str = "repair") -> Read:
    """Return what `read_study` makes of one file, or of the files of a folder."""
    arrays: dict[str, npt.NDArray[Any]] = {}

    def new_array(name: str, shape: Any, dtype: str) -> npt.NDArray[Any]:
        arrays[name] = np.zeros(shape, dtype)
        return arrays[name]

    before = Path.cwd()
    with TemporaryDirectory() as folder:
        files = []
        for number, (name, content) in enumerate({"file": data}.items() if isinstance(data, bytes) else data.items()):
            path = Path(folder) / f"{number:05}"
            path.write_bytes(content)
            files.append((name, str(path)))
        os.chdir(folder)
        try:
            study = read_study(new_array, files, policy)
        finally:
            os.chdir(before)
    return Read(arrays["voxels"].transpose(2, 1, 0), np.array(study["affine"]), study)
