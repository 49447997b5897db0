"""Which slices make the volume, and why the others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.core.errors import InvalidMedia
from sightline.packs.medical.reading.problems import Problems
from sightline.packs.medical.reading.slices import Series, Slice, Unfit

_MODALITIES = ("CT", "MR", "PT", "NM", "US")
_SAME_COSINE, _SAME_SPACING = 1e-3, 1e-3
Rest = dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """The slices of one volume, all of one series, orientation, size and spacing; in no order yet."""

    series: Series
    slices: tuple[Slice, ...]
    rest: tuple[Rest, ...]


def chosen_of(slices: Sequence[Slice], unfit: Iterable[Unfit], problems: Problems) -> Chosen:
    """Choose a series, and the slices of it that make a volume: the most slices, then CT before MR before the others.

    Raises:
        InvalidMedia: there is none.
    """
    others = list(unfit)
    if not slices:
        raise _nothing(others)
    by_series: dict[str, list[Slice]] = {}
    for each in slices:
        by_series.setdefault(each.series.uid, []).append(each)
    groups = {uid: _alike(members) for uid, members in by_series.items()}
    uid = min(groups, key=lambda uid: (-len(groups[uid][0]), *_rank(groups[uid][0][0].series)))
    best, *left = groups[uid]
    rest = [
        _rest(members[0][0].series, sum(map(len, members)), f"another series; {len(best)} slices were chosen over it")
        for other, members in groups.items()
        if other != uid
    ]
    rest += [_left_out(best[0], members, problems) for members in left]
    rest += _unfit(others, uid, problems)
    return Chosen(best[0].series, tuple(best), tuple(rest))


def _alike(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Return groups of one orientation, size and spacing, the largest first; a localizer is never first."""
    groups: list[list[Slice]] = []
    for each in slices:
        for group in groups:
            if _is_alike(group[0], each):
                group.append(each)
                break
        else:
            groups.append([each])
    return sorted(groups, key=lambda group: (group[0].localizer, group[0].position_mm is None, -len(group)))


def _is_alike(one: Slice, other: Slice) -> bool:
    return (
        (one.pixels.rows, one.pixels.columns) == (other.pixels.rows, other.pixels.columns)
        and one.localizer == other.localizer
        and (one.position_mm is None) == (other.position_mm is None)
        and _is_near(one.orientation, other.orientation, _SAME_COSINE)
        and _is_near(one.spacing_mm, other.spacing_mm, _SAME_SPACING * min(one.spacing_mm or (1.0,)))
    )


def _is_near(one: tuple[float, ...] | None, other: tuple[float, ...] | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def _rank(series: Series) -> tuple[int, int, str]:
    known = series.modality in _MODALITIES
    modality = _MODALITIES.index(series.modality) if known else len(_MODALITIES)
    return modality, series.number if series.number is not None else 1 << 30, series.uid


def _left_out(chosen: Slice, members: Sequence[Slice], problems: Problems) -> Rest:
    """Tell of slices of the chosen series that are not like the others."""
    first, num = members[0], len(members)
    rows, columns = first.pixels.rows, first.pixels.columns
    if first.localizer:
        code, what = "localizer", "localizers"
    elif (rows, columns) != (chosen.pixels.rows, chosen.pixels.columns):
        code, what = "mixed_sizes", f"of {columns} x {rows} pixels"
    elif first.position_mm is None:
        code, what = "no_position", "without a position"
    elif not _is_near(first.orientation, chosen.orientation, _SAME_COSINE):
        code, what = "mixed_orientations", "of another orientation"
    else:
        code, what = "mixed_spacings", "of another pixel spacing"
    problems.found(code, f"{num} of the slices are {what}", repair="they are left out")
    return _rest(first.series, num, f"slices of the chosen series that are {what}")


def _unfit(unfit: Sequence[Unfit], uid: str, problems: Problems) -> list[Rest]:
    """Tell of files that are no slices; a damaged one may be a slice that is missing now."""
    broken = [each for each in unfit if each.broken and each.series.uid in (uid, "")]
    if broken:
        names = ", ".join(each.file for each in broken[:3]) + (" ..." if len(broken) > 3 else "")
        problems.found(
            "unreadable_file",
            f"{len(broken)} files cannot be read ({names}: {broken[0].reason})",
            repair="they are left out",
        )
    counted = Counter((each.series, each.reason) for each in unfit)
    return [_rest(series, num, reason) for (series, reason), num in counted.items()]


def _rest(series: Series, num_files: int, reason: str) -> Rest:
    return {"series": series.uid, "description": series.description, "num_files": num_files, "reason": reason}


def _nothing(unfit: Sequence[Unfit]) -> InvalidMedia:
    broken = next((each for each in unfit if each.broken), None)
    first = broken or next((each for each in unfit if each.reason != "no DICOM"), None)
    if first is None:
        return InvalidMedia("It holds no DICOM file.", cure="Send a DICOM series, a ZIP of one, or a NIfTI file.")
    return InvalidMedia(
        f"It holds no slice of a volume; {first.file}: {first.reason}.", cure="Send an uncoloured series of slices."
    )
