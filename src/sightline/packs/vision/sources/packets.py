"""The packets that came last, undecoded, so that a clip can begin before what it shows was noticed.

Knows no files and no decoder: `remuxing` makes an mp4 of a `Piece`. Everything here may be called by any thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from threading import Lock

import structlog

from sightline.core.errors import InvalidInput, NotFound
from sightline.packs.vision.sources.nal_units import CODECS, length_size, parameters, parameters_of_header, sequences

log = structlog.get_logger()
_OVERHEAD = 300  # bytes that a packet takes besides its data


@dataclass(frozen=True, slots=True)
class KeptPacket:
    """One packet.

    Attributes:
        time_s: when its picture is shown, in seconds of media time.
        wall: when it came, UTC; of a file: the time of opening + `time_s`.
    """

    data: bytes
    time_s: float
    wall: datetime
    keyframe: bool


@dataclass(eq=False, slots=True)
class Stretch:
    """What the packets of one connection have in common, as long as the pictures stay the same in size and form.

    Attributes:
        length_size: bytes of the length in front of each unit; 0: Annex B.
        sets: parameter sets that a decoder needs first.
        frame_s: usual time from frame to frame.
        over: True when nothing will follow.
    """

    codec: str
    length_size: int
    sets: list[bytes]
    frame_s: float
    over: bool = False
    told_sets: list[bytes] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Group:
    """A key frame, and what needs it."""

    stretch: Stretch
    packets: list[KeptPacket] = field(default_factory=list)
    num_bytes: int = 0
    last_at_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What was asked for, as far as it is there: packets of one stretch in order of decoding, from a key frame on."""

    stretch: Stretch
    packets: Sequence[KeptPacket]

    @property
    def start(self) -> datetime:
        """Wall clock of the first frame."""
        return self.packets[0].wall

    @property
    def end(self) -> datetime:
        """Wall clock at which the last frame ends."""
        return max(packet.wall for packet in self.packets) + timedelta(seconds=self.stretch.frame_s)


