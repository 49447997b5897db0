"""The headers of the files behind a volume, for what is written in DICOM about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread

from sightline.core.plugins import Context, NewArray
from sightline.core.prediction import JsonObject
from sightline.packs.medical.reading.copies import copied
from sightline.packs.medical.reading.studies import opened, scanned

_MOST_BYTES = 64 << 10  # of one element


def headers_of(
    context: Context, files: Iterator[tuple[str, BinaryIO]], study: JsonObject, *, timeout_s: float = 120.0
) -> dict[str, Dataset]:
    """Return the headers behind a volume by SOP instance UID, in the order of its slices; none where it is no DICOM.

    They have no pixels, no private elements and no long ones. The files are parsed in a process of their own.

    Args:
        context: of the plug-in that asks.
        files: name and content of what the volume was read from: one object, or those of a folder.
        study: the metadata `study` of the volume.
        timeout_s: seconds that it may take.

    Raises:
        InvalidMedia: they cannot be read.
    """
    uids = list(dict.fromkeys(each["sop_uid"] for each in study.get("slices", ()) if each["sop_uid"]))
    if not uids:
        return {}
    with TemporaryDirectory(prefix="sightline-study-") as folder:
        value, _ = context.isolated(read_headers, copied(files, Path(folder)), uids, timeout_s=timeout_s)
    found: Mapping[str, Any] = value["headers"]
    return {uid: Dataset.from_json(found[uid]) for uid in uids if uid in found}


def read_headers(_: NewArray, files: Sequence[Sequence[str]], uids: Sequence[str]) -> dict[str, Any]:
    """Return the wanted headers as DICOM JSON by SOP instance UID; runs isolated."""
    given, _container = opened(files)
    slices, _unfit = scanned(given)
    paths = {each.sop_uid: each.path for each in slices}
    return {"headers": {uid: _header(paths[uid]) for uid in uids if uid in paths}}


def _header(path: str) -> dict[str, Any]:
    dataset = dcmread(path, stop_before_pixels=True, force=True)
    dataset.remove_private_tags()
    for element in list(dataset):
        if isinstance(element.value, bytes) and len(element.value) > _MOST_BYTES:
            del dataset[element.tag]
    found: dict[str, Any] = dataset.to_json_dict()
    return found
