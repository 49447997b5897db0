"""The mask as a DICOM segmentation that refers to the pictures from which it was made.

LABELMAP with JPEG-LS by default: 27 times smaller than BINARY, which old viewers need.

Shape letters: K slices, H rows, W columns.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from highdicom.seg import Segmentation as SegFile
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from sightline.packs.medical.output.codes import kind_of
from sightline.packs.medical.output.dicom_source import Pictures, placed_labels, uid_of
from sightline.packs.medical.output.report import Report

MANUFACTURER, MODEL = "Sightline", "Sightline medical-report"
UTF_8 = "ISO_IR 192"  # whatever the pictures have: labels may be Russian
SERIES_NUMBER = 900
"""Of the series of segmentations: behind those of any scanner."""

_COLOURS = ((60.0, 60.0, 35.0), (78.0, -28.0, -18.0), (83.0, 10.0, 70.0), (72.0, -28.0, 25.0), (62.0, 45.0, -55.0))


def segmentation(report: Report, pictures: Pictures, *, form: Literal["labelmap", "binary"] = "labelmap") -> SegFile:
    """Return the segmentation: a segment for each label, numbered as in the mask.

    Slices without a picture (those that the reading filled in) are left out.

    Raises:
        InvalidMedia: the pictures do not lie on the grid of the volume.
    """
    labels = placed_labels(report, pictures)
    source, placed = _in_order(pictures, labels)
    made = SegFile(
        source_images=source,
        pixel_array=np.ascontiguousarray(placed),
        segmentation_type=SegmentationTypeValues[form.upper()],
        segment_descriptions=_described(report, int(labels.max(initial=0))),
        series_instance_uid=uid_of(report, "seg series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid_of(report, "seg"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=report.provenance.code or "unknown",
        device_serial_number="0",
        content_label="SEGMENTATION",
        series_description="Segmentation",
        transfer_syntax_uid=JPEGLSLossless if form == "labelmap" else ExplicitVRLittleEndian,
        omit_empty_frames=bool(labels.any()),
    )
    made.SpecificCharacterSet = UTF_8
    return made


def _in_order(pictures: Pictures, labels: Any) -> tuple[list[Any], Any]:
    """Return the source files, and the labels in the order of their frames."""
    if pictures.frames is None:
        return list(pictures.headers), labels
    num_frames = int(pictures.first.NumberOfFrames)
    placed = np.zeros((num_frames, *labels.shape[1:]), labels.dtype)
    placed[list(pictures.frames)] = labels
    return [pictures.first], placed


def _described(report: Report, greatest: int) -> list[SegmentDescription]:
    """Return a description of each number from 1 to the greatest: gaps are not allowed."""
    names = report.labels
    model = (report.mask.model or "unknown")[:64]
    name, _, version = model.partition("@")
    algorithm = AlgorithmIdentificationSequence(
        name=model if " + " in model else name,
        family=codes.cid7162.ArtificialIntelligence,
        version="ensemble" if " + " in model else version or "unknown",
    )
    described = []
    for number in range(1, max(greatest, max(names, default=1)) + 1):
        label = names.get(number, f"label {number}")
        category, kind = kind_of(label)
        described.append(
            SegmentDescription(
                segment_number=number,
                segment_label=label[:64],
                segmented_property_category=category,
                segmented_property_type=kind,
                algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
                tracking_uid=uid_of(report, f"segment {number}"),
                tracking_id=label[:64],
                display_color=CIELabColor(*_COLOURS[(number - 1) % len(_COLOURS)]),
            )
        )
    return described
