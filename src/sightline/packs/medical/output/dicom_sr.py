"""The findings as a DICOM structured report: imaging measurements (TID 1500), a group with its volume for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    SourceImageForMeasurementGroup,
    SourceImageForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr.templates import AlgorithmIdentification
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from sightline.core.prediction import Finding
from sightline.packs.medical.output.codes import kind_of
from sightline.packs.medical.output.dicom_seg import MANUFACTURER, MODEL, SERIES_NUMBER, UTF_8
from sightline.packs.medical.output.dicom_source import Pictures, uid_of
from sightline.packs.medical.output.report import Report, details, volume_of
from sightline.packs.medical.output.result_json import names_of

_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
_VOLUME = Code("118565006", "SCT", "Volume")
_ENGLISH = CodedConcept("en-US", "RFC5646", "English (United States)")
_MOST = 1000
"""Findings that a report lists: beyond that no viewer opens it in a useful time."""


def structured_report(report: Report, pictures: Pictures, segmentation: Dataset | None = None) -> Comprehensive3DSR:
    """Return the report; it refers to the segments of `segmentation` where one was made, else to the pictures alone.

    A finding that is all there is of its label refers to the segment of the label. Where a label has several findings,
    each refers to the picture through its middle: one segment cannot tell them apart. Lists the 1000 largest. Where
    nothing was found, a group for each label says that its volume is 0.
    """
    findings = report.findings or _nothing(report)
    names, by_type = names_of(findings), report.by_type()
    numbers = {name: number for number, name in report.labels.items()}
    groups = []
    for finding, name in list(zip(findings, names, strict=True))[:_MOST]:
        alone = len(by_type.get(finding.name, ())) == 1 and finding.name in numbers
        if segmentation is not None and alone:
            groups.append(_of_segment(report, finding, name, segmentation, numbers[finding.name]))
        else:
            groups.append(_of_picture(report, finding, name, pictures))
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                observer_type=codes.DCM.Device,
                observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                    uid=uid_of(report, "device"), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=MODEL
                ),
            )
        ),
        procedure_reported=_PROCEDURE,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(_ENGLISH),
    )
    made = Comprehensive3DSR(
        evidence=[*pictures.headers, *([] if segmentation is None else [segmentation])],
        content=content[0],
        series_instance_uid=uid_of(report, "sr series"),
        series_number=SERIES_NUMBER + 1,
        sop_instance_uid=uid_of(report, "sr"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description="Measurements",
    )
    made.SpecificCharacterSet = UTF_8
    return made


def _nothing(report: Report) -> list[Finding]:
    """Return what a report without findings says: it must measure something."""
    return [Finding(name=name, value=0.0, unit="mm3") for name in report.labels.values() or ("lesion",)]


def _of_segment(report: Report, finding: Finding, name: str, segmentation: Dataset, number: int) -> Any:
    source = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        **_told(report, finding, name),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_images=[
                SourceImageForSegmentation(each.ReferencedSOPClassUID, each.ReferencedSOPInstanceUID) for each in source
            ],
        ),
    )


def _of_picture(report: Report, finding: Finding, name: str, pictures: Pictures) -> Any:
    return MeasurementsAndQualitativeEvaluations(
        **_told(report, finding, name), source_images=_middle(finding, pictures) or None
    )


def _told(report: Report, finding: Finding, name: str) -> dict[str, Any]:
    category, kind = kind_of(finding.name)
    model, _, version = (report.mask.model or "unknown").partition("@")
    return {
        "tracking_identifier": TrackingIdentifier(uid=uid_of(report, f"finding {name}"), identifier=name),
        "finding_category": category,
        "finding_type": kind,
        "algorithm_id": AlgorithmIdentification(name=model or "unknown", version=version or "unknown"),
        "measurements": [Measurement(name=_VOLUME, value=volume_of(finding), unit=codes.UCUM.CubicMillimeter)],
    }


def _middle(finding: Finding, pictures: Pictures) -> Sequence[SourceImageForMeasurementGroup]:
    """Return the picture through the middle of a finding, where that slice has one."""
    place = details(finding).get("location") or {}
    k = place.get("z")
    header = None if k is None else pictures.of_slice(int(k))
    if k is None or header is None:
        return ()
    frames = None if pictures.frames is None else [pictures.frames[pictures.slices.index(int(k))] + 1]
    return [SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID, frames)]
