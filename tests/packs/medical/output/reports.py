"""Reports of phantoms, as the end of a job has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from tests.packs.medical.phantoms import Phantom, phantom

from sightline.core.prediction import Finding, JsonObject, Mask
from sightline.core.sample import Sample, Volume
from sightline.packs.medical.output.report import Provenance, Report
from sightline.testing import START, make_clocks

DIGEST = "sha256:" + "5" * 64


def study_of(of: Phantom, datasets: Sequence[Dataset] = (), **others: Any) -> JsonObject:
    """Return what the reading says of a phantom; with `datasets`, one a slice along k, as of a DICOM series."""
    return {
        "container": "dicom" if datasets else "nifti",
        "modality": "CT",
        "dimensions": list(of.voxels_IJK.shape),
        "spacing": [float(step) for step in np.linalg.norm(of.affine[:3, :3], axis=0)],
        "orientation": "RAS",
        "series": {"uid": str(datasets[0].SeriesInstanceUID), "description": "axial", "number": 2} if datasets else {},
        "rest": [],
        "problems": [],
        "slices": [
            {
                "index": k,
                "sop_uid": str(each.SOPInstanceUID),
                "file": f"{k}.dcm",
                "position_mm": float(each.ImagePositionPatient[2]),
            }
            for k, each in enumerate(datasets)
        ],
        "digest": DIGEST,
        **others,
    }


def finding_of(mask_IJK: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64], number: int = 1) -> Finding:
    """Return the finding of everything that is in a mask."""
    places = np.argwhere(mask_IJK)
    low, high = places.min(0), places.max(0)
    centre = affine[:3, :3] @ places.mean(0) + affine[:3, 3]
    middle = places[np.argmin(((places - places.mean(0)) ** 2).sum(1))]
    return Finding(
        name="lesion",
        value=float(len(places) * abs(np.linalg.det(affine[:3, :3]))),
        unit="mm3",
        subject=f"lesion_{number}",
        data={
            "confidence": 0.92,
            "location": dict(zip("xyz", map(int, middle), strict=True)),
            "bounding_box": {
                f"{side}_{axis}": int(at)
                for side, corner in (("min", low), ("max", high))
                for axis, at in zip("xyz", corner, strict=True)
            },
            "centroid_mm": dict(zip("xyz", map(float, centre), strict=True)),
            "touches_border": False,
            "confidence_detail": {"mean": 0.92, "max": 0.99, "agreement": None, "calibrated": False},
        },
    )


METRICS = (
    Finding(name="dice_score", value=0.89),
    Finding(name="hausdorff_distance", value=2.3, unit="mm", data={"description": "Hausdorff distance in mm"}),
    Finding(name="assd", value=float("inf"), unit="mm"),
)


def report_of(
    of: Phantom | None = None, *, study: JsonObject | None = None, maps: bool = False, **others: Any
) -> Report:
    """Return the report of a phantom with one finding; `maps` adds a probability and an agreement."""
    of = of or phantom()
    made = {}
    if maps:
        made = {
            "probability": (0.9 * of.mask_IJK).astype(np.float16),
            "agreement": (1 - 0.25 * of.mask_IJK).astype(np.float16),
        }
    fields: dict[str, Any] = {
        "volume": Volume(of.voxels_IJK, of.affine),
        "mask": Mask(labels_HW=of.mask_IJK, class_name=("background", "lesion"), maps=made, model="little-net@2"),
        "study": study or study_of(of),
        "findings": (finding_of(of.mask_IJK, of.affine),) if of.mask_IJK.any() else (),
        "metrics": METRICS,
        "provenance": Provenance(
            models=({"model": "little-net@2", "digest": DIGEST, "licence": "MIT"},),
            profile={"name": "fast_debug", "threshold": 0.55, "spacing_mm": [2, 2, 2]},
            code="sightline 0.1.0",
            run="run-1",
            input={"object": "uploads/scan.nii.gz", "digest": DIGEST},
            started=START,
            finished=START + timedelta(seconds=45.2),
        ),
        "stem": "results/analysis_1234",
    }
    return Report(**{**fields, **others})


def sample_of(report: Report) -> Sample[Volume]:
    """Return the sample from which a job would make a report."""
    return Sample(payload=report.volume, source="study", seq=0, clocks=make_clocks(0), metadata={"study": report.study})
