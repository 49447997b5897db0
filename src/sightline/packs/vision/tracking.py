"""Boxes of one sample after another, put together to tracks; knows boxes and seconds, no samples and no plug-ins.

After ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022):
sure boxes choose first, unsure ones may only go on with a track that is there. What differs is time: everything is
in seconds, so that 2 and 25 samples a second need no other settings. Boxes are compared by the buffered IoU (Yang et
al., "Hard to Track Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching
Space", WACV 2023), whose margin is here one standard deviation of the predicted centre: narrow after a short step
of a well-known track, wide after a long one.

Shape letters: T tracks, N boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sightline.packs.vision.assignment import match
from sightline.packs.vision.kalman import BoxFilter, sides, sizes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MIN_BUFFERED_IOU = 0.1  # margins are part of the comparison, so any real overlap with the place expected is enough
MAX_SIZE_RATIO = 2.0  # who is half hidden shows half the area, a ratio of 1.4; twice the side is somebody else


@dataclass(frozen=True, kw_only=True)
class TrackRules:
    """The settings of `Tracker`, which describes them."""

    low: float
    high: float
    start: float
    confirm_s: float
    confirm_hits: int
    lost_s: float
    speed: float


@dataclass(slots=True)
class _Rows:
    """One entry a track, in the order of their birth.

    Attributes:
        id_T: 0 while a track is not confirmed.
        class_T: class of the box that it began with.
        first_T: when it was first seen, in seconds.
        sure_T: when a box of at least `high` was last seen of it.
        hits_T: boxes seen of it.
        seen_T: seen in the last sample.
    """

    id_T: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    class_T: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    first_T: Floats = field(default_factory=lambda: np.zeros(0))
    sure_T: Floats = field(default_factory=lambda: np.zeros(0))
    hits_T: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    seen_T: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))

    def born(self, class_N: Ints, now_s: float) -> None:
        """Append unconfirmed tracks that were just seen."""
        num = len(class_N)
        self.id_T = np.concatenate([self.id_T, np.zeros(num, np.int64)])
        self.class_T = np.concatenate([self.class_T, class_N])
        self.first_T = np.concatenate([self.first_T, np.full(num, now_s)])
        self.sure_T = np.concatenate([self.sure_T, np.full(num, now_s)])
        self.hits_T = np.concatenate([self.hits_T, np.ones(num, np.int64)])
        self.seen_T = np.concatenate([self.seen_T, np.ones(num, np.bool_)])

    def keep(self, kept_T: Bools) -> None:
        """Forget all other tracks."""
        self.id_T, self.class_T, self.first_T = self.id_T[kept_T], self.class_T[kept_T], self.first_T[kept_T]
        self.sure_T, self.hits_T, self.seen_T = self.sure_T[kept_T], self.hits_T[kept_T], self.seen_T[kept_T]


class Tracks:
    """The tracks of one source, from its first sample on."""

    def __init__(self, rules: TrackRules) -> None:
        self._rules = rules
        self._filter = BoxFilter.start(np.zeros((0, 4)), rules.speed)
        self._rows = _Rows()
        self._now_s: float | None = None
        self._num_ids = 0

    def update(
        self,
        seconds: float,
        xyxy_N4: Floats,
        confidence_N: Floats,
        class_N: Ints,
        size: tuple[int, int] | None = None,
    ) -> Ints:
        """Take the boxes seen at `seconds`; return for each [N] the id of its confirmed track, 0 for none.

        Boxes of different `class_N` never belong together. A clock that goes back counts as standing still. `size` is
        width and height of the picture: with it, a track that is expected outside is over, because who comes in there
        next is most often somebody else.
        """
        is_first = self._now_s is None
        now_s = seconds if self._now_s is None else max(seconds, self._now_s)
        self._filter.predict(now_s - (now_s if self._now_s is None else self._now_s))
        self._now_s = now_s
        self._forget(now_s, size)
        xyxy_N4 = np.asarray(xyxy_N4, np.float64)
        track_N = self._associate(xyxy_N4, confidence_N, class_N)
        self._learn(now_s, track_N, xyxy_N4, confidence_N)
        born_N = (track_N < 0) & (confidence_N >= self._rules.start)
        if born_N.any():
            track_N[born_N] = len(self._filter) + np.arange(np.count_nonzero(born_N))
            self._filter = self._filter.joined(BoxFilter.start(xyxy_N4[born_N], self._rules.speed))
            self._rows.born(class_N[born_N], now_s)
        self._confirm(now_s, at_once=is_first)
        id_N = np.zeros(len(xyxy_N4), np.int64)
        id_N[track_N >= 0] = self._rows.id_T[track_N[track_N >= 0]]
        return id_N

    def _associate(self, xyxy_N4: Floats, confidence_N: Floats, class_N: Ints) -> Ints:
        """Return the row of the track of each box [N], -1 for none."""
        track_N = np.full(len(xyxy_N4), -1, np.int64)
        rows, rules = self._rows, self._rules
        sure_N = confidence_N >= rules.high
        unsure_N = (confidence_N >= rules.low) & ~sure_N
        confirmed_T = rows.id_T > 0
        free_T = np.ones(len(confirmed_T), np.bool_)
        # An unsure box never revives a lost track and never confirms a new one: alone it is more often a shadow.
        for tracks_T, boxes_N in (
            (confirmed_T, sure_N),
            (confirmed_T & rows.seen_T, unsure_N),
            (~confirmed_T, sure_N),
        ):
            track_rows = np.flatnonzero(tracks_T & free_T)
            box_rows = np.flatnonzero(boxes_N & (track_N < 0))
            if not track_rows.size or not box_rows.size:
                continue
            cost = self._cost(track_rows, xyxy_N4[box_rows], class_N[box_rows])
            chosen_tracks, chosen_boxes = match(cost, 1.0 - MIN_BUFFERED_IOU)
            track_N[box_rows[chosen_boxes]] = track_rows[chosen_tracks]
            free_T[track_rows[chosen_tracks]] = False
        return track_N

    def _cost(self, track_rows: Ints, xyxy_N4: Floats, class_N: Ints) -> Floats:
        """Return one minus the buffered IoU [T, N]; infinite where class or size forbid."""
        expected = self._filter.select(track_rows)
        cost_TN = 1.0 - buffered_iou(expected.boxes(), xyxy_N4, np.sqrt(expected.centre_var_T2))
        ratio_TN = sizes(sides(xyxy_N4)).T / sizes(expected.side_T2)
        fits_TN = np.abs(np.log(ratio_TN)) <= np.log(MAX_SIZE_RATIO)
        fits_TN &= self._rows.class_T[track_rows][:, None] == class_N[None]
        return np.where(fits_TN, cost_TN, np.inf)

    def _learn(self, now_s: float, track_N: Ints, xyxy_N4: Floats, confidence_N: Floats) -> None:
        """Correct the tracks that were seen."""
        boxes = np.flatnonzero(track_N >= 0)
        seen = track_N[boxes]
        self._filter.update(seen, xyxy_N4[boxes], confidence_N[boxes])
        self._rows.seen_T[:] = False
        self._rows.seen_T[seen] = True
        self._rows.hits_T[seen] += 1
        # Unsure boxes carry a track over a gap, but not for ever: a traffic cone looks a little like a person too.
        self._rows.sure_T[seen[confidence_N[boxes] >= self._rules.high]] = now_s

    def _confirm(self, now_s: float, *, at_once: bool) -> None:
        """Give new tracks that have proved themselves their ids; at the first sample all, as nobody has just come."""
        rows, rules = self._rows, self._rules
        proved_T = (rows.hits_T >= rules.confirm_hits) & (now_s - rows.first_T >= rules.confirm_s - 1e-6)
        ready_T = (rows.id_T == 0) & rows.seen_T & (proved_T | at_once | (rules.confirm_hits <= 1))
        num = int(np.count_nonzero(ready_T))
        rows.id_T[ready_T] = self._num_ids + 1 + np.arange(num)
        self._num_ids += num

    def _forget(self, now_s: float, size: tuple[int, int] | None) -> None:
        """Drop what left the picture, what was lost for too long, and new tracks that nothing has confirmed in time."""
        rows, rules = self._rows, self._rules
        if not rows.id_T.size:
            return
        confirmed_T = rows.id_T > 0
        limit_T = np.where(confirmed_T, rules.lost_s, rules.confirm_s)
        kept_T = (now_s - rows.sure_T <= limit_T + 1e-6) | (~confirmed_T & rows.seen_T)
        if size is not None:
            centre_T2 = self._filter.centre_T2
            kept_T &= rows.seen_T | ((centre_T2 >= 0) & (centre_T2 <= size)).all(axis=1)
        if not kept_T.all():
            self._filter = self._filter.select(kept_T)
            rows.keep(kept_T)


def buffered_iou(expected_T4: Floats, xyxy_N4: Floats, margin_T2: Floats) -> Floats:
    """Return the intersection over union [T, N] after both boxes of a pair grew by the margin of its track.

    `margin_T2` is in pixels, to the left and right, and above and below.
    """
    grow_T14 = np.concatenate([-margin_T2, margin_T2], axis=1)[:, None]
    expected_T14 = expected_T4[:, None] + grow_T14
    seen_TN4 = xyxy_N4[None] + grow_T14
    overlap_TN2 = np.minimum(expected_T14[..., 2:], seen_TN4[..., 2:]) - np.maximum(
        expected_T14[..., :2], seen_TN4[..., :2]
    )
    overlap_TN = np.maximum(overlap_TN2, 0.0).prod(axis=2)
    area_TN = (seen_TN4[..., 2:] - seen_TN4[..., :2]).prod(axis=2)
    area_T1 = (expected_T14[..., 2:] - expected_T14[..., :2]).prod(axis=2)
    iou_TN: Floats = overlap_TN / np.maximum(area_T1 + area_TN - overlap_TN, 1e-9)
    return iou_TN
