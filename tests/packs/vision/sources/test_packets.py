"""The ring of packets: what it holds, what goes first, and what a clip is given of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from threading import Event, Thread

import pytest
from structlog.testing import capture_logs

from sightline.core.errors import InvalidInput, NotFound
from sightline.packs.vision.sources.nal_units import joined
from sightline.packs.vision.sources.packets import KeptPacket, Piece, Ring
from sightline.testing.fakes import START

MB = 1 << 20
SETS = [b"\x67\x42\x00\x0a", b"\x68\xce\x01"]
OTHER_SETS = [b"\x67\x42\x00\x1f", b"\x68\xce\x01"]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Camera:
    """Gives a ring the packets of a camera: 10 frames a second, a key frame each second."""

    def __init__(self, ring: Ring, *, size: int = 1000, gop: int = 10) -> None:
        self.ring, self.size, self.gop, self.num = ring, size, gop, 0

    def connect(self, sets: list[bytes] | None = None, *, goes_on: bool = False) -> None:
        self.ring.begin("h264", joined(sets or SETS), 0.1, goes_on=goes_on)
        self.num = -(-self.num // self.gop) * self.gop

    def send(self, seconds: float, sets: list[bytes] | None = None) -> None:
        for _ in range(round(seconds * 10)):
            keyframe = self.num % self.gop == 0
            head = joined([*(sets or []), b"\x65"]) if keyframe else joined([b"\x41"])
            packet = KeptPacket(head + bytes(self.size - len(head)), self.num / 10, at(self.num / 10), keyframe)
            self.ring.add(packet, self.num / 10)
            self.num += 1


@pytest.fixture
def ring() -> Ring:
    return Ring(5, 64 * MB)


def begun(ring: Ring, seconds: float = 10) -> Camera:
    camera = Camera(ring)
    camera.connect()
    camera.send(seconds)
    return camera


def held(ring: Ring) -> Piece:
    return ring.piece(at(-1e6), at(1e6), at(1e6))


def span(piece: Piece) -> list[float]:
    return [round((moment - START).total_seconds(), 3) for moment in (piece.start, piece.end)]


def test_it_holds_whole_groups_of_the_last_seconds(ring: Ring) -> None:
    begun(ring)
    piece = held(ring)
    assert span(piece) == [4, 10]
    assert piece.packets[0].keyframe


def test_a_clip_begins_with_the_key_frame_before_what_was_asked(ring: Ring) -> None:
    begun(ring)
    piece = ring.piece(at(6.5), at(8.2), at(10))
    assert span(piece) == [6, 8.3]
    assert len(piece.packets) == 23


def test_what_is_longer_than_the_ring_gives_what_there_is(ring: Ring) -> None:
    begun(ring)
    assert span(ring.piece(at(0), at(9), at(10))) == [4, 9.1]


def test_what_is_gone_or_never_was_is_not_found(ring: Ring) -> None:
    with pytest.raises(NotFound, match="Nothing is held"):
        ring.piece(at(0), at(1), at(10))
    begun(ring)
    with pytest.raises(NotFound, match="Nothing is held") as caught:
        ring.piece(at(0), at(3), at(10))
    assert "ring_s" in caught.value.cure


def test_what_is_still_to_come_is_not_found_yet(ring: Ring) -> None:
    begun(ring)
    with pytest.raises(NotFound, match="still to come"):
        ring.piece(at(8), at(12), at(10))
    with pytest.raises(NotFound, match="still to come"):
        ring.piece(at(8), at(12), None)


def test_a_camera_that_sends_nothing_more_costs_the_end_and_not_the_clip(ring: Ring) -> None:
    begun(ring)
    assert span(ring.piece(at(8), at(12), at(12))) == [8, 10]
    ring.end()
    assert span(ring.piece(at(8), at(12), at(10.5))) == [8, 10]


def test_a_clip_never_holds_packets_of_two_connections(ring: Ring) -> None:
    camera = begun(ring, 4)
    camera.connect(OTHER_SETS)
    camera.send(3)
    first, second = ring.piece(at(1), at(5), at(7)), ring.piece(at(3), at(7), at(7))
    assert span(first) == [2, 4]
    assert first.stretch.sets == SETS
    assert span(second) == [4, 7]
    assert second.stretch.sets == OTHER_SETS


def test_two_connections_of_the_same_form_are_not_joined_either(ring: Ring) -> None:
    camera = begun(ring, 4)
    camera.connect()
    camera.send(3)
    assert len({id(ring.piece(at(begin), at(begin + 2), at(7)).stretch) for begin in (1, 4.5)}) == 2


def test_a_camera_that_changes_its_picture_on_the_way_begins_a_stretch(ring: Ring) -> None:
    camera = Camera(ring)
    camera.connect()
    camera.send(3, SETS)
    camera.send(3, OTHER_SETS)
    assert span(ring.piece(at(4.5), at(6), at(6))) == [4, 6]
    assert span(ring.piece(at(2.5), at(6), at(6))) == [3, 6]
    assert ring.piece(at(0), at(2), at(6)).stretch.told_sets == SETS


def test_a_file_that_begins_anew_is_one_stretch(ring: Ring) -> None:
    camera = begun(ring, 3)
    camera.connect(goes_on=True)
    camera.send(2)
    assert span(ring.piece(at(2), at(5), at(5))) == [2, 5]


def test_packets_before_the_first_key_frame_are_passed_over(ring: Ring) -> None:
    camera = Camera(ring)
    camera.connect()
    camera.num = 3
    camera.send(2)
    assert held(ring).packets[0].time_s == 1.0


@pytest.mark.parametrize("size", [50, 100_000])
def test_its_memory_is_bounded_whatever_the_bitrate(size: int) -> None:
    ring = Ring(3600, 2 * MB)
    camera = Camera(ring, size=size)
    camera.connect()
    for _ in range(3000):
        camera.send(0.1)
        assert ring.num_bytes <= 2 * MB
    packets = held(ring).packets
    assert packets[0].keyframe
    assert sum(len(packet.data) + 300 for packet in packets) == ring.num_bytes


def test_a_group_that_does_not_fit_at_all_is_left_out_and_told_once() -> None:
    ring = Ring(30, 1 * MB)
    camera = Camera(ring, size=200_000)
    with capture_logs() as logs:
        camera.connect()
        camera.send(5)
    assert ring.num_bytes <= 1 * MB
    assert [entry["event"] for entry in logs] == ["packets from key frame to key frame do not fit into ring_mb"]
    with pytest.raises(NotFound):
        ring.piece(at(0), at(4), at(5))


def test_packets_of_an_old_connection_go_when_they_are_too_old(ring: Ring) -> None:
    camera = begun(ring, 4)
    camera.num = 200
    camera.connect()
    camera.send(1)
    assert span(held(ring)) == [20, 21]


def test_a_codec_that_no_browser_plays_from_mp4_is_named(ring: Ring) -> None:
    ring.begin("mjpeg", None, 0.1)
    ring.add(KeptPacket(b"\xff\xd8", 0, START, True), 0)
    with pytest.raises(InvalidInput, match="mjpeg"):
        ring.piece(at(0), at(1), at(2))
    assert ring.num_bytes == 0


def test_times_that_make_no_sense_are_refused(ring: Ring) -> None:
    begun(ring)
    with pytest.raises(InvalidInput, match="cannot end"):
        ring.piece(at(5), at(5), at(10))
    with pytest.raises(InvalidInput, match="time zone"):
        ring.piece(at(5).replace(tzinfo=None), at(6), at(10))


def test_a_wall_clock_that_is_set_back_ends_nothing(ring: Ring) -> None:
    ring.begin("h264", None, 0.1)
    for number in range(30):
        wall = at(number / 10 - (100 if number >= 15 else 0))
        ring.add(KeptPacket(b"\0\0\1\x65", number / 10, wall, number % 10 == 0), number / 10)
    assert len(ring.piece(at(0), at(1.2), at(5)).packets) >= 13


def test_clips_may_be_asked_for_while_packets_come() -> None:
    ring, done, num = Ring(1, 64 * MB), Event(), 0
    camera = Camera(ring)
    camera.connect()
    camera.send(2)

    def write() -> None:
        while not done.is_set():
            camera.send(1)

    thread = Thread(target=write)
    thread.start()
    try:
        while num < 300:
            newest = camera.num / 10
            for piece in _pieces(ring, newest):
                num += 1
                times = [packet.time_s for packet in piece.packets]
                assert piece.packets[0].keyframe
                assert all(later - earlier == pytest.approx(0.1) for earlier, later in pairwise(times))
    finally:
        done.set()
        thread.join()


def _pieces(ring: Ring, newest: float) -> Iterator[Piece]:
    try:
        yield ring.piece(at(newest - 1), at(newest), at(1e9))
    except NotFound:  # it was overwritten meanwhile
        return
