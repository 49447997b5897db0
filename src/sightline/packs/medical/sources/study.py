"""A study in the artifact store, or in a picture archive, as one volume with its geometry told honestly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import BinaryIO, Literal

import numpy as np
import structlog

from sightline.core.errors import ConfigError, InvalidInput, InvalidMedia
from sightline.core.plugins import Context, Source
from sightline.core.sample import Clocks, Sample, Volume
from sightline.packs.medical.profiles import Profiled
from sightline.packs.medical.reading.copies import copied
from sightline.packs.medical.reading.studies import read_study
from sightline.packs.medical.sources.dicomweb import fetched

_log = structlog.get_logger()


@dataclass(kw_only=True)
class StudySource(Profiled, Source):
    """Loads a DICOM file, a folder or ZIP of DICOM files, or a NIfTI file: one volume, whatever it comes in.

    What it is is seen by its content. Files are read in a process of their own, with limits on memory and time. What is
    wrong with the geometry stands in the metadata under `study`; see docs/explanation/geometry.md.

    Attributes:
        geometry: `refuse`, `repair` or `accept` a doubtful geometry, in place of the profile's.
        timeout_s: seconds that reading may take.
    """

    geometry: Literal["refuse", "repair", "accept"] | None = None
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        if self.timeout_s <= 0:
            raise ConfigError(f"timeout_s is {self.timeout_s}; it must be above 0.")

    def open(self, context: Context) -> None:
        """Read the profile.

        Raises:
            InvalidInput: there is no such profile.
            ConfigError: its file is wrong.
        """
        super().open(context)
        self._policy = self.geometry or self._profile.geometry
        self._memory_mb = self._profile.memory_mb

    def load(self, file: BinaryIO, name: str, media_type: str) -> Iterator[Sample[Volume]]:  # noqa: ARG002  the content tells
        """Yield the volume in one file: DICOM, ZIP, .nii or .nii.gz.

        Raises:
            InvalidMedia: it cannot be read, or its geometry is refused.
            TooLarge: it holds more than is taken.
        """
        return self._loaded(iter([(name, file)]), name, "")

    def load_many(self, files: Iterator[tuple[str, BinaryIO]], name: str) -> Iterator[Sample[Volume]]:
        """Yield the volume in the files of a folder.

        Raises:
            InvalidMedia: it cannot be read, or its geometry is refused.
            TooLarge: it holds more than is taken.
        """
        return self._loaded(files, name, "")

    def load_elsewhere(self, address: str) -> Iterator[Sample[Volume]]:
        """Yield the volume of a study in a picture archive, `dicomweb:STUDY/SERIES`.

        Raises:
            InvalidMedia: it cannot be read, or its geometry is refused.
            SightlineError: the archive does not give it, see `fetched`.
        """
        return self._loaded(fetched(self.context, address), address, "dicomweb")

    def _loaded(self, files: Iterator[tuple[str, BinaryIO]], name: str, container: str) -> Iterator[Sample[Volume]]:
        with TemporaryDirectory(prefix="sightline-study-") as folder:
            given = copied(files, Path(folder))
            if not given:
                raise InvalidMedia(f"{name or 'The folder'} holds no file.", cure="Check the name of the folder.")
            begin = monotonic()
            try:
                study, arrays = self.context.isolated(
                    read_study, given, self._policy, memory_mb=self._memory_mb, timeout_s=self.timeout_s
                )
            except InvalidInput as error:
                raise type(error)(f"{name or 'The study'}: {error.message}", cure=error.cure) from None
        voxels_KJI = arrays["voxels"]
        affine = np.array(study["affine"], np.float64)
        told = {key: value for key, value in study.items() if key != "affine"}
        if container:
            told["container"] = container
        codes = [problem["code"] for problem in told["problems"]]
        _log.info("study was read", container=told["container"], seconds=monotonic() - begin, problems=codes)
        yield Sample(
            payload=Volume(voxels_KJI.transpose(2, 1, 0), affine),
            source=self.context.source,
            seq=0,
            clocks=Clocks(pts_s=None, monotonic_s=monotonic(), wall=self.context.now()),
            metadata={"study": told},
        )
