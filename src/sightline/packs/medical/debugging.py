"""Keeps what lies between the steps of a medical job, as NIfTI for a viewer and as PNG for the eye.

A plug-in with a field `debug_dir` opens `Intermediates` and hands over arrays; without a folder nothing happens. What
is kept shows the patient: it is for whoever looks for a mistake, and nothing deletes it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from sightline.core.errors import ConfigError
from sightline.core.plugins import Context

log = structlog.get_logger(__name__)

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIXES = (".nii.gz", ".png")


class Intermediates:
    """A folder of arrays with their places in the patient.

    Files are called `<folder>/<run>/<step>-<number>-<name>.nii.gz` and `.png`. Their names sort in the order in which
    they came about: what comes before the report begins with a digit.

    Args:
        folder: of the field `debug_dir`; empty: nothing is kept.
        context: of the plug-in.
        step: a word for the plug-in, such as `1-mask`.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(self, folder: str, context: Context, step: str) -> None:
        self._step, self._number = step, 0
        self._folder: Path | None = None
        if not folder:
            return
        self._folder = Path(folder).absolute() / (_UNFIT.sub("_", context.run) or "run")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"Intermediates cannot be kept in {self._folder}: {error.strerror}.",
                cure="Name a folder that this user may write.",
            ) from None

    @property
    def is_on(self) -> bool:
        """True where something is kept: what costs time to make for it need not be made otherwise."""
        return self._folder is not None

    def files(self) -> list[Path]:
        """Return what was kept of the run so far, by all its steps on this machine, in order."""
        kept = self._folder.iterdir() if self._folder is not None else ()
        return sorted(path for path in kept if path.name.endswith(_SUFFIXES) and path.is_file())

    def keep(
        self,
        name: str,
        voxels_IJK: npt.NDArray[Any],
        affine: npt.NDArray[np.float64],
        *,
        labels_IJK: npt.NDArray[Any] | None = None,
        modality: str = "",
    ) -> None:
        """Write an array; a full disk ends the keeping, not the job.

        Args:
            name: what it is, for instance `resampled`.
            voxels_IJK: [I, J, K] of any dtype: voxels, probabilities, or labels.
            affine: voxel index to RAS mm.
            labels_IJK: drawn over it in the picture.
            modality: `CT` shows it in a window of Hounsfield units.
        """
        if self._folder is None:
            return
        from sightline.packs.medical.output.mask_file import nifti_file  # not needed where nothing is kept
        from sightline.packs.medical.output.previews import three_planes

        self._number += 1
        stem = f"{self._step}-{self._number:02d}-{_UNFIT.sub('_', name)}"
        try:
            with (self._folder / f"{stem}.nii.gz").open("wb") as file:
                shutil.copyfileobj(nifti_file(voxels_IJK, affine, dtype=_stored(voxels_IJK.dtype)), file, 1 << 20)
            picture = three_planes(voxels_IJK, affine, labels_IJK, modality=modality)
            (self._folder / f"{stem}.png").write_bytes(picture)
        except OSError as error:
            log.warning("intermediates are kept no longer", step=self._step, reason=error.strerror)
            self._folder = None


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the nearest type that viewers of NIfTI read."""
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    if dtype.itemsize > 4 or dtype.kind == "f":
        return np.dtype(np.float32)
    return dtype
