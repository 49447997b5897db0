from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sightline.core.prediction import Boxes, Finding, Findings, Labels, Mask, Rejected, Scalar
from sightline.core.sample import Frame, Sample
from sightline.packs.vision import drawing
from sightline.packs.vision.drawing import PALETTE, Style, Trails, colour_of, draw
from sightline.packs.vision.lettering import Plates
from sightline.testing import make_frame

PLAIN = Style(header=False)


def picture(grey: int = 128, **predictions: Any) -> Sample[Frame]:
    sample = make_frame(grey, size=(320, 240), seconds=4.2, source="door")
    for key, prediction in predictions.items():
        sample = sample.with_prediction(key, prediction)
    return sample


def tracked(*ids: int, left: float = 100) -> Boxes:
    return Boxes(
        xyxy=np.array([(left + 60 * n, 80, left + 60 * n + 40, 180) for n in range(len(ids))], np.float32),
        confidence=np.full(len(ids), 0.8, np.float32),
        class_id=np.zeros(len(ids), np.int64),
        class_name=("person",) * len(ids),
        tracker_id=np.array(ids, np.int64),
    )


def changed(sample: Sample[Frame], drawn: np.ndarray) -> np.ndarray:
    """Return where the picture was drawn on, bool [H, W]."""
    touched: np.ndarray = (drawn != sample.payload.pixels_HWC).any(axis=2)
    return touched


def test_the_sample_itself_is_not_drawn_on() -> None:
    sample = picture(people=tracked(1))
    before = sample.payload.pixels_HWC.copy()

    drawn = draw(sample)

    np.testing.assert_array_equal(sample.payload.pixels_HWC, before)
    assert drawn.shape == before.shape
    assert drawn.dtype == np.uint8


def test_nothing_predicted_and_no_header_leave_the_picture_as_it_is() -> None:
    assert not changed(picture(), draw(picture(), style=PLAIN)).any()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_box_is_seen_on_dark_and_on_light_pictures(grey: int) -> None:
    sample = picture(grey, people=tracked(1))
    contrast = np.abs(draw(sample, style=PLAIN).astype(int) - grey).max(axis=2)

    assert (contrast[80:180, 98:103].max(axis=1) > 90).all()
    assert contrast[100:170, 106:134].max() == 0  # the inside stays free


def test_a_track_keeps_its_colour_and_its_neighbour_has_another() -> None:
    first, later = (draw(picture(people=tracked(3, left=left)), style=PLAIN) for left in (50, 150))

    for drawn in (first, later):
        assert (np.abs(drawn.astype(int) - colour_of(3)) <= 12).all(axis=2).any()
        assert not (np.abs(drawn.astype(int) - colour_of(4)) <= 12).all(axis=2).any()
    assert len({colour_of(number) for number in range(len(PALETTE))}) == len(PALETTE)


def test_tracked_boxes_hide_the_plain_ones_of_the_detector() -> None:
    plain = Boxes(
        xyxy=np.array([[10, 10, 60, 60]], np.float32),
        confidence=np.ones(1, np.float32),
        class_id=np.zeros(1, np.int64),
        class_name=("person",),
    )
    alone = picture(people=plain)
    both = picture(people=plain, tracks=tracked(1))

    assert changed(alone, draw(alone, style=PLAIN))[:65, :65].any()
    assert not changed(both, draw(both, style=PLAIN))[:62, :65].any()


def test_lines_and_zones_come_from_the_findings() -> None:
    line = Findings(
        items=(
            Finding(name="in", value=4, data={"line": "door"}),
            Finding(name="out", value=2, data={"line": "door"}),
            Finding(name="line", data={"line": "door", "start": [200, 60], "end": [200, 220]}),
        )
    )
    zone = Findings(
        items=(
            Finding(name="inside", value=1, data={"zone": "yard"}),
            Finding(name="zone", data={"zone": "yard", "polygon": [[10, 100], [110, 100], [110, 200], [10, 200]]}),
        )
    )
    sample = picture(lines=line, zones=zone)

    touched = changed(sample, draw(sample, style=PLAIN))

    assert touched[60:220, 200].all()
    assert touched[150, 160:200].any()  # the arrow: looking down, `in` goes to the right hand, which is left here
    assert not touched[150, 206:300].any()
    assert touched[101:199, 11:109].mean() > 0.95
    assert not touched[205:, :190].any()


def test_trails_follow_a_track_and_end_after_their_time() -> None:
    trails = Trails(seconds=1.0)
    for n in range(30):
        sample = make_frame(128, size=(320, 240), seconds=n / 10).with_prediction("t", tracked(1, left=5 * n))
        trails.add(sample)
    [places] = trails.places.values()

    assert [round(seconds, 1) for seconds, _, _ in places] == [round(n / 10, 1) for n in range(19, 30)]
    touched = changed(sample, draw(sample, trails, PLAIN))
    assert touched[180, 120:165].all()
    for n in range(30, 60):
        trails.add(make_frame(128, seconds=n / 10))
    assert not trails.places


