"""The report of a job as a workbook that reads well on a screen and on paper.

Five sheets: summary, findings, metrics, provenance, pictures. Whatever comes from a file is written as text, never
as a formula or a link, so that a patient called `=cmd|...` does no harm.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from sightline.packs.medical.output.report import Report
from sightline.packs.medical.output.result_json import result_of

Column: TypeAlias = tuple[str, int, str]
"""Head of a column, its width in letters, and the word of its number format."""

FORMATS: Mapping[str, str] = {
    "text": "@",
    "count": "#,##0",
    "volume": "#,##0.0",
    "ratio": "0.000",
    "distance": "0.00",
    "place": "0",
    "seconds": "0.0",
}

FINDINGS: tuple[Column, ...] = (
    ("Finding", 16, "text"),
    ("Type", 14, "text"),
    ("Volume, mm³", 14, "volume"),
    ("Volume, ml", 12, "distance"),
    ("Confidence", 12, "ratio"),
    ("Highest probability", 12, "ratio"),
    ("Agreement", 12, "ratio"),
    ("x, voxel", 9, "place"),
    ("y, voxel", 9, "place"),
    ("z, voxel", 9, "place"),
    ("Right, mm", 10, "volume"),
    ("Front, mm", 10, "volume"),
    ("Head, mm", 10, "volume"),
    ("First slice", 10, "place"),
    ("Last slice", 10, "place"),
    ("Touches the border", 11, "text"),
)
METRICS: tuple[Column, ...] = (
    ("Metric", 26, "text"),
    ("Label", 14, "text"),
    ("Value", 14, "ratio"),
    ("Unit", 10, "text"),
    ("What it says", 64, "text"),
)

MAX_TEXT = 32_767  # letters in a cell
MAX_ROWS = 1_048_575
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_PICTURE_WIDTH_PX = 1000
_INK, _HEAD, _LINE, _QUIET = "#1F2933", "#E4EBF2", "#C5D0DB", "#52606D"
_MARKS = {"refused": "#FCE8E6", "repaired": "#FFF4D6", "accepted": "#FFF4D6", "note": "#EEF2F6"}


def workbook(report: Report, files: Mapping[str, str], pictures: Mapping[str, bytes]) -> bytes:
    """Return the workbook.

    Args:
        report: what it tells.
        files: public keys of what was made beside it, by their words.
        pictures: PNG files by their words; `preview` is shown first.
    """
    file = io.BytesIO()
    options = {
        "in_memory": True,  # no temporary files with findings of a patient
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": False,
    }
    with xlsxwriter.Workbook(file, options) as book:
        book.set_properties({"title": "Segmentation report", "author": report.provenance.code, "comments": ""})
        book.set_calc_mode("manual")  # there is nothing to calculate
        writer = _Writer(book)
        result = result_of(report, files)
        _summary(writer, result)
        _findings(writer, result["findings"])
        _metrics(writer, result["metrics"])
        _provenance(writer, result)
        _pictures(writer, pictures)
    return file.getvalue()


def plain(value: Any) -> str:
    """Return a text that a cell can hold: without control characters, at most 32,767 letters."""
    return _FORBIDDEN.sub("", str(value))[:MAX_TEXT]


class _Writer:
    """A workbook with the looks that all sheets share."""

    def __init__(self, book: xlsxwriter.Workbook) -> None:
        self._book = book
        look = {"font_name": "Calibri", "font_size": 11, "font_color": _INK, "valign": "vcenter"}
        self.cells = {
            word: book.add_format({**look, "num_format": code, "align": "left" if word == "text" else "right"})
            for word, code in FORMATS.items()
        }
        self.cells["text"].set_text_wrap()
        self.values = {  # beside labels numbers stand as the texts do
            word: book.add_format({**look, "num_format": code, "align": "left", "text_wrap": word == "text"})
            for word, code in FORMATS.items()
        }
        self.title = book.add_format({**look, "bold": True, "font_size": 16})
        self.head = book.add_format(
            {**look, "bold": True, "bg_color": _HEAD, "bottom": 1, "bottom_color": _LINE, "text_wrap": True}
        )
        self.label = book.add_format({**look, "font_color": _QUIET})
        self.quiet = book.add_format({**look, "font_color": _QUIET, "italic": True, "text_wrap": True})
        self.marks = {
            word: book.add_format({**look, "bg_color": colour, "text_wrap": True, "align": "left"})
            for word, colour in _MARKS.items()
        }

    def sheet(self, name: str, widths: Sequence[int], *, wide: bool = False) -> Worksheet:
        """Return a new sheet that prints on A4, as wide as the paper, with its name and page number at the foot."""
        sheet = self._book.add_worksheet(name)
        for column, width in enumerate(widths):
            sheet.set_column(column, column, width)
        sheet.set_paper(9)
        if wide:
            sheet.set_landscape()
        sheet.set_margins(left=0.5, right=0.5, top=0.6, bottom=0.6)
        sheet.fit_to_pages(1, 0)
        sheet.set_footer("&L&8&A&R&8&P / &N")
        sheet.hide_gridlines(2)
        return sheet

    def put(self, sheet: Worksheet, row: int, column: int, value: Any, look: str | Format = "text") -> None:
        """Write a cell: a number as a number, everything else as text; what does not exist as a dash."""
        form = self.cells[look] if isinstance(look, str) else look
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            sheet.write_string(row, column, "–", form)
        elif isinstance(value, bool):
            sheet.write_string(row, column, "yes" if value else "no", form)
        elif isinstance(value, int | float):
            sheet.write_number(row, column, value, form)
        else:
            sheet.write_string(row, column, plain(value), form)

    def table(self, sheet: Worksheet, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Write rows below a head that stays in sight and on each page, with buttons to filter by."""
        for at, (head, _, _) in enumerate(columns):
            sheet.write_string(0, at, head, self.head)
        sheet.set_row(0, 32)
        sheet.freeze_panes(1, 1)
        sheet.repeat_rows(0)
        for row, values in enumerate(rows[:MAX_ROWS], 1):
            for at, value in enumerate(values):
                self.put(sheet, row, at, value, columns[at][2])
        if rows:
            sheet.autofilter(0, 0, min(len(rows), MAX_ROWS), len(columns) - 1)

    def pairs(self, sheet: Worksheet, row: int, pairs: Sequence[tuple[str, Any, str]]) -> int:
        """Write labels with their values from `row` on; return the next free row."""
        for label, value, look in pairs:
            sheet.write_string(row, 0, label, self.label)
            self.put(sheet, row, 1, value, self.values[look])
            row += 1
        return row