class Ring:
    """Holds the packets of the last seconds, in whole groups of pictures; the oldest group goes first.

    Args:
        seconds: how long a packet is held; a group goes when its last packet is older.
        max_bytes: most memory. A single group that is larger than that is not held at all.
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._groups: deque[_Group] = deque()
        self._num_bytes = 0
        self._stretch: Stretch | None = None
        self._codec = ""
        self._begun = False  # a key frame has come
        self._too_small_told = False

    @property
    def num_bytes(self) -> int:
        """The memory that is used."""
        return self._num_bytes

    def begin(self, codec: str, extradata: bytes | None, frame_s: float, *, goes_on: bool = False) -> None:
        """Say that packets of a new connection follow.

        Args:
            codec: FFmpeg's name of it; only packets of H.264 and H.265 are held.
            extradata: the header of the stream, in either form.
            frame_s: usual time from frame to frame.
            goes_on: it is the same file once more; a clip may reach over the seam.
        """
        with self._lock:
            self._codec, self._begun = codec, False
            last = self._stretch
            if codec not in CODECS:
                self._close(last)
                self._stretch = None
                return
            size, sets = length_size(codec, extradata), parameters_of_header(codec, extradata)
            if goes_on and last and (last.codec, last.length_size, last.sets) == (codec, size, sets):
                last.over = False
                return
            self._close(last)
            self._stretch = Stretch(codec, size, sets, frame_s)

    def end(self) -> None:
        """Say that nothing more comes of this connection."""
        with self._lock:
            self._close(self._stretch)

    def add(self, packet: KeptPacket, at_s: float) -> None:
        """Hold a packet; those before the first key frame are passed over.

        Args:
            packet: the next one in order of decoding.
            at_s: now, on a clock that only rises.
        """
        with self._lock:
            if self._stretch is None or not (packet.keyframe or self._begun):
                return
            if packet.keyframe:
                self._begun = True
                if self._groups and packet.wall < self._groups[-1].packets[0].wall:  # the clock was set
                    self._stretch = self._another(self._stretch, self._stretch.sets)
                self._groups.append(_Group(self._stretch_of(packet, self._stretch)))
            group = self._groups[-1]
            size = len(packet.data) + _OVERHEAD
            group.packets.append(packet)
            group.num_bytes += size
            group.last_at_s = at_s
            self._num_bytes += size
            self._forget(at_s - self._seconds)

    def piece(self, start: datetime, end: datetime, now: datetime | None) -> Piece:
        """Return the packets from the key frame at or before `start` up to `end`, or what there is of them.

        Where several connections have some of it, the one that has most of it is taken.

        Args:
            start: wall clock, UTC.
            end: wall clock, UTC.
            now: wall clock; None: that of the newest packet.

        Raises:
            NotFound: nothing of that time is held any more, or not all of it has come yet.
            InvalidInput: the stream is in a codec of which no clip is made.
        """
        if start.tzinfo is None or end.tzinfo is None:
            raise InvalidInput("The begin or the end of the clip has no time zone.", cure="Give times in UTC.")
        if end <= start:
            raise InvalidInput(f"A clip cannot end at {end.isoformat()} when it begins at {start.isoformat()}.")
        with self._lock:
            held = [
                Piece(stretch=stretch, packets=[packet for group in groups for packet in group.packets])
                for stretch, groups in groupby(self._groups, key=lambda group: group.stretch)
            ]
            codec, over = self._codec, self._stretch is None or self._stretch.over
        if not held and codec and codec not in CODECS:
            raise InvalidInput(f"No clip is made of {codec} video.", cure="Set the camera to H.264 or H.265.")
        if held and not over and end > (now or held[-1].end):
            raise NotFound(f"The clip would end at {end.isoformat()}, and that is still to come.", cure="Ask later.")
        best = max(held, key=lambda piece: (_overlap(piece, start, end), piece.start), default=None)
        if best is None or _overlap(best, start, end) <= timedelta(0):
            raise NotFound(
                f"Nothing is held of {start.isoformat()} to {end.isoformat()}.",
                cure=f"Packets are held for {self._seconds:g} s, up to {self._max_bytes >> 20} MB: ring_s, ring_mb.",
            )
        return _cut(best, start, end)

    def _stretch_of(self, packet: KeptPacket, stretch: Stretch) -> Stretch:
        """Return the stretch to which a key frame belongs: a new one where a camera changed its picture on the way."""
        told = parameters(stretch.codec, packet.data, stretch.length_size)
        if not told:
            return stretch
        if stretch.told_sets and sequences(stretch.codec, told) != sequences(stretch.codec, stretch.told_sets):
            self._stretch = stretch = self._another(stretch, told)
        stretch.told_sets = told
        return stretch

    def _another(self, stretch: Stretch, sets: list[bytes]) -> Stretch:
        self._close(stretch)
        return Stretch(stretch.codec, stretch.length_size, sets, stretch.frame_s)

    def _forget(self, limit_s: float) -> None:
        groups = self._groups
        while len(groups) > 1 and (groups[0].last_at_s < limit_s or self._num_bytes > self._max_bytes):
            self._num_bytes -= groups.popleft().num_bytes
        if self._num_bytes > self._max_bytes:
            groups.clear()
            self._num_bytes, self._begun = 0, False
            if not self._too_small_told:
                self._too_small_told = True
                log.warning("packets from key frame to key frame do not fit into ring_mb", max_bytes=self._max_bytes)

    @staticmethod
    def _close(stretch: Stretch | None) -> None:
        if stretch is not None:
            stretch.over = True


def _overlap(piece: Piece, start: datetime, end: datetime) -> timedelta:
    return min(piece.end, end) - max(piece.start, start)


def _cut(piece: Piece, start: datetime, end: datetime) -> Piece:
    """Return the packets of `piece` that belong to a clip."""
    first = 0
    for index, packet in enumerate(piece.packets):
        if packet.keyframe and packet.wall <= start:
            first = index
    # to the last one in order of decoding, for pictures need others that are shown later
    last = max(index for index, packet in enumerate(piece.packets) if index == first or packet.wall <= end)
    kept = piece.packets[first : last + 1]
    key_s = kept[0].time_s
    # pictures that are shown before their key frame needed the group before it, which is not there
    return Piece(stretch=piece.stretch, packets=[packet for packet in kept if packet.time_s >= key_s])
