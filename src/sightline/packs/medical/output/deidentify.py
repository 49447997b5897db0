"""Takes the patient out of what leaves: an allow-list, UIDs by keyed hash, dates moved by a keyed number of days.

The same key gives the same new UIDs and the same days for a patient, so that what leaves still fits together; without
the key nobody finds the way back. Pixels are not looked at: where words may stand in them, the dataset is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, TypeAlias

from pydicom import DataElement, Dataset, FileDataset, FileMetaDataset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from sightline.core.errors import ConfigError, InvalidInput
from sightline.core.prediction import JsonObject
from sightline.packs.medical.output.allowed import (
    CAPTURES,
    CODING_SCHEMES,
    EMPTIED,
    KEPT,
    SEQUENCES,
    WITHOUT_ANNOTATION,
    WORDS,
)

Key: TypeAlias = str
"""A secret of at least 16 characters."""

METHOD = "Sightline allow-list 1"
LEAST_KEY = 16
_STANDARD = "1.2.840.10008."  # UIDs of the standard itself: they name classes, not pictures
_MOST_DAYS = 3650
_OLDEST = 89  # years; older ages are so rare that they point at a person
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(.*)", re.DOTALL)
_UNREADABLE = (ValueError, TypeError, AttributeError, KeyError, NotImplementedError, OverflowError, UserWarning)
_CODE_FIELDS = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning", "LongCodeValue")


class WordsInPixels(InvalidInput):
    """Words about the patient may stand in the pixels of a picture."""


def checked_key(key: Key) -> Key:
    """Return the key.

    Raises:
        ConfigError: it is too short to be a secret.
    """
    if len(key) < LEAST_KEY:
        raise ConfigError(
            f"The key of the de-identification has {len(key)} characters.",
            cure=f"Take {LEAST_KEY} or more, as from: openssl rand -hex 32",
        )
    return key


def deidentified(dataset: Dataset, key: Key) -> Dataset:
    """Return a new dataset with nothing of a person in its header; the given one stays as it is.

    Raises:
        ConfigError: the key is too short.
        WordsInPixels: words about the patient may stand in the pixels.
    """
    checked_key(key)
    _refuse_annotation(dataset)
    patient = str(dataset.get("PatientID") or dataset.get("PatientName") or "")
    made = _cleaned(dataset, key, days_of(patient, key))
    made.PatientID = pseudonym(patient, key) if patient else ""
    for keyword in EMPTIED & {"PatientName", "PatientBirthDate"}:
        setattr(made, keyword, "")
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = METHOD
    made.LongitudinalTemporalInformationModified = "MODIFIED"
    if not hasattr(dataset, "file_meta"):
        return made
    meta = FileMetaDataset()
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax:
        meta.TransferSyntaxUID = syntax
    if "SOPClassUID" in made:
        meta.MediaStorageSOPClassUID = made.SOPClassUID
    if "SOPInstanceUID" in made:
        meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return FileDataset("", made, preamble=b"\0" * 128, file_meta=meta)


def hashed_uid(uid: str, key: Key) -> UID:
    """Return another UID for a UID, always the same for the same key; those of the standard stay."""
    if not uid or uid.startswith(_STANDARD):
        return UID(uid)
    number = int.from_bytes(_digest(key, "uid", uid)[:16], "big")
    return UID(f"2.25.{number}")


def pseudonym(patient: str, key: Key) -> str:
    """Return a name for a patient that only the holder of the key can make."""
    return "P" + _digest(key, "patient", patient).hex()[:15].upper()


def days_of(patient: str, key: Key) -> timedelta:
    """Return by how much all dates of a patient move: 1 to 3650 days into the past."""
    return timedelta(days=-1 - int.from_bytes(_digest(key, "days", patient)[:8], "big") % _MOST_DAYS)


def deidentified_study(study: JsonObject, key: Key) -> JsonObject:
    """Return what the reading says of a series, without words that come from the files: names, descriptions, UIDs."""
    series: Mapping[str, Any] = study.get("series") or {}
    return {
        **{name: value for name, value in study.items() if name in _PLAIN},
        "series": {"uid": str(hashed_uid(str(series.get("uid") or ""), key)), "number": series.get("number")},
        "rest": [{"reason": each.get("reason"), "num_files": each.get("num_files")} for each in study.get("rest", ())],
        "problems": [
            {**each, "message": str(each.get("code", "")).replace("_", " ").capitalize() + "."}
            for each in study.get("problems", ())
        ],
        "slices": [
            {
                "index": each["index"],
                "sop_uid": str(hashed_uid(str(each.get("sop_uid") or ""), key)),
                "position_mm": each.get("position_mm"),
            }
            for each in study.get("slices", ())
        ],
    }


_PLAIN = ("container", "modality", "dimensions", "spacing", "orientation", "form_code")


def says_words(dataset: Dataset) -> bool:
    """Return whether a header says that words are burned into the pixels."""
    return str(dataset.get("BurnedInAnnotation") or "").upper() == "YES"


def _refuse_annotation(dataset: Dataset) -> None:
    said = str(dataset.get("BurnedInAnnotation") or "").upper()
    modality, kind = str(dataset.get("Modality") or ""), str(dataset.get("SOPClassUID") or "")
    if said == "NO":
        return
    if says_words(dataset):
        reason = "says that words are burned into its pixels"
    elif kind.startswith(CAPTURES):
        reason = "is a capture of a screen and does not say that its pixels hold no words"
    elif modality not in WITHOUT_ANNOTATION:
        reason = f"is of the kind {modality or 'unknown'} and does not say that its pixels hold no words"
    else:
        return
    raise WordsInPixels(
        f"A picture may not leave: it {reason}.",
        cure="Blacken the words, set BurnedInAnnotation to NO, and send it again.",
    )


def _cleaned(dataset: Dataset, key: Key, days: timedelta) -> Dataset:
    """Return what of a dataset, or of an item of a sequence, may leave."""
    made = Dataset()
    if _is_code(dataset):
        for keyword in _CODE_FIELDS:
            if keyword in dataset:
                setattr(made, keyword, dataset[keyword].value)
        return made
    for tag in list(dataset.keys()):
        if dataset.get_item(tag).VR == "UN":  # a name may hide in an element of an unknown type
            continue
        try:
            kept = _element(dataset[tag], key, days)
        except _UNREADABLE:
            continue
        if kept is not None:
            made.add(kept)
    return made


def _is_code(item: Dataset) -> bool:
    return "CodingSchemeDesignator" in item and str(item.CodingSchemeDesignator) in CODING_SCHEMES


def _element(element: DataElement, key: Key, days: timedelta) -> DataElement | None:
    """Return an element as it may leave, or None."""
    keyword, made = keyword_for_tag(element.tag), None
    if not keyword or element.tag.is_private:
        return None
    standard = dictionary_VR(element.tag)
    if keyword in EMPTIED:
        made = DataElement(element.tag, standard, "")
    elif element.VR not in standard:  # nor may it have another type than the standard gives it
        made = None
    elif element.VR == "SQ":
        if keyword in SEQUENCES:
            items = [each for item in element.value or () if len(each := _cleaned(item, key, days))]
            made = DataElement(element.tag, "SQ", Items(items)) if items else None
    elif element.VR == "UI":
        made = _uids(element, key)
    elif element.VR in ("DA", "DT"):
        made = _dates(element, days)
    elif keyword == "PatientAge":
        made = DataElement(element.tag, "AS", _age(str(element.value or "")))
    elif keyword in KEPT and str(element.value) in WORDS.get(keyword, (str(element.value),)):
        made = DataElement(element.tag, element.VR, element.value)
    return made


def _uids(element: DataElement, key: Key) -> DataElement:
    value = element.value
    many = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
    changed: Any = [hashed_uid(str(each), key) for each in value] if many else hashed_uid(str(value or ""), key)
    return DataElement(element.tag, "UI", changed)


def _dates(element: DataElement, days: timedelta) -> DataElement | None:
    """Return a date moved by so many days; None where it is none: who knows what it is."""
    found = _DATE.fullmatch(str(element.value or ""))
    if found is None:
        return DataElement(element.tag, element.VR, "") if not element.value else None
    year, month, day, rest = found.groups()
    if rest and (element.VR == "DA" or not re.fullmatch(r"[\d.+-]*", rest)):
        return None
    try:
        moved = date(int(year), int(month), int(day)) + days
    except (ValueError, OverflowError):
        return None
    return DataElement(element.tag, element.VR, moved.strftime("%Y%m%d") + rest)


def _age(age: str) -> str:
    found = re.fullmatch(r"(\d{3})([DWMY])", age)
    if found is None:
        return ""
    return f"{_OLDEST + 1:03d}Y" if found[2] == "Y" and int(found[1]) > _OLDEST else age


def _digest(key: Key, what: str, text: str) -> bytes:
    return hmac.new(key.encode(), f"{what}\0{text}".encode(), hashlib.sha256).digest()
