"""One slice of a study: what its header says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sightline.packs.medical.reading.elements import PixelElement

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """How the pixels of a file are stored; the same for all its frames.

    Attributes:
        element: where they are.
        syntax: UID of the transfer syntax, as the file labels itself.
        big: the byte order that was found is big-endian.
        allocated: bits that a pixel takes.
        stored: bits of these that count; `high` is the uppermost.
        inverted: large is dark (MONOCHROME1).
    """

    element: PixelElement
    syntax: str
    big: bool
    rows: int
    columns: int
    num_frames: int
    allocated: int
    stored: int
    high: int
    signed: bool
    inverted: bool

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame that is not compressed."""
        return self.rows * self.columns * self.allocated // 8

    @property
    def ends(self) -> tuple[int, int]:
        """Least and greatest integer that may be stored."""
        half = 1 << (self.stored - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What the slices of a series have in common."""

    uid: str
    description: str = ""
    number: int | None = None
    modality: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One slice: a file, or a frame of one.

    Attributes:
        file: its name, as it was sent.
        path: where it lies now.
        frame: from 0, in its file.
        slope: of the modality: value = slope x stored + intercept.
        position_mm: of its first pixel, LPS; None where the file does not tell.
        orientation: cosines of a row and of a column, LPS.
        spacing_mm: between rows, and between columns.
        thickness_mm: of the slice; `between_mm` is the distance to the next one, as the header has it.
        time: what tells volumes apart that were taken at one place: acquisition, phase, echo.
        localizer: the header calls it one.
        mislabelled: the transfer syntax is not what the label says.
        at_detector: `spacing_mm` is that of the detector, for want of one in the patient.
    """

    file: str
    path: str
    sop_uid: str
    sop_class: str
    series: Series
    pixels: Pixels
    frame: int = 0
    instance: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    position_mm: Vector | None = None
    orientation: Vector | None = None
    spacing_mm: Vector | None = None
    thickness_mm: float | None = None
    between_mm: float | None = None
    time: tuple[float, ...] = ()
    localizer: bool = False
    mislabelled: bool = False
    at_detector: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """A file that is no slice of a volume, and why; `broken` where it should have been one."""

    file: str
    reason: str
    series: Series = field(default_factory=lambda: Series(uid=""))
    broken: bool = False
    sop_uid: str = ""
