from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.packs.medical.output.reports import finding_of, report_of, study_of
from tests.packs.medical.phantoms import AXIS_ORDERS, Phantom, phantom

from sightline.core.errors import InvalidInput
from sightline.core.prediction import Mask
from sightline.packs.medical.output.planes import AXES, CT_WINDOWS, Window, greys, plane_of, voxel_axes, window_of
from sightline.packs.medical.output.previews import colour_of, point_of, previews, shown


def picture(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def marked() -> Phantom:
    """Return a small grid of which each voxel tells its place: 100 i + 10 j + k, in RAS."""
    i, j, k = np.indices((7, 6, 5))
    return Phantom(
        (100 * i + 10 * j + k).astype(np.int16), np.zeros((7, 6, 5), np.uint8), np.diag([1.0, 2.0, 3.0, 1.0])
    )


@pytest.mark.parametrize("order", AXIS_ORDERS)
def test_every_axis_order_is_shown_the_same_way(order: str) -> None:
    of = marked()
    turned = of.reoriented(order)
    place = np.argwhere(turned.voxels_IJK == 123)[0]
    point = (int(place[0]), int(place[1]), int(place[2]))

    axial, coronal, sagittal = (plane_of(turned.voxels_IJK, turned.affine, name, point) for name in AXES)

    # The right is on the left, the front and the head are up: rows and columns run against the axes.
    np.testing.assert_array_equal(axial.values_HW, of.voxels_IJK[::-1, ::-1, 3].T)
    np.testing.assert_array_equal(coronal.values_HW, of.voxels_IJK[::-1, 2, ::-1].T)
    np.testing.assert_array_equal(sagittal.values_HW, of.voxels_IJK[1, ::-1, ::-1].T)
    assert (axial.letters, coronal.letters, sagittal.letters) == (tuple("RLAP"), tuple("RLSI"), tuple("APSI"))
    assert (axial.step_mm, coronal.step_mm, sagittal.step_mm) == ((2, 1), (3, 1), (3, 2))
    assert {each.values_HW[each.at] for each in (axial, coronal, sagittal)} == {123}


def test_a_tilted_grid_is_shown_along_its_nearest_axes() -> None:
    tilted = phantom().sheared(20)
    assert voxel_axes(tilted.affine) == ((0, 1, 2), (True, True, True))


def test_pixels_have_the_shape_that_they_have_in_the_patient() -> None:
    plane = plane_of(np.zeros((10, 20, 8)), np.diag([3.0, 1.0, 5.0, 1.0]), "coronal", (0, 0, 0))
    drawn = shown(plane, np.zeros((8, 10)), CT_WINDOWS["soft"], 4.0)
    assert drawn.shape == (8 * 5 * 4, 10 * 3 * 4, 3)


def test_what_was_found_is_drawn_where_it_is() -> None:
    of = phantom()
    point = (20, 18, 8)
    plane = plane_of(of.voxels_IJK, of.affine, "axial", point)
    labels = plane_of(of.mask_IJK, of.affine, "axial", point).values_HW
    scale = 8.0
    bare = shown(plane, np.zeros_like(labels), CT_WINDOWS["soft"], scale)
    drawn = shown(plane, labels, CT_WINDOWS["soft"], scale)

    changed = (bare != drawn).any(axis=2)
    ys, xs = np.nonzero(labels)
    tall, wide = plane.step_mm[0] * scale, plane.step_mm[1] * scale
    rows, columns = np.nonzero(changed)
    assert rows.min() == pytest.approx(ys.min() * tall, abs=3)
    assert rows.max() == pytest.approx((ys.max() + 1) * tall, abs=3)
    assert columns.min() == pytest.approx(xs.min() * wide, abs=3)
    assert columns.max() == pytest.approx((xs.max() + 1) * wide, abs=3)
    line = (np.abs(drawn.astype(int) - colour_of(1)).max(axis=2) < 40).sum()
    assert line > 2 * (np.ptp(rows) + np.ptp(columns)) * 0.8


def test_one_voxel_can_be_seen_in_a_small_picture() -> None:
    labels = np.zeros((256, 256), np.uint8)
    labels[100, 50] = 1
    plane = plane_of(np.zeros((256, 256, 1), np.int16), np.eye(4), "axial", (0, 0, 0))
    bare, drawn = (shown(plane, each, CT_WINDOWS["soft"], 0.5, line_px=1) for each in (0 * labels, labels))
    assert np.abs(bare.astype(int) - drawn).max() > 60


@pytest.mark.parametrize(("around", "name"), [(-850, "lung"), (40, "soft"), (700, "bone")])
def test_the_window_of_a_ct_fits_where_something_was_found(around: int, name: str) -> None:
    assert window_of(np.zeros((2, 2, 2)), "CT", around=np.full(9, around)) == CT_WINDOWS[name]


def test_the_window_of_an_mr_leaves_out_the_background_and_the_brightest() -> None:
    values = np.zeros((20, 20, 20), np.float32)
    values[5:15, 5:15, 5:15] = np.linspace(100, 200, 1000).reshape(10, 10, 10)
    values[5, 5, 5] = 50_000
    values[0, 0, 0] = np.nan
    window = window_of(values, "MR")
    assert 100 <= window.low < 105
    assert 195 < window.high < 250


def test_a_volume_of_one_value_has_a_window() -> None:
    assert greys(np.full((2, 2), 7.0), window_of(np.full((4, 4, 4), 7.0), "MR")).tolist() == [[0, 0], [0, 0]]
    mask = np.zeros((4, 4, 4))
    mask[1:3] = 2
    assert greys(np.array([[0.0, 2.0]]), window_of(mask, "")).tolist() == [[0, 255]]


def test_a_preset_can_be_asked_for_and_an_unknown_one_names_the_known() -> None:
    assert window_of(np.zeros((2, 2, 2)), "MR", preset="bone") == CT_WINDOWS["bone"]
    with pytest.raises(InvalidInput, match="'liver'") as caught:
        window_of(np.zeros((2, 2, 2)), "CT", preset="liver")
    assert "soft, lung, bone, brain" in caught.value.cure


def test_greys_are_cut_at_both_ends_and_no_number_is_black() -> None:
    values = np.array([[-1.0, 0, 5, 10, 11, np.nan, np.inf]])
    assert greys(values, Window("", 0, 10)).tolist() == [[0, 0, 127.5, 255, 255, 0, 255]]


def test_a_report_has_a_sheet_and_three_planes() -> None:
    made = previews(report_of())
    assert list(made) == ["preview", "axial", "coronal", "sagittal"]
    sheet = picture(made["preview"])
    axial, coronal, sagittal = (picture(made[name]) for name in AXES)
    assert axial.shape[1] == coronal.shape[1]  # one scale
    assert axial.shape[0] == sagittal.shape[1]
    assert coronal.shape[0] == sagittal.shape[0]
    assert sheet.shape[1] > axial.shape[1] + coronal.shape[1] + sagittal.shape[1]


def test_a_volume_in_which_nothing_was_found_is_shown_whole() -> None:
    of = phantom()
    of.mask_IJK[:] = 0
    report = report_of(of)
    assert point_of(report) == (20, 18, 8)
    colours = picture(previews(report)["axial"]).astype(int)
    assert np.ptp(colours, axis=2).max() < 30  # letters are bluish, nothing is coloured


def test_labels_have_colours_of_their_own() -> None:
    of = phantom()
    labels = of.mask_IJK.copy()
    labels[5:12, 10:20, 6:10] = 2
    findings = tuple(finding_of((labels == n).astype(np.uint8), of.affine, n) for n in (1, 2))
    report = report_of(of, mask=Mask(labels_HW=labels, class_name=("", "lesion", "киста")), findings=findings)
    seen = picture(previews(report)["axial"]).reshape(-1, 3).astype(int)
    for label in (1, 2):
        assert (np.abs(seen - colour_of(label)).max(axis=1) < 30).sum() > 20


@pytest.mark.parametrize("shape", [(1, 64, 64), (64, 1, 64), (64, 64, 1), (1, 1, 1)])
def test_flat_volumes_are_drawn(shape: tuple[int, int, int]) -> None:
    of = Phantom(np.ones(shape, np.int16), np.ones(shape, np.uint8), np.eye(4))
    made: dict[str, Any] = previews(report_of(of, study=study_of(of, modality="MR")))
    assert all(picture(data).size for data in made.values())
