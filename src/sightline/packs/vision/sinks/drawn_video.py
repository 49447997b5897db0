"""Films what a case sees, with everything drawn that it found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.core.errors import ConfigError, SightlineError
from sightline.core.plugins import Context, Sink
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.drawing import Style, Trails, draw
from sightline.packs.vision.encoding import CodecName, VideoFile

_JUMP_S = 600.0  # a clock that leaps so far was set; nobody wants to wait for that in a video


@dataclass(slots=True)
class _Film:
    """The file of one source that grows now, and where its time stands.

    Attributes:
        shift_s: added to a sample's seconds it gives the second in the file.
        at_s: second in the file of the last picture.
        step_s: between the last two pictures.
    """

    trails: Trails
    file: VideoFile | None = None
    epoch: int = 0
    shift_s: float = 0.0
    at_s: float = 0.0
    step_s: float = 0.1
    num_pictures: int = 0
    paths: list[Path] = field(default_factory=list)


@dataclass(kw_only=True)
class DrawnVideo(Sink):
    """An mp4 per source with boxes, trails, lines, zones and counts drawn into the pictures.

    Pictures stand at their real media time, whatever their rate. While a run goes on, and after a crash, the file plays
    up to the last second; once closed it also seeks at once in browsers. With several sources the files are called
    `drawn-<source>.mp4`. A new epoch goes on in the same file, another picture size begins a new one (`drawn-2.mp4`),
    and a file that is there is never overwritten. Samples without a picture are passed over.

    Attributes:
        path: name of the file, with the end .mp4; a relative one is below the outputs of the run.
        codec: `h264` plays everywhere; `vp9` and `av1` make smaller files and need more time.
        fps: pictures a second in the file; none keeps the real times.
        crf: quality of the encoder, lower is better and larger; none takes a good one for the codec.
        header: draw a line with source, time and counts.
        confidence: write the confidence beside each class.
        trail_s: how many seconds of their way tracks trail behind; 0 draws no trails.
    """

    path: str = "drawn.mp4"
    codec: CodecName = "h264"
    fps: float | None = None
    crf: int | None = None
    header: bool = True
    confidence: bool = False
    trail_s: float = 3.0

    def __post_init__(self) -> None:
        if Path(self.path).suffix != ".mp4":
            raise ConfigError(f"The drawn video is called {self.path!r}.", cure="Give a name that ends with .mp4")
        if self.fps is not None and self.fps <= 0:
            raise ConfigError(
                f"The fps of the drawn video are {self.fps}.", cure="Choose more than 0, or leave it out."
            )
        if self.trail_s < 0:
            raise ConfigError(f"trail_s of the drawn video is {self.trail_s}.", cure="Choose 0 or more seconds.")

    def open(self, context: Context) -> None:
        """Begin with no file; the first picture of a source makes its own."""
        super().open(context)
        self._films: dict[str, _Film] = {}
        self._style = Style(header=self.header, confidence=self.confidence)
        self._path = context.outputs / self.path

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Draw and film the samples. What a crash may take is the last second.

        Raises:
            StorageFull: there is no room; what was written stays playable.
        """
        for sample in samples:
            if isinstance(sample.payload, Frame):
                self._film(sample)

    def close(self) -> None:
        """End all files."""
        films = getattr(self, "_films", {})
        errors: list[SightlineError] = []
        for film in films.values():
            try:
                self._end(film)
            except SightlineError as error:
                errors.append(error)
        if len(films) > 1:
            # The first file was begun before anybody could know that there would be others.
            first = next(iter(films))
            renamed = [path.rename(self._free(first)) for path in films[first].paths]
            films[first].paths[:] = renamed
        if errors:
            raise errors[0]

    @property
    def made(self) -> Mapping[str, str]:
        """The files, in the order of their sources."""
        paths = [path for film in getattr(self, "_films", {}).values() for path in film.paths]
        return {f"video {number}" if number > 1 else "video": str(path) for number, path in enumerate(paths, 1)}

    def _film(self, sample: Sample[Frame]) -> None:
        film = self._films.setdefault(sample.source, _Film(Trails(seconds=self.trail_s)))
        if film.file is not None and film.file.size != sample.payload.size:
            self._end(film)
        if film.file is None:
            film.file = VideoFile(
                self._free(sample.source if len(self._films) > 1 else ""),
                codec=self.codec,
                size=sample.payload.size,
                crf=self.crf,
            )
            film.paths.append(film.file.path)
            film.num_pictures = 0
        self._move_clock(film, sample)
        if self.trail_s:
            film.trails.add(sample)
        try:
            film.file.write(draw(sample, film.trails, self._style), film.at_s)
        except SightlineError:
            film.file.abandon()
            film.file = None
            raise
        film.num_pictures += 1

    def _move_clock(self, film: _Film, sample: Sample[Frame]) -> None:
        """Set the second at which the sample stands in the file."""
        if self.fps is not None:
            film.at_s = film.num_pictures / self.fps
            return
        at_s = sample.seconds + film.shift_s
        if film.num_pictures == 0:
            at_s = 0.0
        elif sample.epoch != film.epoch or not 0 < at_s - film.at_s < _JUMP_S:
            at_s = film.at_s + film.step_s
        else:
            film.step_s = min(at_s - film.at_s, 1.0)
        if sample.epoch != film.epoch:
            film.trails.places.clear()
        film.shift_s, film.at_s, film.epoch = at_s - sample.seconds, at_s, sample.epoch

    @staticmethod
    def _end(film: _Film) -> None:
        if film.file is not None:
            file, film.file = film.file, None
            file.close()

    def _free(self, source: str) -> Path:
        """Return a path where nothing is yet; `source` becomes part of its name."""
        word = re.sub(r"[^\w.-]+", "_", source)
        stem = f"{self._path.stem}-{word}" if word else self._path.stem
        number, path = 1, self._path.with_name(f"{stem}.mp4")
        while path.exists():
            number += 1
            path = self._path.with_name(f"{stem}-{number}.mp4")
        return path