def test_a_mask_is_laid_over_its_pixels_only() -> None:
    labels = np.zeros((240, 320), np.uint8)
    labels[50:100, 50:100] = 2
    sample = picture(mask=Mask(labels_HW=labels, class_name=("background", "a", "b")))

    touched = changed(sample, draw(sample, style=PLAIN))

    np.testing.assert_array_equal(touched, labels > 0)


def test_what_belongs_to_the_whole_picture_is_written_in_the_corner() -> None:
    labels = Labels(
        class_id=np.arange(5), confidence=np.linspace(0.9, 0.1, 5, dtype=np.float32), class_name=tuple("abcde")
    )
    sample = picture(label=labels, light=Scalar(name="brightness", value=96.12))
    rejected = sample.with_rejection(Rejected(reason="too dark: mean 7.9, limit 12"))

    heights = [
        np.flatnonzero(changed(each, draw(each, style=style)).any(axis=1)).max()
        for each, style in ((picture(), Style()), (sample, Style(num_labels=4)), (sample, Style()), (rejected, Style()))
    ]

    assert heights == sorted(heights)
    assert len(set(heights)) == 4


def test_texts_do_not_cover_one_another() -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    plates = Plates(pixels, 1.0)
    plates.write("one", (10, 10), back=(255, 0, 0))
    below = plates.write("two", (12, 12), (12, 40), back=(0, 255, 0))
    plates.draw()

    assert below > 40
    assert (pixels[12:25] == 0).any()


def test_a_text_that_is_not_needed_is_left_out_where_no_place_is_free() -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    plates = Plates(pixels, 1.0)
    plates.write("one", (10, 10), back=(255, 0, 0))
    plates.write("two", (12, 12), (14, 8), back=(0, 255, 0), needed=False)
    plates.draw()

    assert not (pixels == (0, 255, 0)).all(axis=2).any()


def test_a_text_prefers_where_it_hides_no_box_and_else_where_it_hides_least() -> None:
    def row_of(*boxes: tuple[int, int, int, int]) -> int:
        plates = Plates(np.zeros((200, 300, 3), np.uint8), 1.0)
        height = plates.size("one")[1]
        return plates.write("one", (10, 10), (10, 100), back=(0, 255, 0), avoid_N4=np.array(boxes, np.float32)) - height

    assert row_of((200, 0, 250, 50)) == 10
    assert row_of((0, 0, 50, 30)) == 100
    assert row_of((0, 0, 20, 30), (0, 90, 90, 130)) == 10


def test_labels_of_a_crowd_of_boxes_cover_no_other() -> None:
    rng = np.random.default_rng(3)
    left, top = rng.uniform(0, 280, 40), rng.uniform(0, 180, 40)
    corners_N4 = np.stack([left, top, left + 30, top + 60], axis=1).astype(np.float32)
    crowd = replace(tracked(*range(40)), xyxy=corners_N4)
    pixels = np.zeros((240, 320, 3), np.uint8)
    plates = Plates(pixels, 1.0)

    drawing._draw_boxes(pixels, crowd, 1.0, PLAIN, plates, seen_N4=corners_N4)

    written = [box for _, box, _, _ in plates._written]
    assert 10 < len(written) < 40
    for number, one in enumerate(written):
        for other in written[:number]:
            apart = one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
            assert apart, (one, other)


def test_texts_at_the_edge_are_moved_inside_even_in_a_tiny_picture() -> None:
    sample = make_frame(128, size=(20, 10)).with_prediction("people", tracked(12345, left=-30))

    assert draw(sample).shape == (10, 20, 3)


def test_boxes_far_outside_are_no_trouble() -> None:
    assert draw(picture(people=tracked(1, left=-5000))).shape == (240, 320, 3)


def test_a_thing_that_was_left_behind_is_framed_and_named() -> None:
    thing = Finding(name="thing", data={"thing": "backpack", "xyxy": [100.0, 60.0, 160.0, 120.0]})
    told = Finding(name="left", event="object.left", data={"xyxy": [10.0, 10.0, 20.0, 20.0]})
    sample = picture(bags=Findings(items=(thing, told)))
    seen = changed(sample, draw(sample, style=PLAIN))

    assert seen[60, 100:160].all()
    assert seen[60:120, 160].all()
    assert not seen[70:110, 110:150].any()
    assert seen[124:132, 102:140].any()  # its name
    assert not seen[:50].any()  # what was told is not drawn again
