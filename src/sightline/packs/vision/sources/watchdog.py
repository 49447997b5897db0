"""What a live connection can suffer that is no error to FFmpeg: garbage, a frozen picture, a wrong rate.

Knows no sockets and no clock of its own; time comes in. One watchdog a connection. A connection on which nothing comes
at all needs none: FFmpeg's own time limit ends it.
"""

from __future__ import annotations

import zlib
from collections import deque

import numpy as np
import numpy.typing as npt

from sightline.core.errors import SourceUnreachable
from sightline.core.plugins import SourceState

_FIRST_S = 15.0  # longest wait for the first frame: a GOP may have just begun, and 10 s are common
_SPAN_S = 10.0  # of media time over which a rate is measured
_LOW, _HIGH = 0.6, 1.7  # shares of the rate that is expected: half and double, and what jitter does to them
_USUAL_RATES = (0.2, 240.0)  # what is announced outside of that is a mistake
_LOOKS_PER_S = 2.5  # looking at every frame of a fast stream would cost more than it tells
_NUM_ROWS = 96  # of a picture that are looked at
_NUM_PICTURES = 3  # a frozen encoder sends the same picture as key frame and as others, which differ a little


class Stalled(SourceUnreachable):
    """Packets come, and nothing that can be decoded."""


class Watchdog:
    """Looks at the packets and frames of one live connection.

    Args:
        patience_s: longest time in which packets come and none can be decoded.
        frozen_s: how long a picture may stay the same; 0: as long as it likes.
        announced_fps: frames per second as the stream announces them; None: unknown, so the first seconds are taken.

    Attributes:
        num_off: how often the rate went to half or less, or double or more, of what it should be.
    """

    def __init__(self, *, patience_s: float, frozen_s: float, announced_fps: float | None) -> None:
        self._patience_s = patience_s
        self._frozen_s = frozen_s
        low, high = _USUAL_RATES
        self._expected_fps = announced_fps if announced_fps and low <= announced_fps <= high else None
        self._since_s: float | None = None  # when something was decoded last, or the connection began
        self._num_decoded = 0
        self._span: tuple[float, int] | None = None  # its begin in media time, and the packets in it
        self._rate_reason = ""
        self._seen: deque[int] = deque(maxlen=_NUM_PICTURES)
        self._looked_s = 0.0
        self._new_s: float | None = None
        self._is_frozen = False
        self.num_off = 0

    @property
    def verdict(self) -> tuple[SourceState, str]:
        """The state of a connection that gives frames, and what is odd about it."""
        if self._is_frozen:
            return SourceState.FROZEN, f"the same picture for {self._frozen_s:g} s"
        return SourceState.LIVE, self._rate_reason

    def packet(self, time_s: float, received_s: float, num_decoded: int) -> None:
        """Take note of a packet.

        Args:
            time_s: its media time.
            received_s: monotonic time.
            num_decoded: frames that were decoded on this connection until now.

        Raises:
            Stalled: for too long nothing that came could be decoded.
        """
        if self._since_s is None or num_decoded != self._num_decoded:
            self._since_s, self._num_decoded = received_s, num_decoded
        limit_s = self._patience_s if num_decoded else max(self._patience_s, _FIRST_S)
        if received_s - self._since_s > limit_s:
            raise Stalled(f"packets come, but for {limit_s:g} s none could be decoded")
        self._measure(time_s)

    def frame(self, pixels_HWC: npt.NDArray[np.uint8], received_s: float) -> None:
        """Take note of a picture: uint8 [H, W, 3]."""
        if not self._frozen_s or (self._new_s is not None and received_s - self._looked_s < 1 / _LOOKS_PER_S):
            return
        self._looked_s = received_s
        step = max(1, pixels_HWC.shape[0] // _NUM_ROWS)
        mark = zlib.crc32(np.ascontiguousarray(pixels_HWC[::step]).data)
        if mark not in self._seen:
            self._seen.append(mark)
            self._new_s = received_s
        self._is_frozen = self._new_s is not None and received_s - self._new_s >= self._frozen_s

    def _measure(self, time_s: float) -> None:
        """Compare the rate of packets with what it should be: what was announced, or else what the first span gave."""
        begin_s, num = self._span or (time_s, 0)
        if not begin_s <= time_s < begin_s + _SPAN_S:
            fps = num / (time_s - begin_s) if time_s > begin_s else None
            self._span = (time_s, 1)
            if fps is not None and num > 1:
                self._judge(fps)
            return
        self._span = (begin_s, num + 1)

    def _judge(self, fps: float) -> None:
        if self._expected_fps is None:
            self._expected_fps = fps
        is_off = not _LOW < fps / self._expected_fps < _HIGH
        if is_off and not self._rate_reason:
            self.num_off += 1
            self._rate_reason = f"{fps:.3g} frames a second come, where {self._expected_fps:.3g} are expected"
        elif not is_off:
            self._rate_reason = ""
