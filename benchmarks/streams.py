"""What reading cameras costs, and how honestly many are watched, side by side in one run: `make bench-streams`.

CPU is user and system time of a process that does nothing else, imports excluded; passes of all readers are interleaved
and the median is taken. The naive reader is `cv2.VideoCapture.read` of every frame and `cv2.resize` of the wanted ones.
Cameras are a real RTSP server (GStreamer) on the loopback, on the same cores as everything else.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.page import RESULTS, page
from benchmarks.stream_clips import ROOT, scene, write_clip

ROUNDS = 5
WANTED = (640, 360)
FPS = 2
SECONDS = 12


def cv2_reader(clip: str) -> float:
    """Read every frame, resize the wanted ones; return the CPU seconds."""
    import cv2

    cv2.setNumThreads(1)
    begin = _cpu_s()
    video = cv2.VideoCapture(clip)
    rate = video.get(cv2.CAP_PROP_FPS)
    number, due = 0, 0.0
    while True:
        read, frame = video.read()
        if not read:
            return _cpu_s() - begin
        if number / rate >= due:
            cv2.resize(frame, WANTED)
            due += 1 / FPS
        number += 1


def sightline_reader(clip: str, **options: object) -> float:
    """Read the wanted frames with a `VideoSource`; return the CPU seconds."""
    from sightline.packs.vision.sources.video import VideoSource
    from sightline.testing import make_context

    source = VideoSource(url=clip, fps=FPS, size=WANTED, **options)  # type: ignore[arg-type]
    begin = _cpu_s()
    source.open(make_context())
    for _ in source.read():
        pass
    source.close()
    return _cpu_s() - begin


READERS: dict[str, Callable[[str], float]] = {
    "cv2 read + resize": cv2_reader,
    "sightline": sightline_reader,
    "sightline, fast_decode": lambda clip: sightline_reader(clip, fast_decode=True),
    "sightline, lazy off": lambda clip: sightline_reader(clip, lazy=False),
}


def reading(folder: Path) -> list[Sequence[str]]:
    """Return the rows of CPU for a second of a stream, and of equal pixels."""
    clips = {
        "H.264": write_clip(
            folder / "camera.mp4", scene((1920, 1080), 30, 30 * SECONDS),
            codec="h264", size=(1920, 1080), fps=30, gop_s=2, kbps=4000,
        ),
        "H.265": write_clip(
            folder / "camera-265.mp4", scene((1920, 1080), 30, 30 * SECONDS),
            codec="hevc", size=(1920, 1080), fps=30, gop_s=2, kbps=2500,
        ),
        "H.264, GOP 0.5 s": write_clip(
            folder / "short.mp4", scene((1920, 1080), 30, 30 * SECONDS),
            codec="h264", size=(1920, 1080), fps=30, gop_s=0.5, kbps=4000,
        ),
    }  # fmt: skip
    rows: list[Sequence[str]] = []
    for name, clip in clips.items():
        found: dict[str, list[float]] = {reader: [] for reader in READERS}
        for _ in range(ROUNDS):
            for reader, seconds in found.items():
                seconds.append(_in_child(reader, clip) / SECONDS)
        middle = {reader: statistics.median(seconds) for reader, seconds in found.items()}
        naive, ours = middle["cv2 read + resize"], middle["sightline"]
        target = {
            "H.264": "at most 0.075, at least 1.9x better",
            "H.265": "at least 1.7x better",
        }.get(name, "")
        rows.append(
            (
                f"CPU per stream-second, 2 fps at 640x360 from 1080p30 {name}",
                target,
                f"{ours:.3f}, {naive / ours:.2f}x better",
                ", ".join(f"{reader} {seconds:.3f}" for reader, seconds in middle.items()),
            )
        )
        rows.append((f"lazy = full decode, {name}", "bit-identical", _equal(clip), ""))
    return rows


def _equal(clip: Path) -> str:
    """Compare the frames of both ways of decoding."""
    import numpy as np

    from sightline.packs.vision.sources.video import VideoSource
    from sightline.testing import make_context

    frames = []
    for lazy in (True, False):
        source = VideoSource(url=str(clip), fps=FPS, size=WANTED, lazy=lazy)
        source.open(make_context())
        frames.append([(sample.clocks.pts_s, sample.payload.pixels_HWC) for sample in source.read()])
        source.close()
    same = len(frames[0]) == len(frames[1]) and all(
        one[0] == other[0] and np.array_equal(one[1], other[1]) for one, other in zip(*frames, strict=True)
    )
    return f"{'bit-identical' if same else 'DIFFERENT'}, {len(frames[0])} frames"


def _in_child(reader: str, clip: Path) -> float:
    """Return the CPU seconds of a reader in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.streams", "--child", reader, str(clip)]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, print the table, and write it where `--write` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="reading,reconnect,many,screen,viewers", help="parts, separated by commas")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/streams.md")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        reader, clip = options.child
        sys.stdout.write(f"{READERS[reader](clip)}\n")
        return
    from benchmarks.stream_cameras import many, reconnect, viewers
    from benchmarks.stream_screen import screen

    parts = {"reading": reading, "reconnect": reconnect, "many": many, "screen": screen, "viewers": viewers}
    rows: list[Sequence[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            rows += parts[name](Path(folder))
    note = ". How it is measured stands at the top of `benchmarks/streams.py`."
    text = page("Streams", "make bench-streams", note, ("figure", "target", "measured", "beside"), rows)
    print(text)
    if options.write:
        (RESULTS / "streams.md").write_text(text)


if __name__ == "__main__":
    main()