def _summary(writer: _Writer, result: Mapping[str, Any]) -> None:
    sheet = writer.sheet("Summary", (30, 44, 18, 18))
    summary, study, segmentation = result["summary"], result["study"], result["segmentation"]
    series = study.get("series") or {}
    sheet.set_row(0, 26)
    sheet.write_string(0, 0, "Segmentation report", writer.title)
    row = writer.pairs(
        sheet,
        2,
        [
            ("Findings", summary["lesions_count"], "count"),
            ("Total volume, mm³", summary["total_volume"], "volume"),
            ("Confidence, not calibrated", summary["confidence"], "ratio"),
            ("Processing time, s", summary["processing_time"], "seconds"),
            ("Profile", result["provenance"]["profile"].get("name", ""), "text"),
            ("Modality", study.get("modality") or None, "text"),
            ("Series", series.get("description") or None, "text"),
            ("Voxels", " × ".join(map(str, segmentation["dimensions"])), "text"),
            ("Spacing, mm", " × ".join(f"{step:g}" for step in segmentation["spacing"]), "text"),
            ("Orientation", segmentation["orientation"], "text"),
            ("Mask", segmentation["file_path"] or None, "text"),
        ],
    )
    row = _by_type(writer, sheet, row + 1, summary["by_type"])
    row = _problems(writer, sheet, row + 1, result["problems"])
    sheet.merge_range(
        row + 1,
        0,
        row + 1,
        3,
        "Made by a program. The confidences rank findings; they are no chances of being right. Not a diagnosis.",
        writer.quiet,
    )
    sheet.set_row(row + 1, 32)
    sheet.activate()


def _by_type(writer: _Writer, sheet: Worksheet, row: int, by_type: Mapping[str, Mapping[str, Any]]) -> int:
    if not by_type:
        return row
    for at, head in enumerate(("Type", "Findings", "Volume, mm³")):
        sheet.write_string(row, at, head, writer.head)
    for kind, numbers in by_type.items():
        row += 1
        writer.put(sheet, row, 0, kind)
        writer.put(sheet, row, 1, numbers["count"], "count")
        writer.put(sheet, row, 2, numbers["volume"], "volume")
    return row + 1


