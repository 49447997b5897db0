"""The geometry table: each way in which a series may be wrong has a code, and no policy passes it over in silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset
from pydicom.uid import UID
from tests.packs.medical.phantoms import AXIS_ORDERS, Phantom, enhanced, files, phantom, series, set_pixels, written
from tests.packs.medical.reading.reading import Read, read

from sightline.core.errors import InvalidMedia

PHANTOM = phantom()
NUM = PHANTOM.voxels_IJK.shape[2]
REFUSED = "refused"


@dataclass(frozen=True)
class Row:
    """One alteration of a series.

    Attributes:
        repair: severity under `repair`, or REFUSED; `accept` likewise.
        slices: the problem's, along K.
        left: slices of the phantom that the volume has, where it does not have all; None: interpolated.
        affine: of the volume, where it is not the phantom's.
    """

    code: str
    alter: Callable[[list[Dataset]], list[Dataset]]
    repair: str = "repaired"
    accept: str = "repaired"
    slices: list[int] = field(default_factory=list)
    left: Callable[[str], list[int | None]] = lambda _: list(range(NUM))
    affine: Callable[[str], npt.NDArray[np.float64]] = lambda _: PHANTOM.affine
    of: Phantom = PHANTOM


def without(*indices: int) -> Callable[[list[Dataset]], list[Dataset]]:
    return lambda slices: [each for k, each in enumerate(slices) if k not in indices]


def twice(slices: list[Dataset]) -> list[Dataset]:
    return [*slices, again(slices[6])]


def twice_otherwise(slices: list[Dataset]) -> list[Dataset]:
    other = again(slices[6])
    set_pixels(other, PHANTOM.voxels_IJK[:, :, 7].T)
    return [*slices, other]


def again(dataset: Dataset, uid: str = "1.2.3.4.5") -> Dataset:
    """Return a copy with an own UID, and the greatest number."""
    other = deepcopy(dataset)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    other.InstanceNumber = 99
    return other


def with_localizer(slices: list[Dataset]) -> list[Dataset]:
    other = again(slices[3])
    other.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    other.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    return [other, *slices]


def with_small(slices: list[Dataset]) -> list[Dataset]:
    other = again(slices[3])
    set_pixels(other, PHANTOM.voxels_IJK[:20, :18, 3].T)
    return [other, *slices]


def with_turned(slices: list[Dataset]) -> list[Dataset]:
    other = again(slices[3])
    other.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return [other, *slices]


def with_wide(slices: list[Dataset]) -> list[Dataset]:
    other = again(slices[3])
    other.PixelSpacing = [2, 2]
    return [other, *slices]


def second_volume(slices: list[Dataset]) -> list[Dataset]:
    later = [again(each, f"1.2.3.4.{k + 1}") for k, each in enumerate(slices)]
    for k, each in enumerate(later):
        set_pixels(each, PHANTOM.voxels_IJK[:, :, k].T + 1)
        each.AcquisitionNumber = 2
    return [*later, *slices]


def deeper(slices: list[Dataset]) -> list[Dataset]:
    x, y, z = slices[5].ImagePositionPatient
    slices[5].ImagePositionPatient = [x, y, float(z) + 0.5]
    return slices


def aside(slices: list[Dataset]) -> list[Dataset]:
    x, y, z = slices[5].ImagePositionPatient
    slices[5].ImagePositionPatient = [float(x) + 3, y, z]
    return slices


def strip(*names: str) -> Callable[[list[Dataset]], list[Dataset]]:
    def alter(slices: list[Dataset]) -> list[Dataset]:
        for each in slices:
            for name in names:
                delattr(each, name)
        return slices

    return alter


def at_detector(slices: list[Dataset]) -> list[Dataset]:
    for each in slices:
        each.ImagerPixelSpacing = each.PixelSpacing
        del each.PixelSpacing
    return slices


def with_one_shortened(slices: list[Dataset]) -> list[Dataset]:
    slices[4].PixelData = slices[4].PixelData[:-100]
    return slices


def in_steps(num: int, *, first: int = 0) -> npt.NDArray[np.float64]:
    """Return the affine of slices that are taken in even steps from the first to the last of the phantom."""
    affine = PHANTOM.affine.copy()
    affine[:3, 2] *= (NUM - 1 - first) / (num - 1)
    return affine


def flat_affine() -> npt.NDArray[np.float64]:
    """Return the affine where nothing tells a place: slices of the thickness that they have, the first at 0."""
    return np.array([[1.5, 0, 0, 0], [0, 1.25, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])


def one_mm() -> npt.NDArray[np.float64]:
    affine = PHANTOM.affine.copy()
    affine[0, 0] = affine[1, 1] = 1.0
    return affine


TABLE = [
    Row("missing_slice", without(6), slices=[6], left=lambda _: [*range(6), None, *range(7, NUM)]),
    Row(
        "missing_slice",
        without(3, 4, 5, 6),
        repair=REFUSED,
        accept="accepted",
        left=lambda _: [0, 1, 2, *range(7, NUM)],
        affine=lambda _: in_steps(NUM - 4),
    ),
    Row("duplicate_slice", twice, slices=[6]),
    Row("conflicting_slices", twice_otherwise, repair=REFUSED, accept="accepted", slices=[6]),
    Row(
        "gantry_tilt",
        lambda slices: slices,
        repair="accepted",
        accept="accepted",
        of=PHANTOM.sheared(12),
        affine=lambda _: PHANTOM.sheared(12).affine,
    ),
    Row("localizer", with_localizer),
    Row("mixed_sizes", with_small),
    Row("mixed_orientations", with_turned),
    Row("mixed_spacings", with_wide),
    Row("several_volumes", second_volume),
    Row("uneven_spacing", deeper, repair=REFUSED, accept="accepted", slices=[4, 5]),
    Row("shifted_slices", aside, repair=REFUSED, accept="accepted", slices=[5]),
    Row(
        "no_position",
        strip("ImagePositionPatient", "ImageOrientationPatient"),
        repair=REFUSED,
        accept="accepted",
        affine=lambda _: np.diag([-1, -1, 1, 1.0]) @ flat_affine(),
    ),
    Row("no_pixel_spacing", strip("PixelSpacing"), repair=REFUSED, accept="accepted", affine=lambda _: one_mm()),
    Row("no_pixel_spacing", at_detector),
    Row("unreadable_file", with_one_shortened, left=lambda _: [*range(4), None, *range(5, NUM)]),
]


@pytest.mark.parametrize("policy", ["refuse", "repair", "accept"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.code)
def test_geometry_table(row: Row, policy: str) -> None:
    altered = files(row.alter(series(row.of)))
    severity = {"refuse": REFUSED, "repair": row.repair, "accept": row.accept}[policy]
    if severity == REFUSED:
        with pytest.raises(InvalidMedia, match=row.code) as caught:
            read(altered, policy)
        assert "geometry: " in caught.value.cure
        return

    found = read(altered, policy)

    assert found.problems[row.code] == severity
    assert found.problem(row.code)["slices"] == row.slices
    np.testing.assert_allclose(found.affine, row.affine(policy), atol=1e-6)
    left = row.left(policy)
    assert found.voxels_IJK.shape[2] == len(left)
    for k, original in enumerate(left):
        if original is not None:
            np.testing.assert_array_equal(found.voxels_IJK[:, :, k], PHANTOM.voxels_IJK[:, :, original])


def test_a_series_without_a_fault_has_no_problem_under_the_strictest_policy() -> None:
    found = read(files(series(PHANTOM)), "refuse")

    assert found.study["problems"] == []
    np.testing.assert_array_equal(found.voxels_IJK, PHANTOM.voxels_IJK)
    np.testing.assert_allclose(found.affine, PHANTOM.affine, atol=1e-9)


def test_a_slice_that_is_interpolated_lies_between_its_neighbours_and_has_no_file() -> None:
    found = read(files(without(6)(series(PHANTOM))))

    between = np.rint((PHANTOM.voxels_IJK[:, :, 5].astype(float) + PHANTOM.voxels_IJK[:, :, 7]) / 2)
    np.testing.assert_array_equal(found.voxels_IJK[:, :, 6], between)
    told = found.study["slices"][6]
    assert (told["sop_uid"], told["file"], told["position_mm"]) == ("", "", -19.0)


def test_the_slice_map_names_the_file_of_each_slice() -> None:
    slices = series(PHANTOM)
    found = read(files(slices))

    assert [each["sop_uid"] for each in found.study["slices"]] == [each.SOPInstanceUID for each in slices]
    assert [each["index"] for each in found.study["slices"]] == list(range(NUM))
    assert found.study["slices"][2]["position_mm"] == PHANTOM.affine[2, 3] + 2 * 2.0
    assert found.study["slices"][2]["file"] == "study/838.dcm"


@pytest.mark.parametrize("order", AXIS_ORDERS)
def test_matter_stays_where_it_is_in_every_orientation(order: str) -> None:
    turned = PHANTOM.reoriented(order)

    found = read(files(series(turned)), "refuse")

    assert found.study["orientation"] == found_order(found)
    inside = np.argwhere(found.voxels_IJK == 900)
    np.testing.assert_allclose(
        (found.affine[:3, :3] @ inside.mean(0)) + found.affine[:3, 3], PHANTOM.centroid_mm, atol=1e-6
    )
    assert len(inside) * abs(np.linalg.det(found.affine[:3, :3])) == pytest.approx(PHANTOM.volume_mm3)


def found_order(found: Read) -> str:
    """Return the sides to which the voxel axes of an affine without shear point."""
    sides = []
    for axis in range(3):
        world = int(np.argmax(np.abs(found.affine[:3, axis])))
        sides.append(("LR", "PA", "IS")[world][int(found.affine[world, axis] > 0)])
    return "".join(sides)


def test_the_frames_of_an_enhanced_file_are_slices() -> None:
    for syntax in ("raw", "rle", "jpeg-ls"):
        found = read(written(enhanced(PHANTOM, syntax=syntax)), "refuse")

        np.testing.assert_array_equal(found.voxels_IJK, PHANTOM.voxels_IJK)
        np.testing.assert_allclose(found.affine, PHANTOM.affine, atol=1e-9)
        assert [each["frame"] for each in found.study["slices"]] == list(range(NUM))[::-1]


def test_an_enhanced_file_whose_groups_are_damaged_is_refused() -> None:
    data = written(enhanced(PHANTOM))
    for wrong in (data.replace(b"-29", b"-x9", 1), data.replace(b"\x20\0\x13\x91", b"\x20\0\x13\x92")):
        with pytest.raises(InvalidMedia, match=r"functional groups are damaged|no_position"):
            read(wrong)


def test_one_slice_has_its_thickness_or_is_refused() -> None:
    [slice_] = series(PHANTOM)[3:4]
    assert read(written(slice_), "refuse").study["spacing"] == [1.5, 1.25, 2.0]

    del slice_.SliceThickness
    with pytest.raises(InvalidMedia, match="no_slice_spacing"):
        read(written(slice_), "repair")
    assert read(written(slice_), "accept").study["spacing"] == [1.5, 1.25, 1.0]


def test_an_orientation_that_is_none_is_refused_by_every_policy() -> None:
    slices = series(PHANTOM)
    for each in slices:
        each.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]
    for policy in ("refuse", "repair", "accept"):
        with pytest.raises(InvalidMedia, match="orientation"):
            read(files(slices), policy)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PixelSpacing", [1, 1e30]), ("PixelSpacing", [1e-9, 1]), ("ImagePositionPatient", [1e9, 0, 0])],
)
def test_sizes_and_places_that_no_scanner_has_are_refused_by_every_policy(name: str, value: list[float]) -> None:
    slices = series(PHANTOM)
    for each in slices:
        place = [*value[:2], each.ImagePositionPatient[2]] if name == "ImagePositionPatient" else value
        setattr(each, name, place)
    for policy in ("refuse", "repair", "accept"):
        with pytest.raises(InvalidMedia, match=r"Its voxels are said to be .* mm large, the first one at"):
            read(files(slices), policy)


def test_one_slice_of_absurd_thickness_is_refused() -> None:
    [first, *_] = series(PHANTOM)
    first.SliceThickness = 1e200
    with pytest.raises(InvalidMedia, match=r"1e\+200 mm large"):
        read(files([first]), "accept")


def test_every_code_stands_on_the_page_about_geometry() -> None:
    root = Path(__file__).parents[4]
    source = root / "src/sightline/packs/medical/reading"
    text = "".join(path.read_text("utf-8") for path in sorted(source.glob("*.py")))
    codes = set(re.findall(r"problems\.(?:found|note)\(\s*\"(\w+)\"", text)) | set(
        re.findall(r"code, what = \"(\w+)\"", text)
    )
    told = re.findall(r"^\| `(\w+)` \|", (root / "docs/explanation/geometry.md").read_text("utf-8"), re.MULTILINE)

    assert len(codes) > 20
    assert codes == set(told) - {"refuse", "repair", "accept"}
    assert {row.code for row in TABLE} <= codes
