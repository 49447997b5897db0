"""Reads workbooks as another program would: values, formats and pictures out of their XML."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass
from xml.etree import ElementTree as ET

_NS = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


@dataclass(frozen=True)
class Cell:
    """One cell: its value as text, whether it is a number, and the code of its number format."""

    value: str
    is_number: bool
    format: str
    is_formula: bool


@dataclass(frozen=True)
class Sheet:
    """One sheet.

    Attributes:
        cells: by reference, for instance `B3`.
        xml: everything of it, as text.
    """

    name: str
    cells: dict[str, Cell]
    xml: str

    def rows(self) -> list[list[str]]:
        """Return the values of each row, in the order of the columns."""
        found: dict[int, list[str]] = {}
        for place, cell in self.cells.items():
            found.setdefault(int(re.sub(r"\D", "", place)), []).append(cell.value)
        return [found[number] for number in sorted(found)]


def sheets_of(data: bytes) -> dict[str, Sheet]:
    """Return the sheets of a workbook by their names."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        texts = _shared(archive)
        formats = _formats(ET.fromstring(archive.read("xl/styles.xml")))  # noqa: S314  our own file
        book = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314
        made = {}
        for number, each in enumerate(book.findall("m:sheets/m:sheet", _NS), 1):
            xml = archive.read(f"xl/worksheets/sheet{number}.xml").decode()
            cells = {}
            for cell in ET.fromstring(xml).iterfind(".//m:c", _NS):  # noqa: S314
                value, shared = cell.findtext("m:v", "", _NS), cell.get("t") == "s"
                cells[str(cell.get("r"))] = Cell(
                    texts[int(value)] if shared and value else value,
                    cell.get("t") in {None, "n"},
                    formats[int(cell.get("s", "0"))],
                    cell.find("m:f", _NS) is not None,
                )
            made[each.get("name", "")] = Sheet(each.get("name", ""), cells, xml)
        return made


def pictures_of(data: bytes) -> list[bytes]:
    """Return the pictures in a workbook."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [archive.read(name) for name in archive.namelist() if name.startswith("xl/media/")]


def links_of(data: bytes) -> list[str]:
    """Return everything outside of a workbook to which it points."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".rels")]
    return [found for text in texts for found in re.findall(r'Target="([^"]*)" TargetMode="External"', text)]


def _shared(archive: zipfile.ZipFile) -> list[str]:
    root = ET.fromstring(archive.read("xl/sharedStrings.xml"))  # noqa: S314
    return ["".join(each.text or "" for each in item.iter(f"{{{_NS['m']}}}t")) for item in root.findall("m:si", _NS)]


def _formats(root: ET.Element) -> list[str]:
    codes = {each.get("numFmtId"): each.get("formatCode", "") for each in root.iterfind(".//m:numFmt", _NS)}
    codes |= {"0": "General", "1": "0", "2": "0.00", "3": "#,##0", "4": "#,##0.00", "49": "@"}
    return [str(codes.get(each.get("numFmtId"))) for each in root.iterfind("m:cellXfs/m:xf", _NS)]
