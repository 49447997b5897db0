from __future__ import annotations

import pytest
from tests.packs.medical.output.reports import finding_of, report_of, study_of
from tests.packs.medical.output.workbooks import links_of, pictures_of, sheets_of
from tests.packs.medical.phantoms import phantom, series

from sightline.core.prediction import Finding, Mask
from sightline.packs.medical.output.excel import FINDINGS, METRICS, plain, workbook
from sightline.packs.medical.output.previews import previews
from sightline.packs.medical.output.report import Report

FILES = {"mask": "results/analysis_1234.nii.gz"}


def book(report: Report | None = None, **pictures: bytes) -> bytes:
    return workbook(report or report_of(), FILES, pictures)


def test_five_sheets_tell_the_result() -> None:
    of = phantom()
    sheets = sheets_of(book(report_of(of, study=study_of(of, series(of)))))
    assert list(sheets) == ["Summary", "Findings", "Metrics", "Provenance", "Pictures"]

    summary = dict(row for row in sheets["Summary"].rows() if len(row) == 2)
    assert float(summary["Total volume, mm³"]) == pytest.approx(of.volume_mm3, abs=1e-3)
    assert (summary["Findings"], summary["Confidence, not calibrated"]) == ("1", "0.92")
    assert (summary["Spacing, mm"], summary["Mask"]) == ("1.5 × 1.25 × 2", FILES["mask"])

    head, row = sheets["Findings"].rows()
    found = dict(zip(head, row, strict=True))
    assert head == [name for name, _, _ in FINDINGS]
    assert (found["Finding"], found["Type"], found["Touches the border"]) == ("lesion_1", "lesion", "no")
    assert float(found["Volume, ml"]) == pytest.approx(of.volume_mm3 / 1000)
    assert float(found["Right, mm"]) == pytest.approx(of.centroid_mm[0])
    assert found["Agreement"] == "–"

    head, *rows = sheets["Metrics"].rows()
    assert head == [name for name, _, _ in METRICS]
    assert [row[0] for row in rows] == ["dice_score", "hausdorff_distance", "assd"]
    assert [row[2] for row in rows] == ["0.89", "2.3", "–"]

    told = dict(row for row in sheets["Provenance"].rows() if len(row) == 2)
    assert (told["Model"], told["Profile: threshold"]) == ("little-net@2", "0.55")
    assert told["Input: digest"].startswith("sha256:")
    assert told["Profile: spacing_mm"] == "2, 2, 2"


def test_numbers_are_numbers_with_the_digits_that_they_deserve() -> None:
    cells = sheets_of(book())["Findings"].cells
    formats = {cells[f"{letter}1"].value: cells[f"{letter}2"] for letter in "ABCDEFGHIJKLMNOP"}
    assert formats["Volume, mm³"].is_number
    assert formats["Volume, mm³"].format == "#,##0.0"
    assert (formats["Confidence"].format, formats["x, voxel"].format) == ("0.000", "0")
    assert not formats["Finding"].is_number


def test_heads_stay_in_sight_on_the_screen_and_on_paper() -> None:
    sheets = sheets_of(book())
    for name in ("Findings", "Metrics"):
        assert 'state="frozen"' in sheets[name].xml
        assert "<autoFilter" in sheets[name].xml
    for sheet in sheets.values():
        assert 'paperSize="9"' in sheet.xml
        assert 'fitToHeight="0"' in sheet.xml
        assert "&amp;P / &amp;N" in sheet.xml
        assert 'customWidth="1"' in sheet.xml


HOSTILE = ("=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "{=1+1}", "http://evil.example/", "mailto:a@b", "007")


def test_nothing_from_a_file_becomes_a_formula_a_link_or_a_number() -> None:
    of = phantom()
    findings = [finding_of(of.mask_IJK, of.affine)]
    findings += [Finding(name=text, value=1.0, unit="mm3", subject=text, data=findings[0].data) for text in HOSTILE]
    problems = [{"code": text, "message": text, "severity": "note", "slices": []} for text in HOSTILE]
    study = study_of(of, problems=problems, series={"description": HOSTILE[0], "uid": HOSTILE[5], "number": HOSTILE[1]})
    data = book(report_of(of, study=study, findings=findings))

    cells = [cell for sheet in sheets_of(data).values() for cell in sheet.cells.values()]
    assert not [cell for cell in cells if cell.is_formula]
    for text in HOSTILE:
        assert [cell.is_number for cell in cells if cell.value == text]
        assert not [cell for cell in cells if cell.value == text and cell.is_number]
    assert links_of(data) == []


def test_control_characters_go_and_long_texts_are_cut() -> None:
    of = phantom()
    study = study_of(of, series={"description": "bell\x07 and \x1besc, \ud800 and tab\t", "uid": "1", "number": 1})
    told = dict(row for row in sheets_of(book(report_of(of, study=study)))["Summary"].rows() if len(row) == 2)
    assert told["Series"] == "bell and esc,  and tab\t"
    assert len(plain("x" * 40_000)) == 32_767


def test_russian_texts_stay() -> None:
    of = phantom()
    study = study_of(of, series={"description": "МРТ головного мозга, Т1", "uid": "1", "number": 1})
    mask = Mask(labels_HW=of.mask_IJK, class_name=("", "очаг"))
    finding = Finding(
        name="очаг", value=12.5, unit="mm3", subject="очаг_1", data=finding_of(of.mask_IJK, of.affine).data
    )
    sheets = sheets_of(book(report_of(of, study=study, mask=mask, findings=(finding,))))
    assert "МРТ головного мозга, Т1" in [value for row in sheets["Summary"].rows() for value in row]
    assert sheets["Findings"].cells["A2"].value == "очаг_1"


def test_problems_stand_on_the_first_sheet_with_what_was_done() -> None:
    of = phantom()
    gap = {"code": "missing_slice", "message": "Slice 7.", "severity": "repaired", "slices": list(range(20))}
    rows = sheets_of(book(report_of(of, study=study_of(of, problems=[gap]))))["Summary"].rows()
    assert ["missing_slice", "Slice 7.", "repaired", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 …"] in rows


def test_a_result_without_findings_metrics_and_pictures_says_so() -> None:
    of = phantom()
    of.mask_IJK[:] = 0
    sheets = sheets_of(book(report_of(of, metrics=())))
    assert sheets["Findings"].rows()[1:] == [["Nothing was found."]]
    assert sheets["Metrics"].rows()[1:] == [["No reference mask was given."]]
    assert sheets["Pictures"].rows() == [["The profile makes no pictures."]]


def test_the_sheet_of_pictures_shows_the_preview() -> None:
    report = report_of()
    made = previews(report)
    data = book(report, **made)
    assert pictures_of(data) == [made["preview"]]
