"""From the header of a file to its slices; what cannot be part of a volume says why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline.packs.medical.reading.elements import PIXEL_DATA
from sightline.packs.medical.reading.headers import BIG, EXPLICIT, IMPLICIT, Header, header_of
from sightline.packs.medical.reading.slices import Pixels, Series, Slice, Unfit, Vector

MOST_PIXELS = 1 << 26  # of one frame: 8192 x 8192
MOST_FRAMES = 1 << 16
_PLAIN = (IMPLICIT, EXPLICIT, BIG)
_ENHANCED = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2.1", "2.2", "4.1", "4.3", "4.4", "128.1", "130", "13.1.1", "13.1.3")
)


def slices_of(path: Path, name: str, work: Path) -> list[Slice] | Unfit:
    """Return the slices in a file, or why it has none.

    Args:
        path: of the file.
        name: as it was sent, for messages.
        work: folder for a data set that is stored deflated.
    """
    header = header_of(path, name, work)
    if isinstance(header, Unfit):
        return header
    number = header.fields.number("series_number")
    series = Series(
        uid=header.fields.text("series_uid"),
        description=header.fields.text("description"),
        number=None if number is None else int(number),
        modality=header.fields.text("modality"),
    )
    sop_uid = header.fields.text("sop_uid")
    reason, broken = _no_picture(header)
    if reason:
        return Unfit(file=name, reason=reason, series=series, broken=broken, sop_uid=sop_uid)
    pixels = _pixels(header)
    reason = _wrong(header, pixels)
    first = _slice(header, series, pixels)
    if not reason and (first.slope == 0 or not math.isfinite(first.slope + first.intercept)):
        reason = "its rescale slope is 0, or no number"
    if reason:
        return Unfit(file=name, reason=reason, series=series, broken=True, sop_uid=sop_uid)
    if first.sop_class in _ENHANCED:
        try:
            return _enhanced(header, first)
        except Exception as problem:  # noqa: BLE001 - pydicom reads values late, and raises anything
            damaged = f"its functional groups are damaged ({type(problem).__name__})"
            return Unfit(file=name, reason=damaged, series=series, broken=True, sop_uid=sop_uid)
    return [first] if pixels.num_frames == 1 else _classic(header, first)


def _no_picture(header: Header) -> tuple[str, bool]:
    """Return why a file cannot be part of a volume, and whether it should have been."""
    fields, element = header.fields, header.element
    if element is None:
        return (
            ("it has no pixel data", True) if fields.has("rows") else (f"no picture ({fields.text('modality')})", False)
        )
    photometric = fields.text("photometric")
    if (fields.integer("samples") or 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2", ""):
        return f"coloured pictures ({photometric}) are no volume", False
    if fields.integer("allocated") == 1:
        return "a segmentation, no picture", False
    if element.tag != PIXEL_DATA:
        return "pixels of floating point are not read", False
    if fields.has("lookup"):
        return "its values stand in a lookup table, which is not applied", False
    return "", False


def _pixels(header: Header) -> Pixels:
    fields, element = header.fields, header.element
    assert element is not None  # noqa: S101 - `_no_picture` has looked
    allocated = fields.integer("allocated") or 0
    stored = fields.integer("stored") or allocated
    high = fields.integer("high")
    return Pixels(
        element=element,
        syntax=header.syntax,
        big=header.big,
        rows=fields.integer("rows") or 0,
        columns=fields.integer("columns") or 0,
        num_frames=int(fields.number("num_frames") or 1),
        allocated=allocated,
        stored=stored,
        high=stored - 1 if high is None else high,
        signed=bool(fields.integer("signed")),
        inverted=fields.text("photometric") == "MONOCHROME1",
    )


def _wrong(header: Header, pixels: Pixels) -> str:
    """Return what is wrong with what a header says of its pixels; nothing was allocated yet."""
    rows, columns, element = pixels.rows, pixels.columns, pixels.element
    if not rows or not columns or rows * columns > MOST_PIXELS:
        return f"a frame of {rows} x {columns} pixels is not read"
    if not 1 <= pixels.num_frames <= MOST_FRAMES:
        return f"a file of {pixels.num_frames} frames is not read"
    if pixels.allocated not in (8, 16, 32) or not 0 < pixels.stored <= pixels.high + 1 <= pixels.allocated:
        return f"{pixels.stored} bits up to bit {pixels.high} in {pixels.allocated} are no pixel"
    wanted = pixels.frame_bytes * pixels.num_frames
    length = element.length
    if length is not None and pixels.syntax in _PLAIN and length < wanted:
        return f"its pixel data are cut off: {length} bytes, where {wanted} are needed"
    if element.offset + (8 if length is None else length) > header.num_bytes:
        return "its pixel data are cut off: the file ends before they do"
    return ""


def _slice(header: Header, series: Series, pixels: Pixels) -> Slice:
    fields = header.fields
    spacing, at_detector = _two(fields.numbers("spacing")), False
    if spacing is None:
        spacing = _two(fields.numbers("at_detector"))
        at_detector = spacing is not None
    slope, scaling = fields.number("slope"), fields.number("scaling")
    return Slice(
        file=header.name,
        path=str(header.path),
        sop_uid=fields.text("sop_uid"),
        sop_class=fields.text("sop_class"),
        series=series,
        pixels=pixels,
        instance=int(fields.number("instance") or 0),
        slope=slope if slope is not None else scaling if scaling is not None else _default(fields.has("slope"), 1.0),
        intercept=_default(fields.has("intercept"), 0.0) if (at := fields.number("intercept")) is None else at,
        position_mm=_vector(fields.numbers("position"), 3),
        orientation=_vector(fields.numbers("orientation"), 6),
        spacing_mm=spacing,
        thickness_mm=_positive(fields.number("thickness")),
        between_mm=_positive(fields.number("between")),
        time=tuple(fields.number(name) or 0.0 for name in ("acquisition", "temporal", "echo")),
        localizer="LOCALIZER" in fields.text("image_type"),
        mislabelled=header.mislabelled,
        at_detector=at_detector,
    )


def _default(there: bool, value: float) -> float:
    """Return the default of a value that is not there; one that is there, and no number, is no number."""
    return math.nan if there else value


def _enhanced(header: Header, first: Slice) -> list[Slice] | Unfit:
    """Return the frames of an enhanced file by its functional groups."""
    from pydicom import dcmread  # here, for most files need no sequences

    dataset = dcmread(header.path, stop_before_pixels=True, force=True)
    frames: Sequence[Any] = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared: Sequence[Any] = dataset.get("SharedFunctionalGroupsSequence") or ()
    if not frames:
        return _classic(header, first)
    if len(frames) != first.pixels.num_frames:
        reason = f"it has {first.pixels.num_frames} frames, and tells the place of {len(frames)}"
        return Unfit(file=header.name, reason=reason, series=first.series, broken=True, sop_uid=first.sop_uid)
    made = []
    for number, frame in enumerate(frames):
        groups = [frame, *shared[:1]]
        values = _group(groups, "PixelValueTransformationSequence")
        measures, content = _group(groups, "PixelMeasuresSequence"), _group(groups, "FrameContentSequence")
        kind = _group(groups, "MRImageFrameTypeSequence") or _group(groups, "CTImageFrameTypeSequence")
        echo = _group(groups, "MREchoSequence")
        made.append(
            replace(
                first,
                frame=number,
                instance=number,
                slope=_float(values, "RescaleSlope", first.slope),
                intercept=_float(values, "RescaleIntercept", first.intercept),
                position_mm=_vector(_floats(_group(groups, "PlanePositionSequence"), "ImagePositionPatient"), 3),
                orientation=_vector(_floats(_group(groups, "PlaneOrientationSequence"), "ImageOrientationPatient"), 6),
                spacing_mm=_two(_floats(measures, "PixelSpacing")),
                thickness_mm=_positive(_float(measures, "SliceThickness", 0.0)),
                between_mm=_positive(_float(measures, "SpacingBetweenSlices", 0.0)),
                time=(
                    _float(content, "FrameAcquisitionNumber", 0.0),
                    _float(content, "TemporalPositionIndex", 0.0),
                    _float(echo, "EffectiveEchoTime", 0.0),
                ),
                localizer=first.localizer or "LOCALIZER" in (kind.get("FrameType") or () if kind is not None else ()),
            )
        )
    return made


def _classic(header: Header, first: Slice) -> list[Slice]:
    """Return the frames of a file that tells where they are by a list of offsets (dose), or not at all."""
    offsets = header.fields.numbers("offsets") or ()
    origin, cosines = first.position_mm, first.orientation
    if len(offsets) != first.pixels.num_frames or origin is None or cosines is None:
        frames = range(first.pixels.num_frames)
        return [replace(first, frame=each, instance=each, position_mm=None) for each in frames]
    row, column = cosines[:3], cosines[3:]
    normal = [row[i - 2] * column[i - 1] - row[i - 1] * column[i - 2] for i in range(3)]
    return [
        replace(
            first,
            frame=number,
            instance=number,
            position_mm=tuple(at + (offset - offsets[0]) * along for at, along in zip(origin, normal, strict=True)),
        )
        for number, offset in enumerate(offsets)
    ]


def _group(groups: Sequence[Any], name: str) -> Any:
    """Return the first item of a functional group of a frame, else of all frames, else None."""
    for group in groups:
        if items := group.get(name):
            return items[0]
    return None


def _float(group: Any, name: str, default: float) -> float:
    value = None if group is None else group.get(name)
    return default if value is None or value == "" else float(value)


def _floats(group: Any, name: str) -> Vector | None:
    value = None if group is None else group.get(name)
    return tuple(float(each) for each in value) if value else None


def _vector(numbers: Vector | None, length: int) -> Vector | None:
    fits = numbers is not None and len(numbers) == length and all(map(math.isfinite, numbers))
    return numbers if fits else None


def _two(numbers: Vector | None) -> Vector | None:
    """Return two lengths above 0, or None."""
    numbers = _vector(numbers, 2)
    return numbers if numbers and min(numbers) > 0 else None


def _positive(number: float | None) -> float | None:
    return abs(number) if number and math.isfinite(number) else None
