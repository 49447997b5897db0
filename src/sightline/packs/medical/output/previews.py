"""Pictures of what was found: three planes through the largest finding, and a sheet with slices through the mask.

Drawn for people: pixels have the shape that they have in the patient, letters say where its sides are, a bar says how
long a centimetre is. No word in them comes from the file, so nothing in them names a patient.

Shape letters: H rows, W columns.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sightline.packs.medical.output.planes import AXES, Plane, Window, greys, plane_of, voxel_axes, window_of
from sightline.packs.medical.output.report import Report, details, volume_of

Picture: TypeAlias = npt.NDArray[np.uint8]

SIDE_PX = 440
"""Side of the square into which each plane would fit; all three have one scale."""

NUM_TILES = 16
_TILES_A_ROW = 8
_TILE_PX = 220  # height of a tile at most
_GAP_PX, _MARGIN_PX, _HEAD_PX = 12, 20, 64
_INK, _QUIET, _ACCENT = (236, 240, 244), (148, 158, 170), (255, 196, 61)
_PAPER = (15, 18, 22)
_COLOURS = ((255, 92, 92), (77, 208, 225), (255, 196, 61), (129, 199, 132), (186, 132, 255), (255, 148, 82))
_FILL = 0.16  # share of the colour that lies over what was found: the tissue under it stays readable
_AROUND = 12  # voxels beside a finding that tell in what it lies
_FINER = 2  # contours are traced on a grid 2 ** so many times as fine as the pixels, so that lines are smooth


def previews(report: Report, *, preset: str = "") -> dict[str, bytes]:
    """Return PNG files by word: `preview` (the sheet), `axial`, `coronal`, `sagittal`.

    Raises:
        InvalidInput: there is no such preset of a window.
    """
    point = point_of(report)
    window = window_of(report.volume.voxels_IJK, report.modality, preset=preset, around=_values_around(report, point))
    scale = SIDE_PX / max(side * step for side, step in zip(report.mask.labels_HW.shape, report.spacing, strict=True))
    planes = {name: _drawn(report, name, point, window, scale) for name in AXES}
    made = {"preview": _sheet(report, planes, window)}
    return {word: _png(picture) for word, picture in (made | planes).items()}


def three_planes(
    voxels_IJK: npt.NDArray[Any],
    affine: npt.NDArray[np.float64],
    labels_IJK: npt.NDArray[Any] | None = None,
    *,
    modality: str = "",
) -> bytes:
    """Return a PNG of any array in three planes: through the middle of its labels, else through its own middle."""
    shape = voxels_IJK.shape
    labels = np.broadcast_to(np.uint8(0), shape) if labels_IJK is None else labels_IJK
    if voxels_IJK.dtype == np.bool_:
        voxels_IJK = voxels_IJK.view(np.uint8)
    found = [np.flatnonzero(labels.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    middle = [each[len(each) // 2] if len(each) else side // 2 for each, side in zip(found, shape, strict=True)]
    point = int(middle[0]), int(middle[1]), int(middle[2])
    window = window_of(voxels_IJK, modality)
    scale = SIDE_PX / max(float(each) for each in np.linalg.norm(affine[:3, :3], axis=0) * shape)
    drawn = [
        shown(plane_of(voxels_IJK, affine, name, point), plane_of(labels, affine, name, point).values_HW, window, scale)
        for name in AXES
    ]
    height, gaps = max(each.shape[0] for each in drawn), _GAP_PX * (len(drawn) - 1)
    sheet = np.full((height, sum(each.shape[1] for each in drawn) + gaps, 3), _PAPER, np.uint8)
    left = 0
    for each in drawn:
        sheet[: each.shape[0], left : left + each.shape[1]] = each
        left += each.shape[1] + _GAP_PX
    return _png(sheet)


def point_of(report: Report) -> tuple[int, int, int]:
    """Return the voxel through which the planes go: in the largest finding, else in the middle."""
    shape = report.volume.voxels_IJK.shape
    place = details(report.findings[0]).get("location") if report.findings else None
    if not isinstance(place, Mapping):
        return shape[0] // 2, shape[1] // 2, shape[2] // 2
    i, j, k = (min(max(int(place[axis]), 0), side - 1) for axis, side in zip("xyz", shape, strict=True))
    return i, j, k


def _values_around(report: Report, point: tuple[int, int, int]) -> npt.NDArray[Any] | None:
    """Return the values in and around the largest finding, in the slice through its middle: a nodule lies in a lung."""
    box = details(report.findings[0]).get("bounding_box") if report.findings else None
    if not isinstance(box, Mapping):
        return None
    where = [slice(max(0, int(box[f"min_{axis}"]) - _AROUND), int(box[f"max_{axis}"]) + 1 + _AROUND) for axis in "xy"]
    return report.volume.voxels_IJK[where[0], where[1], point[2]]


def _drawn(report: Report, name: str, point: tuple[int, int, int], window: Window, scale: float) -> Picture:
    """Return one plane with its letters, its bar and a cross; `scale` in pixels per mm."""
    plane = plane_of(report.volume.voxels_IJK, report.volume.affine, name, point)
    labels = plane_of(report.mask.labels_HW, report.volume.affine, name, point)
    picture = shown(plane, labels.values_HW, window, scale)
    if report.findings:
        _cross(picture, plane, scale)
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    small, large = _font(13), _font(17)
    left, right, upper, lower = plane.letters
    for text, at, anchor in (
        (left, (8, height // 2), "lm"),
        (right, (width - 8, height // 2), "rm"),
        (upper, (width // 2, 7), "mt"),
        (lower, (width // 2, height - 8), "mb"),
    ):
        _write(pen, at, text, large, ink=_INK, anchor=anchor)
    side = report.volume.voxels_IJK.shape[plane.axis]
    _write(pen, (10, 9), name, small, ink=_INK, anchor="lt")
    _write(pen, (10, 27), f"{'ijk'[plane.axis]} {plane.index} of {side}", small, ink=_QUIET, anchor="lt")
    if report.modality == "CT":
        _write(pen, (width - 10, 9), window.name, small, ink=_INK, anchor="rt")
        _write(pen, (width - 10, 27), window.text, small, ink=_QUIET, anchor="rt")
    _bar(pen, width, height, scale)
    return np.asarray(canvas)


def shown(
    plane: Plane, labels_HW: npt.NDArray[Any], window: Window, scale: float, *, line_px: int = 2
) -> npt.NDArray[np.uint8]:
    """Return a plane in grey with what was found in colours: uint8 [H, W, 3], red first, `scale` pixels per mm."""
    rows, columns = plane.values_HW.shape
    size = max(1, round(columns * plane.step_mm[1] * scale)), max(1, round(rows * plane.step_mm[0] * scale))
    shrinks = size[0] < columns or size[1] < rows
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR  # cubic draws dark rings that are not in the patient
    grey = cv2.resize(greys(plane.values_HW, window), size, interpolation=way)
    picture = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    for label in np.unique(labels_HW):
        if label:
            _outline(picture, labels_HW == label, colour_of(int(label)), line_px)
    return picture


def colour_of(label: int) -> tuple[int, int, int]:
    """Return the colour of a label, red first."""
    return _COLOURS[(label - 1) % len(_COLOURS)]


def _outline(picture: Picture, mask_HW: npt.NDArray[np.bool_], colour: tuple[int, int, int], line_px: int) -> None:
    """Lay a thin colour over a mask and a line around it."""
    height, width = picture.shape[:2]
    times = 1 << _FINER
    soft = cv2.resize(mask_HW.astype(np.float32), (width * times, height * times), interpolation=cv2.INTER_LINEAR)
    fine = (soft >= 0.5).astype(np.uint8)
    share = cv2.resize(fine.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)[:, :, None]
    picture[:] = (picture * (1 - _FILL * share) + np.array(colour) * (_FILL * share)).astype(np.uint8)
    lines, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    half = (times - 1) / 2  # the middle of a pixel lies between the points of the fine grid
    moved = [np.rint(line - half).astype(np.int32) for line in lines]
    cv2.polylines(picture, moved, True, colour, line_px, cv2.LINE_AA, _FINER)


def _cross(picture: Picture, plane: Plane, scale: float) -> None:
    """Draw a cross at the point of the plane, with room in its middle."""
    height, width = picture.shape[:2]
    y = round((plane.at[0] + 0.5) * plane.step_mm[0] * scale)
    x = round((plane.at[1] + 0.5) * plane.step_mm[1] * scale)
    room = 26
    layer = picture.copy()
    for begin, end in (
        ((0, y), (x - room, y)),
        ((x + room, y), (width, y)),
        ((x, 0), (x, y - room)),
        ((x, y + room), (x, height)),
    ):
        if begin[0] <= end[0] and begin[1] <= end[1]:
            cv2.line(layer, begin, end, _ACCENT, 1)
    cv2.addWeighted(layer, 0.35, picture, 0.65, 0, dst=picture)


def _sheet(report: Report, planes: Mapping[str, Picture], window: Window) -> Picture:
    """Return one picture of everything: a head, the three planes, slices through the mask."""
    wide = sum(picture.shape[1] for picture in planes.values()) + _GAP_PX * (len(planes) - 1)
    tall = max(picture.shape[0] for picture in planes.values())
    tiles = _tiles(report, window, (wide - _GAP_PX * (_TILES_A_ROW - 1)) // _TILES_A_ROW)
    rows = [tiles[at : at + _TILES_A_ROW] for at in range(0, len(tiles), _TILES_A_ROW)]
    height = _HEAD_PX + tall + len(rows) * (tiles[0].shape[0] + _GAP_PX) + _MARGIN_PX
    sheet = np.full((height, wide + 2 * _MARGIN_PX, 3), _PAPER, np.uint8)
    _row(sheet, list(planes.values()), _HEAD_PX, tall, len(planes))
    top = _HEAD_PX + tall + _GAP_PX
    for row in rows:
        _row(sheet, row, top, row[0].shape[0], _TILES_A_ROW)
        top += row[0].shape[0] + _GAP_PX
    return _headed(sheet, report)


def _row(sheet: Picture, pictures: Sequence[Picture], top: int, height: int, places: int) -> None:
    """Lay pictures side by side over the whole width of so many places, each in the middle of the row."""
    width = sum(picture.shape[1] for picture in pictures) / len(pictures)
    free = sheet.shape[1] - 2 * _MARGIN_PX - width * places
    left = float(_MARGIN_PX)
    for picture in pictures:
        y = top + (height - picture.shape[0]) // 2
        x = round(left)
        sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        left += picture.shape[1] + free / max(1, places - 1)


def _tiles(report: Report, window: Window, width_px: int) -> list[Picture]:
    """Return axial slices through everything that was found, from the feet to the head, at most so wide."""
    affine = report.volume.affine
    axes, grows = voxel_axes(affine)
    axis = axes[2]
    first, last = _extent(report, axis)
    indices = np.unique(np.linspace(first, last, min(NUM_TILES, last - first + 1)).round().astype(int))
    made: list[Picture] = []
    for index in indices if grows[2] else indices[::-1]:
        point = [0, 0, 0]
        point[axis] = int(index)
        place = (point[0], point[1], point[2])
        plane = plane_of(report.volume.voxels_IJK, affine, "axial", place)
        labels = plane_of(report.mask.labels_HW, affine, "axial", place)
        rows, columns = plane.values_HW.shape
        scale = min(width_px / (columns * plane.step_mm[1]), _TILE_PX / (rows * plane.step_mm[0]))
        canvas = Image.fromarray(shown(plane, labels.values_HW, window, scale, line_px=1))
        _write(ImageDraw.Draw(canvas), (6, 5), f"{'ijk'[axis]} {index}", _font(11), ink=_INK, anchor="lt")
        made.append(np.asarray(canvas))
    return made


def _extent(report: Report, axis: int) -> tuple[int, int]:
    """Return the first and the last slice along a voxel axis in which something was found; else of the volume."""
    boxes = [box for each in report.findings if isinstance(box := details(each).get("bounding_box"), Mapping)]
    side = report.volume.voxels_IJK.shape[axis]
    if not boxes:
        return 0, side - 1
    name = "xyz"[axis]
    return max(0, min(int(box[f"min_{name}"]) for box in boxes)), min(
        side - 1, max(int(box[f"max_{name}"]) for box in boxes)
    )


def _headed(sheet: Picture, report: Report) -> Picture:
    """Write what was found above the pictures."""
    canvas = Image.fromarray(sheet)
    pen = ImageDraw.Draw(canvas)
    num = len(report.findings)
    found = f"{num} finding{'s' if num != 1 else ''}" if num else "nothing was found"
    pen.text((_MARGIN_PX, 14), found, fill=_INK, font=_font(22), anchor="lt")
    facts = [f"{report.total_volume_mm3 / 1000:,.2f} ml in all"] if num else []
    if num:
        largest = report.findings[0]
        name = details(largest).get("id") or largest.subject or largest.name
        facts.append(f"largest: {_plain(str(name)) or 'finding 1'}, {volume_of(largest) / 1000:,.2f} ml")
    facts.append(" x ".join(f"{step:.3g}" for step in report.spacing) + " mm")
    pen.text((_MARGIN_PX, 42), "  ·  ".join(facts), fill=_QUIET, font=_font(13), anchor="lt")
    right = canvas.size[0] - _MARGIN_PX
    for label, name in reversed(list(report.labels.items())[: len(_COLOURS)]):
        text = _plain(name) or f"label {label}"
        pen.text((right, 26), text, fill=_INK, font=_font(14), anchor="rm")
        right -= round(pen.textlength(text, font=_font(14))) + 8
        pen.rounded_rectangle((right - 14, 19, right, 33), 3, fill=colour_of(label))
        right -= 32
    return np.asarray(canvas)


def _bar(pen: ImageDraw.ImageDraw, width: int, height: int, scale: float) -> None:
    """Draw a bar of 1, 2, 5 or 10 cm at the lower right."""
    length_mm = next((each for each in (100, 50, 20, 10, 5, 2, 1) if each * scale <= width / 3), 1)
    length = round(length_mm * scale)
    right, y = width - 14, height - 14
    for ink, thick in (((0, 0, 0), 5), (_INK, 2)):
        more = (thick - 2) // 2
        pen.line((right - length - more, y, right + more, y), fill=ink, width=thick)
        for x in (right - length, right):
            pen.line((x, y - 4 - more, x, y + 4 + more), fill=ink, width=thick)
    text = f"{length_mm // 10} cm" if length_mm >= 10 else f"{length_mm} mm"
    _write(pen, (right - length // 2, y - 7), text, _font(12), ink=_INK, anchor="mb")


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, font: Any, *, ink: Any, anchor: str) -> None:
    """Write on a picture: with a dark edge, so that it reads on white bone too."""
    pen.text(at, text, fill=ink, font=font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _plain(text: str) -> str:
    """Return a text that the built-in font can show: Latin letters; empty for any other."""
    return text[:40] if text.isascii() and text.isprintable() else ""


def _png(picture: Picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=6)
    return file.getvalue()
