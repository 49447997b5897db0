"""Which frames are wanted, and when they were taken: media time in, no clock of its own.

Knows no pixels and no codec. `Timeline` mends the time stamps of the frames of one connection, `Sampler` picks frames
by them; `PacketTimes` does for packets, which may come in another order, what `Timeline` does for frames.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

_NUDGE_S = 0.001  # by which a repeated stamp is moved on: small, so that pairs of equal stamps do not add up to drift
_STUCK = 4  # repeats in a row after which the stamps are taken to stand still
_SMALL_STEP_BACK_S = 1.0  # beyond that the sender has begun to count anew
LONGEST_GAP_S = 10.0  # of a live stream, beyond what passed on our own clock (FFmpeg's dts_delta_threshold)
LONGEST_GAP_IN_FILE_S = 3600.0  # recordings made on motion have honest gaps of minutes
_MOST_REORDERED = 16  # frames between a picture's place in the stream and its place in time (H.264, H.265)


class Timeline:
    """Turns the stamps of one connection into seconds that start at 0 and only rise.

    Missing, repeated, backward and wildly jumping stamps are replaced by the time that really passed (live) or by
    the usual step (file). `num_repaired` counts them.

    Args:
        time_base: seconds of one tick of a stamp.
        step_s: usual time from frame to frame.
        live: measure replaced steps on the receiver's clock.
        by_receipt: the stamps mean nothing; use the receiver's clock for all.
    """

    def __init__(self, time_base: Fraction, step_s: float, *, live: bool, by_receipt: bool = False) -> None:
        self._time_base = time_base
        self._step_s = step_s
        self._live = live
        self._by_receipt = by_receipt
        self._longest_gap_s = LONGEST_GAP_S if live else LONGEST_GAP_IN_FILE_S
        self._offset_s: float | None = None
        self._received_s = 0.0
        self._num_stuck = 0
        self.last_s: float | None = None
        self.num_repaired = 0

    def stamp_s(self, pts: int | None) -> float | None:
        """Return `pts` in seconds as the stream counts them; None where there is no usable stamp."""
        return None if pts is None or self._by_receipt else float(pts * self._time_base)

    def at(self, pts: int | None, received_s: float) -> float:
        """Return the time in seconds of the next frame in order of presentation, received at `received_s`."""
        stamp_s = self.stamp_s(pts)
        passed_s = received_s - self._received_s
        self._received_s = received_s
        if self.last_s is None:
            self._offset_s = None if stamp_s is None else -stamp_s
            self.last_s = 0.0
            return 0.0
        self.last_s = self._next(self.last_s, stamp_s, passed_s)
        return self.last_s

    def _next(self, last_s: float, stamp_s: float | None, passed_s: float) -> float:
        stepped_s = last_s + max(passed_s if self._live else self._step_s, _NUDGE_S)
        if stamp_s is None:
            self.num_repaired += not self._by_receipt
            self._offset_s = None
            return stepped_s
        if self._offset_s is None:
            self._offset_s = stepped_s - stamp_s
            return stepped_s
        time_s = stamp_s + self._offset_s
        gap_s = time_s - last_s
        if 0 < gap_s <= self._longest_gap_s + (max(passed_s, 0.0) if self._live else 0.0):
            self._num_stuck = 0
            return time_s
        self.num_repaired += 1
        if -_SMALL_STEP_BACK_S < gap_s <= 0 and self._num_stuck < _STUCK:
            self._num_stuck += 1
            return last_s + _NUDGE_S
        self._offset_s = stepped_s - stamp_s
        return stepped_s


class PacketTimes:
    """Turns the stamps of packets, in order of decoding, into seconds from 0 that follow the order of presentation.

    B frames go back by a few frames, and keep their places; everything else that jumps, stands still or is missing is
    replaced by the time that really passed (live), or by the usual step (file).

    Args:
        time_base: seconds of one tick of a stamp.
        frame_s: usual time from frame to frame.
        live: measure replaced steps on the receiver's clock.
        by_receipt: the stamps mean nothing.
    """

    def __init__(self, time_base: Fraction, frame_s: float, *, live: bool, by_receipt: bool = False) -> None:
        self._time_base = time_base
        self._frame_s = frame_s
        self._live = live
        self._by_receipt = by_receipt
        self._furthest_back_s = max(_SMALL_STEP_BACK_S, _MOST_REORDERED * frame_s)
        self._longest_gap_s = LONGEST_GAP_S if live else LONGEST_GAP_IN_FILE_S
        self._offset_s: float | None = None
        self._received_s = 0.0
        self._last_s: float | None = None
        self._newest_s = 0.0

    def at(self, pts: int | None, dts: int | None, received_s: float) -> float:
        """Return the time in seconds of the next packet, received at `received_s`."""
        stamp = dts if pts is None else pts
        stamp_s = None if stamp is None or self._by_receipt else float(stamp * self._time_base)
        passed_s = max(received_s - self._received_s, 0.0) if self._live else self._frame_s
        self._received_s = received_s
        if self._last_s is None:
            time_s = 0.0
            self._offset_s = None if stamp_s is None else -stamp_s
        else:
            time_s = self._next(self._last_s, stamp_s, passed_s)
        self._last_s = time_s
        self._newest_s = max(self._newest_s, time_s)
        return time_s

    def _next(self, last_s: float, stamp_s: float | None, passed_s: float) -> float:
        stepped_s = self._newest_s + max(passed_s, _NUDGE_S)
        if stamp_s is None:
            self._offset_s = None
            return stepped_s
        if self._offset_s is not None:
            gap_s = stamp_s + self._offset_s - last_s
            if gap_s and -self._furthest_back_s < gap_s <= self._longest_gap_s + passed_s:
                return stamp_s + self._offset_s
        self._offset_s = stepped_s - stamp_s
        return stepped_s


class Sampler:
    """Picks at most `fps` frames per second of media time, without drift.

    The k-th frame wanted is the one nearest to `k / fps` (never earlier than half a source frame before it), so
    that jitter of the stamps does not cost a frame. Where the caller tells key frames (lazy decoding), a
    frame that is due up to a quarter of a step before the next key frame waits for it, and a grid whose step fits
    the distance of key frames is moved on by up to one source frame to stay on them: a key frame needs no others.
    Where key frames come at least as often as frames are wanted, they alone are taken, the next one from each `k / fps`
    on; one that does not come is not waited for.

    Args:
        fps: None wants every frame.
        frame_s: usual time from frame to frame of the source.
    """

    def __init__(self, fps: float | None, frame_s: float) -> None:
        self._step_s = None if fps is None else 1.0 / fps
        self._frame_s = frame_s
        self._early_s = 0.499 * min(frame_s, self._step_s or frame_s)
        self._anchor_s = 0.0
        self._num = 0
        self._key_s: float | None = None
        self._gop_s: float | None = None

    def wants(self, time_s: float, *, keyframe: bool | None = None) -> bool:
        """Return True when the frame at `time_s` is to be sampled; call once per frame, in order.

        Args:
            time_s: seconds from the start.
            keyframe: whether it is a key frame; None where that makes no difference.
        """
        step_s = self._step_s
        if step_s is None:
            return True
        if keyframe:
            self._gop_s = None if self._key_s is None else time_s - self._key_s
            self._key_s = time_s
        due_s = self._anchor_s + self._num * step_s
        if time_s < due_s - self._early_s:
            return False
        if keyframe is False and self._keyframe_will_do(time_s, due_s, step_s):
            return False
        if keyframe and self._locks(time_s - due_s, step_s):
            self._anchor_s, self._num = time_s, 1
        else:
            self._num = floor((time_s + self._early_s - self._anchor_s) / step_s) + 1
        return True

    def _keyframe_will_do(self, time_s: float, due_s: float, step_s: float) -> bool:
        """Return True when the next key frame is near, or key frames come as often as frames are wanted."""
        if self._gop_s is None or self._key_s is None:
            return False
        next_s = self._key_s + self._gop_s
        return time_s <= next_s + self._early_s and (self._gop_s <= step_s or next_s - due_s <= step_s / 4)

    def _locks(self, late_s: float, step_s: float) -> bool:
        """Return True when the grid should move on to this key frame: the distance of key frames fits the step."""
        if self._gop_s is None or not 0 < late_s <= self._frame_s:
            return False
        return abs(self._gop_s - max(1, round(self._gop_s / step_s)) * step_s) <= self._frame_s
