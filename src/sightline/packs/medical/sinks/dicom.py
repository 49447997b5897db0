"""DICOM results of a job: the headers of its input are read once more, and segmentation and report refer to them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal

import structlog
from pydicom import Dataset

from sightline.core.context import is_elsewhere
from sightline.core.errors import InvalidInput
from sightline.core.plugins import Context
from sightline.core.prediction import JsonObject
from sightline.packs.medical.output.deidentify import deidentified, hashed_uid
from sightline.packs.medical.output.dicom_source import Pictures, pictures_of
from sightline.packs.medical.output.report import Report, note
from sightline.packs.medical.reading.datasets import headers_of
from sightline.packs.medical.sources.dicomweb import fetched

log = structlog.get_logger(__name__)

_POOR_HEADERS = (AttributeError, KeyError, ValueError, TypeError, IndexError)
"""What the libraries raise where a header lacks what DICOM asks for, or has it wrong."""


def pictures_behind(context: Context, report: Report, study: JsonObject, key: str) -> Pictures:
    """Return the pictures from which the volume of a job was made.

    Args:
        context: of the sink.
        report: its slices have the UIDs that leave.
        study: what the reading said, with the UIDs of the input.
        key: of the de-identification; empty: the headers leave as they are.

    Raises:
        NoPictures: the input was no DICOM.
        NotFound: the object of the job has gone.
        InvalidInput: the headers cannot be read; or, with a key, words about the patient may stand in the pictures.
    """
    headers = headers_of(context, files_behind(context), study) if study.get("slices") else {}
    if key:
        headers = {str(hashed_uid(uid, key)): deidentified(header, key) for uid, header in headers.items()}
    return pictures_of(report, headers)


def dicom_files(
    context: Context,
    report: Report,
    pictures: Pictures,
    words: Sequence[str],
    *,
    form: Literal["labelmap", "binary"],
) -> tuple[dict[str, bytes], list[JsonObject]]:
    """Return the files that can be made, `seg` and `sr` as far as `words` has them, and notes on what is missing."""
    files: dict[str, bytes] = {}
    notes: list[JsonObject] = []
    missing = report.mask.labels_HW.shape[2] - len(pictures.slices)
    if missing:
        notes.append(note("dicom_without_slices", f"{missing} slices have no picture; DICOM results leave them out."))
    segmentation: Dataset | None = None
    try:
        if "seg" in words:
            from sightline.packs.medical.output import dicom_seg  # highdicom, only where DICOM is wanted

            segmentation = dicom_seg.segmentation(report, pictures, form=form)
            files["seg"] = _bytes(segmentation)
        if "sr" in words:
            from sightline.packs.medical.output import dicom_sr

            files["sr"] = _bytes(dicom_sr.structured_report(report, pictures, segmentation))
    except InvalidInput as error:
        notes.append(note("dicom_not_made", error.message))
    except _POOR_HEADERS as error:
        log.warning("dicom was not made", run=context.run, kind=type(error).__name__)
        notes.append(note("dicom_not_made", "The headers of the pictures lack what DICOM results need."))
    return files, notes


def files_behind(context: Context) -> Iterator[tuple[str, BinaryIO]]:
    """Yield name and content of each file of the job's object: one, those of a folder, or those of an archive."""
    key, artifacts = context.object, context.ports.artifacts
    if is_elsewhere(key):
        yield from fetched(context, key)
        return
    for each in artifacts.list(key) if key.endswith("/") else (key,):
        with artifacts.open(each) as file:
            yield each.removeprefix(key) or each.rpartition("/")[2], file


def _bytes(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
