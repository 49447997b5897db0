"""Cut the ten-second street clip that the `street_people` case ships.

The footage is `vtest.avi` of OpenCV's samples (fixed street camera, 768x576, 10 frames per
second; Debian's opencv-doc package has it). The shipped clip begins at its frame 170:

    python tools/media/make_street_clip.py vtest.avi street.mp4 170

The clip is H.264 in MP4: a keyframe each second, no B frames, no audio, index first. Its quality
is the best constant rate factor, in quarter steps, that stays under `MAX_BYTES`. The same libx264
gives the same bytes; another version of it may not.
"""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import av
from av.video.frame import PictureType

FPS = 10
NUM_FRAMES = 100
MAX_BYTES = 1_000_000
CRF_STEPS = [step / 4 for step in range(4 * 14, 4 * 40)]  # 14 looks like the source; 40 is poor
X264 = {
    "preset": "veryslow",
    "g": str(FPS),
    "keyint_min": str(FPS),
    "sc_threshold": "0",
    "bf": "0",
    "threads": "1",  # the bytes depend on the number of threads
}


def read_frames(video: Path, start: int) -> list[av.VideoFrame]:
    """Return `NUM_FRAMES` frames of `video`, the first one being frame number `start`."""
    with av.open(str(video)) as container:
        frames = list(islice(container.decode(video=0), start, start + NUM_FRAMES))
    if len(frames) < NUM_FRAMES:
        raise SystemExit(f"{video.name} has no {NUM_FRAMES} frames from frame {start} on.")
    return frames


def encode(frames: list[av.VideoFrame], crf: float) -> bytes:
    """Return `frames` as an MP4 file at this constant rate factor (lower is better)."""
    with TemporaryDirectory() as folder:  # +faststart reads the file again: it needs a path
        path = Path(folder, "clip.mp4")
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=FPS, options={**X264, "crf": str(crf)})
            stream.width, stream.height = frames[0].width, frames[0].height
            stream.pix_fmt = "yuv420p"
            for number, frame in enumerate(frames):
                picture = frame.reformat(format="yuv420p")
                picture.pts, picture.time_base = number, Fraction(1, FPS)
                picture.pict_type = PictureType.NONE  # the encoder chooses, not the source
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path.read_bytes()


def best_that_fits(frames: list[av.VideoFrame]) -> tuple[float, bytes]:
    """Return the lowest rate factor whose file is under `MAX_BYTES`, and that file."""
    low, high = 0, len(CRF_STEPS) - 1
    best: tuple[float, bytes] | None = None
    while low <= high:
        middle = (low + high) // 2
        clip = encode(frames, CRF_STEPS[middle])
        if len(clip) < MAX_BYTES:
            best, high = (CRF_STEPS[middle], clip), middle - 1
        else:
            low = middle + 1
    if best is None:
        raise SystemExit(f"No rate factor up to {CRF_STEPS[-1]} gives a clip under {MAX_BYTES} bytes.")
    return best


def main(arguments: list[str]) -> None:
    """Cut and encode the clip that the command line asks for."""
    parser = argparse.ArgumentParser(description="Cut the ten-second street clip.")
    parser.add_argument("input", type=Path, metavar="IN", help="the street video")
    parser.add_argument("output", type=Path, metavar="OUT", help="the MP4 file to write")
    parser.add_argument("start", type=int, metavar="START_FRAME", help="first frame, from 0")
    options = parser.parse_args(arguments)
    crf, clip = best_that_fits(read_frames(options.input, options.start))
    options.output.write_bytes(clip)
    print(f"{options.output.name}: {NUM_FRAMES} frames, crf {crf}, {len(clip)} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
