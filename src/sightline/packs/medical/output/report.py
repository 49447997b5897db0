"""What is known at the end of a medical job, in one place; every writer of this package takes it.

Knows nothing of how any of it is written.

Shape letters: I, J, K voxels along the axes of the input grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from sightline.core.errors import ConfigError
from sightline.core.prediction import Finding, JsonObject, Mask
from sightline.core.sample import Volume

WORDS = ("mask", "uncertainty", "seg", "sr", "xlsx", "json")
"""What a job leaves, in the order in which it is written; pictures come before the report that shows them."""

SUFFIXES: Mapping[str, str] = {
    "mask": ".nii.gz",
    "uncertainty": ".uncertainty.nii.gz",
    "probability": ".probability.nii.gz",
    "volume": ".volume.nii.gz",
    "seg": ".seg.dcm",
    "sr": ".sr.dcm",
    "xlsx": ".xlsx",
    "json": ".json",
    "preview": ".preview.png",
    "axial": ".axial.png",
    "coronal": ".coronal.png",
    "sagittal": ".sagittal.png",
}
"""Word of a file -> what follows the stem of the job in its key."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a result comes from.

    Attributes:
        models: `{"model": "name@version", "digest": "sha256:...", "licence": "..."}` of each net that ran.
        profile: the resolved profile.
        code: name and version of the program.
        run: id of the job.
        input: `{"object": key, "digest": "sha256:..."}`.
        started: when the work began, UTC.
        finished: when the report was made, UTC.
    """

    models: Sequence[JsonObject] = ()
    profile: JsonObject = field(default_factory=dict)
    code: str = ""
    run: str = ""
    input: JsonObject = field(default_factory=dict)
    started: datetime
    finished: datetime

    @property
    def seconds(self) -> float:
        """Time from the begin of the work to the report."""
        return max(0.0, (self.finished - self.started).total_seconds())


@dataclass(frozen=True, eq=False, kw_only=True)
class Report:
    """One volume, what was found in it, and how.

    Attributes:
        volume: as it was read.
        mask: labels on the grid of the volume.
        study: what the reading says of the series: `metadata["study"]` of the sample.
        findings: one for each thing that was found, the largest first; `data` holds its place.
        metrics: agreement with a reference mask, where one was given.
        stem: public key of the result without a suffix.
        notes: what was not made, and why, as problems are written.
    """

    volume: Volume
    mask: Mask
    study: JsonObject
    findings: Sequence[Finding]
    metrics: Sequence[Finding]
    provenance: Provenance
    stem: str
    notes: Sequence[JsonObject] = ()

    def __post_init__(self) -> None:
        grid, labels = self.volume.voxels_IJK.shape, self.mask.labels_HW.shape
        if grid != labels:
            raise ConfigError(
                f"The mask is {list(labels)}, the volume {list(grid)}.", cure="A mask lies on the grid of its input."
            )

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along i, j and k, in mm."""
        lengths = np.linalg.norm(self.volume.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @property
    def modality(self) -> str:
        """DICOM word for the kind of scanner, `CT` or `MR`; empty where the file does not say."""
        return str(self.study.get("modality") or "")

    @property
    def problems(self) -> list[JsonObject]:
        """Those of the reading, then the notes of the writing."""
        return [*self.study.get("problems", ()), *self.notes]

    @property
    def labels(self) -> dict[int, str]:
        """Name of each label above 0."""
        return {number: name for number, name in enumerate(self.mask.class_name) if number and name}

    @property
    def total_volume_mm3(self) -> float:
        """Volume of all findings together."""
        return float(sum(volume_of(finding) for finding in self.findings))

    @property
    def confidence(self) -> float:
        """Mean confidence of the findings, each counted by its volume; 0 where nothing was found."""
        total = self.total_volume_mm3
        if not total:
            return 0.0
        weighted = sum(volume_of(each) * float(details(each).get("confidence") or 0.0) for each in self.findings)
        return float(weighted / total)

    def by_type(self) -> dict[str, list[Finding]]:
        """Return the findings of each type."""
        groups: dict[str, list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(finding.name, []).append(finding)
        return groups

    def key(self, word: str) -> str:
        """Return the public key of a file."""
        return self.stem + SUFFIXES[word]

    def slices(self) -> dict[int, JsonObject]:
        """Return what the reading says of each slice, by its index along k."""
        return {int(each["index"]): each for each in self.study.get("slices", ())}


def volume_of(finding: Finding) -> float:
    """Return the volume of a finding in mm3."""
    return float(finding.value) if isinstance(finding.value, int | float) else 0.0


def details(finding: Finding) -> Mapping[str, Any]:
    """Return what is known of a finding beside its volume."""
    return finding.data or {}


def note(code: str, message: str) -> JsonObject:
    """Return a problem that changes nothing about the result, such as a file that could not be made."""
    return {"code": code, "message": message, "severity": "note", "slices": []}
