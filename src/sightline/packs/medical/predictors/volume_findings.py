"""Lists what a mask of a volume holds: a finding for each component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Finding, Findings, Mask
from sightline.core.sample import Sample, Volume
from sightline.packs.medical.components import Components, components_of
from sightline.packs.medical.debugging import Intermediates
from sightline.packs.medical.grids import voxel_volume_mm3
from sightline.packs.medical.profiles import Profiled


@dataclass(kw_only=True)
class VolumeFindings(Profiled, Predictor):
    """A finding for each component of a mask, the largest first: its label, its volume, and where it lies.

    `value` is the volume in mm3, `data` the finding as the result of a job shows it; places are voxels of the input,
    `location` the voxel of the component that is nearest to its centroid. `confidence` is the mean of the model's
    probability; it is not calibrated.

    Attributes:
        of: key of the predictor that gives the mask.
        debug_dir: folder for the components as NIfTI and PNG, by run, each with the place of its finding in the list;
            empty: none is kept.
    """

    of: str
    debug_dir: str = ""

    def open(self, context: Context) -> None:
        """Read the profile; see `Profiled`."""
        super().open(context)
        self._kept = Intermediates(self.debug_dir, context, "2-findings")

    def predict(self, samples: Sequence[Sample[Volume]]) -> Sequence[Findings]:
        """Return the findings of each mask."""
        return [self._findings(sample) for sample in samples]

    def _findings(self, sample: Sample[Volume]) -> Findings:
        mask = sample.prediction(self.of, Mask)
        found = components_of(mask.labels_HW, connectivity=self._profile.connectivity, maps=mask.maps)
        affine = sample.payload.affine
        volumes = found.num_voxels * voxel_volume_mm3(affine)
        order = [
            int(row) for row in np.argsort(-volumes, kind="stable") if volumes[row] >= self._profile.minimum_volume_mm3
        ]
        if self._kept.is_on:
            place = np.zeros(len(found) + 1, np.uint16)  # of each component in the list; 0: background, or too small
            place[np.array(order, np.int64) + 1] = np.minimum(np.arange(1, len(order) + 1), 65535)
            listed_IJK = place[found.numbered_IJK]
            self._kept.keep("components", listed_IJK, affine, labels_IJK=listed_IJK)
        items, counts = [], dict[str, int]()
        for row in order:
            label = int(found.label[row])
            name = mask.class_name[label] if label < len(mask.class_name) and mask.class_name[label] else str(label)
            counts[name] = counts.get(name, 0) + 1
            items.append(
                Finding(
                    name=name,
                    value=round(float(volumes[row]), 3),
                    unit="mm3",
                    subject=f"{name}_{counts[name]}",
                    data=_told(found, row, affine),
                )
            )
        return Findings(items=tuple(items), model=mask.model)


def _told(found: Components, row: int, affine: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    """Return a finding as the result of a job shows it."""
    low, high = found.low_N3[row].tolist(), found.high_N3[row].tolist()
    centre = affine[:3, :3] @ found.centre_N3[row] + affine[:3, 3]
    sure = found.means.get("probability")
    mean = round(float(sure[row]), 4) if sure is not None else None
    at_one = found.means.get("agreement")
    return {
        "confidence": mean,
        "location": dict(zip("xyz", found.inside_N3[row].tolist(), strict=True)),
        "bounding_box": {f"{edge}_{axis}": at for n, axis in enumerate("xyz") for edge, at in _edges(low[n], high[n])},
        "centroid_mm": dict(zip("xyz", np.round(centre, 3).tolist(), strict=True)),
        "touches_border": bool(found.touches_border[row]),
        "num_voxels": int(found.num_voxels[row]),
        "confidence_detail": {
            "mean": mean,
            "max": round(float(found.greatest["probability"][row]), 4) if sure is not None else None,
            "agreement": round(float(at_one[row]), 4) if at_one is not None else None,
            "calibrated": False,
        },
    }


def _edges(low: int, high: int) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("min", low), ("max", high)
