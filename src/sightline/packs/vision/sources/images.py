"""Pictures as a source: a folder in natural order, a single file, or a request body.

Knows files and their order; what is inside a picture is `pictures`' matter.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import structlog
from PIL import Image

from sightline.core.errors import ConfigError, FileMissing, InvalidMedia
from sightline.core.plugins import Context, Source, SourceState
from sightline.core.prediction import JsonObject
from sightline.core.sample import Clocks, Frame, Sample
from sightline.packs.vision.sources.opening import MAX_SIDE_PX, file_path
from sightline.packs.vision.sources.pictures import MAX_PIXELS, decode_frame

log = structlog.get_logger()
_QUALITY = 90  # of the JPEG that is drawn for a person

_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".avif"}
)


@dataclass(kw_only=True)
class ImageSource(Source):
    """Pictures of a folder in natural order (`2.jpg` before `10.jpg`), or a single picture.

    A picture that cannot be decoded is counted, logged and left out, except where it is the only one.

    Attributes:
        url: path of a folder or of one picture.
        pattern: which file names to take, for instance `*.png`; `*` takes every file that looks like a picture.
        recursive: also look into folders below.
        fps: pictures per second, in real time; 0 gives them as fast as they are taken, without media time.
        size: width and height in pixels that pictures are scaled to; null keeps theirs.
        max_bytes: longest file or request body that is read.
        max_pixels: largest picture that is decoded.
    """

    url: str = ""
    pattern: str = "*"
    recursive: bool = False
    fps: float = 0.0
    size: tuple[int, int] | None = None
    max_bytes: int = 64 << 20
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if not 0 <= self.fps <= 1000:
            raise ConfigError(f"fps is {self.fps}; it must lie between 0 and 1000.")
        if self.size is not None and not all(0 < side <= MAX_SIDE_PX for side in self.size):
            raise ConfigError(f"size is {list(self.size)}; each side must lie between 1 and {MAX_SIDE_PX}.")
        if self.max_bytes < 1 or self.max_pixels < 1:
            raise ConfigError("max_bytes and max_pixels must be above 0.")
        if "/" in self.pattern or "\\" in self.pattern or not self.pattern:
            raise ConfigError(
                f"pattern is {self.pattern!r}; it is for file names.", cure="Write *.png, or set recursive."
            )

    def open(self, context: Context) -> None:
        """Get ready."""
        super().open(context)
        self.monotonic: Callable[[], float] = time.monotonic

    def read(self) -> Iterator[Sample[Frame]]:
        """Yield pictures, uint8 [H, W, 3], blue first; `metadata` has the `file`, relative to the folder.

        Raises:
            FileMissing: there is no such folder or file.
            InvalidMedia: there is no picture in it, or none that can be decoded.
        """
        context = self.context
        root, paths = self._files()
        opened, started_s, seq, error = context.now(), self.monotonic(), 0, None
        context.state(SourceState.CONNECTING, "")
        try:
            for index, path in enumerate(paths):
                if self.fps:
                    context.stopping.wait(max(0.0, started_s + index / self.fps - self.monotonic()))
                if context.stopping.is_set():
                    return
                try:
                    with path.open("rb") as file:
                        frame = self._frame(file, path.name)
                except (InvalidMedia, OSError) as failure:
                    error = failure
                    context.dropped("undecodable", 1)
                    log.warning("picture is left out", source=context.source, file=path.name, reason=str(failure))
                    continue
                if not seq:
                    context.state(SourceState.LIVE, "")
                name = path.name if root is None else path.relative_to(root).as_posix()
                yield self._sample(frame, name, seq, opened, index)
                seq += 1
            if not seq:
                raise (
                    error
                    if len(paths) == 1 and isinstance(error, InvalidMedia)
                    else InvalidMedia(
                        f"None of the {len(paths)} pictures in {self.url} can be decoded.", cure="See the log for each."
                    )
                )
        finally:
            context.state(SourceState.STOPPED, "stopped" if context.stopping.is_set() else "end of files")

    def load(self, file: BinaryIO, name: str, media_type: str) -> Iterator[Sample[Frame]]:  # noqa: ARG002  the bytes tell
        """Yield the one picture that was sent."""
        yield self._sample(self._frame(file, name or "the picture"), name, 0, self.context.now(), None)

    def drawn(self, sample: Sample[Frame]) -> bytes:
        """Return a JPEG of the picture with what was predicted drawn onto it."""
        # Here, for a source that only reads needs no lettering and no encoder.
        import simplejpeg

        from sightline.packs.vision.drawing import Style, draw

        pixels_HWC = draw(sample, style=Style(header=False, confidence=True))
        jpeg: bytes = simplejpeg.encode_jpeg(pixels_HWC, quality=_QUALITY, colorspace="BGR", colorsubsampling="420")
        return jpeg

    def probe(self) -> JsonObject:
        """Return how many pictures there are, and the size and format of the first, without decoding it."""
        _, paths = self._files()
        try:
            with Image.open(paths[0]) as picture:
                width, height, codec = *picture.size, (picture.format or "").lower()
        except OSError:
            raise InvalidMedia(f"{paths[0]} is not a picture of a known format.", cure="Set a pattern.") from None
        advice = [] if self.fps else ["Pictures have no media time here: set fps where predictors need time (tracker)."]
        return {
            "url": self.url,
            "kind": "images",
            "live": False,
            "num_files": len(paths),
            "codec": codec,
            "width": width,
            "height": height,
            "fps": self.fps or None,
            "advice": advice,
        }

    def _files(self) -> tuple[Path | None, list[Path]]:
        """Return the folder (None for a single file) and its pictures in natural order."""
        if not self.url:
            raise FileMissing("No folder was given to read pictures from.", cure="Set url to a folder or a picture.")
        root = file_path(self.url)
        if root.is_file():
            return None, [root]
        if not root.is_dir():
            raise FileMissing(
                f"There is no folder or file {root}.", cure="Check the path; it counts from where you are."
            )
        found = root.rglob(self.pattern) if self.recursive else root.glob(self.pattern)
        any_name = self.pattern == "*"
        paths = [
            path
            for path in found
            if not path.name.startswith(".") and path.is_file() and (not any_name or path.suffix.lower() in _SUFFIXES)
        ]
        if not paths:
            raise InvalidMedia(
                f"There is no picture in {root} (pattern {self.pattern}).",
                cure="Check the folder, or set recursive: true.",
            )
        return root, sorted(paths, key=lambda path: _natural(path.relative_to(root).as_posix()))

    def _frame(self, file: BinaryIO, name: str) -> Frame:
        data = file.read(self.max_bytes + 1)
        if len(data) > self.max_bytes:
            raise InvalidMedia(
                f"{name} is longer than {self.max_bytes} bytes.", cure="Send a smaller one, or raise max_bytes."
            )
        return decode_frame(
            data, name=name, size=self.size, max_pixels=self.max_pixels, least_size=self.context.least_size
        )

    def _sample(self, frame: Frame, name: str, seq: int, opened: datetime, index: int | None) -> Sample[Frame]:
        context = self.context
        pts_s = index / self.fps if self.fps and index is not None else None
        wall = context.now() if pts_s is None else opened + timedelta(seconds=pts_s)
        return Sample(
            payload=frame,
            source=context.source,
            epoch=context.epoch,
            seq=seq,
            clocks=Clocks(pts_s=pts_s, monotonic_s=self.monotonic(), wall=wall),
            metadata={"file": name} if name else {},
        )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers inside names by their value."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", name) if part
    ]
