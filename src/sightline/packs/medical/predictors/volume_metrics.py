"""Compares a mask with a reference mask, where one is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.core.errors import ConfigError, InvalidInput
from sightline.core.plugins import Predictor
from sightline.core.prediction import Finding, Findings, Mask
from sightline.core.sample import Sample, Volume
from sightline.packs.medical.metrics import DESCRIPTIONS, UNITS, metrics_of
from sightline.packs.medical.profiles import Profiled

_SAME_MM = 0.05  # by which the corners of two grids may lie apart; headers hold single precision


@dataclass(kw_only=True)
class VolumeMetrics(Profiled, Predictor):
    """Dice, surface distances and other numbers of a mask against a reference; nothing where there is none.

    All labels together, as `dice_score`, `hausdorff_distance`, `sensitivity`, `specificity` and others; where the mask
    has several labels, each by itself too, with the label as the subject. A metric that is not defined, such as the
    distance to an empty mask, has no value.

    Attributes:
        of: key of the predictor that gives the mask.
        reference_object: key of the reference in the artifact store, a NIfTI mask on the grid of the volume; empty:
            none.
        tolerance_mm: surface distance that counts as none, for the normalised surface Dice.
    """

    of: str
    reference_object: str = ""
    tolerance_mm: float = 1.0

    def __post_init__(self) -> None:
        if self.tolerance_mm <= 0:
            raise ConfigError(f"tolerance_mm is {self.tolerance_mm}; it must be above 0.")

    def predict(self, samples: Sequence[Sample[Volume]]) -> Sequence[Findings]:
        """Return the metrics of each mask; none without a reference."""
        if not self.reference_object:
            return [Findings() for _ in samples]
        reference = self._reference()
        return [self._metrics(sample, reference) for sample in samples]

    def _reference(self) -> Volume:
        """Return the reference as it is stored.

        Raises:
            NotFound: nothing is stored under the key.
            InvalidMedia: it cannot be read.
        """
        from sightline.packs.medical.sources.study import StudySource  # a sibling, needed only for a reference

        source = StudySource(profile=self.profile, profiles=self.profiles, geometry="accept")
        source.open(self.context)
        try:
            with self.context.ports.artifacts.open(self.reference_object) as file:
                [sample] = source.load(file, self.reference_object, "")
        finally:
            source.close()
        volume: Volume = sample.payload
        return volume

    def _metrics(self, sample: Sample[Volume], reference: Volume) -> Findings:
        mask = sample.prediction(self.of, Mask)
        self._check_grid(sample.payload, reference)
        labels_IJK, right_IJK = mask.labels_HW, reference.voxels_IJK
        items = self._items(labels_IJK > 0, right_IJK > 0, sample, "")
        names = [name for name in mask.class_name[1:] if name]
        if len(names) > 1:
            for number, name in enumerate(mask.class_name):
                if number and name:
                    items += self._items(labels_IJK == number, right_IJK == number, sample, name)
        return Findings(items=tuple(items))

    def _items(self, mask_IJK: Any, right_IJK: Any, sample: Sample[Volume], subject: str) -> list[Finding]:
        values = metrics_of(
            mask_IJK,
            right_IJK,
            sample.payload.affine,
            tolerance_mm=self.tolerance_mm,
            connectivity=self._profile.connectivity,
        )
        return [
            Finding(
                name=name,
                value=value,
                unit=UNITS.get(name, ""),
                subject=subject,
                data={"description": _described(name, self.tolerance_mm, defined=value is not None)},
            )
            for name, value in values.items()
        ]

    def _check_grid(self, volume: Volume, reference: Volume) -> None:
        shapes = volume.voxels_IJK.shape, reference.voxels_IJK.shape
        corners = np.array([[0, 0, 0, 1], [*(num - 1 for num in shapes[0]), 1]], float).T
        if shapes[0] != shapes[1] or np.abs((volume.affine - reference.affine) @ corners).max() > _SAME_MM:
            raise InvalidInput(
                f"The reference {self.reference_object!r} is not on the grid of the volume: {list(shapes[1])} voxels "
                f"against {list(shapes[0])}, or another place.",
                cure="Resample the reference to the volume that it belongs to.",
            )


def _described(name: str, tolerance_mm: float, *, defined: bool) -> str:
    text = DESCRIPTIONS[name] + (f" of {tolerance_mm:g} mm" if name == "nsd" else "")
    return text if defined else f"{text}; not defined, for one of the masks is empty"
