"""Code words (SNOMED CT and DICOM) for what models find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from pydicom.sr.coding import Code

Kind: TypeAlias = tuple[Code, Code]
"""Category and type of a segment."""

OWN_SCHEME = "99SIGHTLINE"

ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
CHANGE = Code("49755003", "SCT", "Morphologically Altered Structure")

KINDS: Mapping[str, Kind] = {
    "brain": (ANATOMY, Code("12738006", "SCT", "Brain")),
    "liver": (ANATOMY, Code("10200004", "SCT", "Liver")),
    "spleen": (ANATOMY, Code("78961009", "SCT", "Spleen")),
    "kidney": (ANATOMY, Code("64033007", "SCT", "Kidney")),
    "lung": (ANATOMY, Code("39607008", "SCT", "Lung")),
    "heart": (ANATOMY, Code("80891009", "SCT", "Heart")),
    "pancreas": (ANATOMY, Code("15776009", "SCT", "Pancreas")),
    "prostate": (ANATOMY, Code("41216001", "SCT", "Prostate")),
    "bone": (ANATOMY, Code("272673000", "SCT", "Bone")),
    "lesion": (CHANGE, Code("52988006", "SCT", "Lesion")),
    "nodule": (CHANGE, Code("27925004", "SCT", "Nodule")),
    "tumor": (CHANGE, Code("108369006", "SCT", "Neoplasm")),
    "tumour": (CHANGE, Code("108369006", "SCT", "Neoplasm")),
    "cyst": (CHANGE, Code("12494005", "SCT", "Cyst")),
    "edema": (CHANGE, Code("79654002", "SCT", "Edema")),
    "hemorrhage": (CHANGE, Code("50960005", "SCT", "Hemorrhage")),
}
"""Label of a model -> what the standard calls it."""


def kind_of(label: str) -> Kind:
    """Return the code words of a label; a code of our own with the label as its meaning where the standard has none."""
    known = KINDS.get(label.casefold().strip())
    if known is not None:
        return known
    value = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in label)[:16] or "label"
    return CHANGE, Code(value, OWN_SCHEME, label[:64] or "label")