def _problems(writer: _Writer, sheet: Worksheet, row: int, problems: Sequence[Mapping[str, Any]]) -> int:
    if not problems:
        return writer.pairs(sheet, row, [("Problems", "none", "text")])
    for at, head in enumerate(("Problem", "What it is", "What was done", "Slices")):
        sheet.write_string(row, at, head, writer.head)
    for problem in problems:
        row += 1
        mark = writer.marks.get(problem["severity"], writer.marks["note"])
        slices = problem.get("slices") or ()
        told = ", ".join(map(str, slices[:12])) + (" …" if len(slices) > 12 else "")
        for at, value in enumerate((problem["code"], problem["message"], problem["severity"], told)):
            writer.put(sheet, row, at, value, mark)
        sheet.set_row(row, 15 * max(1, math.ceil(len(problem["message"]) / 44)))
    return row + 1


def _findings(writer: _Writer, findings: Sequence[Mapping[str, Any]]) -> None:
    sheet = writer.sheet("Findings", [width for _, width, _ in FINDINGS], wide=True)
    rows = []
    for each in findings:
        detail, box = each["confidence_detail"], each.get("bounding_box") or {}
        place, centre = each.get("location") or {}, each.get("centroid_mm") or {}
        rows.append(
            (
                each["id"],
                each["type"],
                each["volume"],
                each["volume"] / 1000,
                each["confidence"],
                detail.get("max"),
                detail.get("agreement"),
                *(place.get(axis) for axis in "xyz"),
                *(centre.get(axis) for axis in "xyz"),
                box.get("min_z"),
                box.get("max_z"),
                each["touches_border"],
            )
        )
    writer.table(sheet, FINDINGS, rows)
    if not rows:
        sheet.write_string(1, 0, "Nothing was found.", writer.label)
    elif len(rows) > 1:
        bar: dict[str, Any] = {"type": "data_bar", "bar_color": "#9CC3E6", "bar_solid": True, "min_value": 0}
        sheet.conditional_format(1, 2, len(rows), 2, bar)


def _metrics(writer: _Writer, metrics: Sequence[Mapping[str, Any]]) -> None:
    sheet = writer.sheet("Metrics", [width for _, width, _ in METRICS], wide=True)
    rows = [
        (each["name"], each.get("subject", ""), each["value"], each.get("unit", ""), each["description"])
        for each in metrics
    ]
    writer.table(sheet, METRICS, rows)
    if not rows:
        sheet.write_string(1, 0, "No reference mask was given.", writer.label)


def _provenance(writer: _Writer, result: Mapping[str, Any]) -> None:
    sheet = writer.sheet("Provenance", (26, 84))
    told = result["provenance"]
    pairs: list[tuple[str, Any, str]] = [
        ("Program", told["code"], "text"),
        ("Job", told["run"], "text"),
        ("Started, UTC", told["started"], "text"),
        ("Finished, UTC", told["finished"], "text"),
        *((f"Input: {name}", value, "text") for name, value in told["input"].items()),
        *((f"Series: {name}", value, "text") for name, value in (result["study"].get("series") or {}).items()),
    ]
    for model in told["models"]:
        pairs += [(f"Model: {name}" if name != "model" else "Model", value, "text") for name, value in model.items()]
    pairs += [(f"Profile: {name}", _told(value), "text") for name, value in told["profile"].items()]
    pairs += [(f"File: {word}", key, "text") for word, key in result["files"].items()]
    pairs.append(("Version of the result", result["schema_version"], "text"))
    writer.pairs(sheet, 0, pairs)


def _pictures(writer: _Writer, pictures: Mapping[str, bytes]) -> None:
    sheet = writer.sheet("Pictures", (20,), wide=True)
    if not pictures:
        sheet.write_string(0, 0, "The profile makes no pictures.", writer.label)
        return
    png = pictures["preview"]
    share = min(1.0, _PICTURE_WIDTH_PX / int.from_bytes(png[16:20], "big"))  # so that it fits on a page
    options = {"image_data": io.BytesIO(png), "x_scale": share, "y_scale": share, "description": "What was found"}
    sheet.insert_image(0, 0, "preview.png", options)


def _told(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or None
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)
