"""What every form of a data set needs: its pictures in folders, and the boxes on them, with classes and a split.

Knows nothing of the forms themselves.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from sightline.core.errors import ConfigError, Conflict, NotFound, StorageFull, Unavailable
from sightline.core.plugins import Context, Sink
from sightline.core.prediction import Boxes, JsonObject
from sightline.core.sample import Frame, Sample

TRAIN, VAL = "train", "val"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A box in a picture.

    Attributes:
        xyxy: left, top, right, bottom in pixels of the stored picture, inside it.
        confidence: None where a person said it.
    """

    name: str
    class_id: int
    xyxy: tuple[float, float, float, float]
    confidence: float | None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a data set.

    Attributes:
        part: `train` or `val`.
        file: its name inside the folder of its part.
        size: width and height in pixels.
        boxes: None where nobody looked for any.
    """

    part: str
    file: str
    size: tuple[int, int]
    time: datetime
    boxes: tuple[Labelled, ...] | None


@dataclass(kw_only=True)
class DatasetSink(Sink):
    """Pictures below `images/train` and `images/val`, and what is on them: labels if known, else predictions.

    The picture of a capture is copied as it is; any other is written as JPEG. Which pictures are for validation is
    decided by their names: the same ones each time, also when others are added. The description of the data set is
    written when the sink is closed. Samples without a picture are passed over.

    Attributes:
        path: folder of the data set, which is empty or not there; a relative one is below the outputs of the run.
        of: key of the predictor whose boxes are taken; empty: the last one that gives boxes.
        classes: names of the classes in their order; other boxes are left out. None named: those that are found.
        threshold: boxes with less confidence are left out.
        split: share of the pictures that is for training; 1: all.
        quality: of JPEG that are written, 1 to 100.
    """

    path: str = "dataset"
    of: str = ""
    classes: tuple[str, ...] = ()
    threshold: float = 0.0
    split: float = 1.0
    quality: int = 92

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or not 0 < self.split <= 1:
            raise ConfigError("threshold must lie between 0 and 1, split be above 0 and at most 1.")
        if len(set(self.classes)) != len(self.classes):
            raise ConfigError("classes names one twice.", cure="Name each class once.")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality is {self.quality}.", cure="Choose 1 to 100.")

    def open(self, context: Context) -> None:
        """Make the folder.

        Raises:
            Conflict: there is something in it.
            Unavailable: it cannot be made.
        """
        super().open(context)
        self._root = (context.outputs / self.path).absolute()
        self._pictures: list[Picture] = []
        self._names: set[str] = set()
        self._others: Counter[str] = Counter()
        with _told(self._root):
            if self._root.exists() and (not self._root.is_dir() or any(self._root.iterdir())):
                raise Conflict(f"{self._root} is there already.", cure="Name a folder that is empty or not there.")
            self._root.mkdir(parents=True, exist_ok=True)

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Store the pictures and remember what is on them.

        Raises:
            StorageFull: there is no room.
        """
        for sample in samples:
            if isinstance(sample.payload, Frame):
                self._add(sample)

    def close(self) -> None:
        """Write the description."""
        if getattr(self, "_pictures", None):
            with _told(self._root):
                self._describe(self._root, self._pictures, self._class_names())
            self._pictures = []

    @property
    def made(self) -> Mapping[str, str]:
        """The folder."""
        return {"data set": str(self._root)}

    @property
    def facts(self) -> JsonObject:
        """How many pictures and boxes it has so far, which classes, and boxes by name that are none of them."""
        pictures = self._pictures
        return {
            "pictures": len(pictures),
            TRAIN: sum(picture.part == TRAIN for picture in pictures),
            VAL: sum(picture.part == VAL for picture in pictures),
            "boxes": sum(len(picture.boxes or ()) for picture in pictures),
            "classes": list(self._class_names()),
            "others": dict(self._others),
        }

    @abstractmethod
    def _describe(self, root: Path, pictures: Sequence[Picture], classes: Sequence[str]) -> None:
        """Write what the form wants besides the pictures."""

    def _add(self, sample: Sample[Frame]) -> None:
        stem = self._free_stem(sample)
        part = TRAIN if _share_of(stem) < self.split else VAL
        path = self._root / "images" / part / f"{stem}.jpg"
        height, width = sample.payload.pixels_HWC.shape[:2]
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partly = path.with_name(f".{path.name}.part")
            if not self._copied(sample, partly):
                partly.write_bytes(self._encoded(sample))
            partly.replace(path)
        boxes = self._boxes(sample)
        found = None if boxes is None else tuple(self._labelled(boxes, sample))
        self._pictures.append(Picture(part=part, file=path.name, size=(width, height), time=sample.time, boxes=found))

    def _free_stem(self, sample: Sample[Frame]) -> str:
        capture = sample.metadata.get("capture")
        picture = capture.get("picture") if isinstance(capture, Mapping) else None
        run = f"{self.context.run[:8]}-" if self.context.run else ""
        wanted = Path(str(picture)).stem if picture else f"{sample.source}-{run}{sample.epoch}-{sample.seq}"
        stem = wanted = re.sub(r"[^\w.-]+", "_", wanted).lstrip(".") or "_"
        number = 1
        while stem in self._names:
            number += 1
            stem = f"{wanted}-{number}"
        self._names.add(stem)
        return stem

    def _copied(self, sample: Sample[Frame], path: Path) -> bool:
        """Copy the picture of a capture as it was kept; return False where there is none."""
        capture = sample.metadata.get("capture")
        key = capture.get("picture") if isinstance(capture, Mapping) else None
        if not isinstance(key, str) or not key.endswith(".jpg"):
            return False
        try:
            with self.context.ports.artifacts.open(key) as kept, path.open("wb") as file:
                shutil.copyfileobj(kept, file)
        except NotFound:
            return False
        return True

    def _encoded(self, sample: Sample[Frame]) -> bytes:
        pixels_HWC = np.ascontiguousarray(sample.payload.pixels_HWC)
        jpeg: bytes = simplejpeg.encode_jpeg(pixels_HWC, quality=self.quality, colorspace="BGR", colorsubsampling="420")
        return jpeg

    def _boxes(self, sample: Sample[Frame]) -> Boxes | None:
        if isinstance(sample.target, Boxes):
            return sample.target
        if self.of:
            return sample.prediction(self.of, Boxes)
        found = [each for each in sample.predictions.values() if isinstance(each, Boxes)]
        return found[-1] if found else None

    def _labelled(self, boxes: Boxes, sample: Sample[Frame]) -> Iterator[Labelled]:
        """Yield the boxes that are wanted, in pixels of the stored picture and cut at its edges."""
        height, width = sample.payload.pixels_HWC.shape[:2]
        full_width, full_height = sample.payload.size
        scale = np.array([width / full_width, height / full_height] * 2)
        places_N4 = np.clip(boxes.xyxy * scale, 0, [width, height, width, height])
        is_target = boxes is sample.target
        for place, name, class_id, confidence in zip(
            places_N4.tolist(), boxes.class_name, boxes.class_id.tolist(), boxes.confidence.tolist(), strict=True
        ):
            left, top, right, bottom = place
            if right - left < 1e-3 or bottom - top < 1e-3 or not (is_target or confidence >= self.threshold):
                continue
            if self.classes and name not in self.classes:
                self._others[name] += 1
            else:
                shown = None if is_target else round(confidence, 4)
                yield Labelled(name=name, class_id=class_id, xyxy=(left, top, right, bottom), confidence=shown)

    def _class_names(self) -> tuple[str, ...]:
        """Return the names of the classes: those asked for, or those found in the order of the model's numbers."""
        if self.classes:
            return self.classes
        found: dict[str, int] = {}
        for picture in self._pictures:
            for box in picture.boxes or ():
                found[box.name] = min(box.class_id, found.get(box.name, box.class_id))
        return tuple(sorted(found, key=lambda name: (found[name], name)))


def _share_of(name: str) -> float:
    """Return a number from 0 to 1 that is the same for a name each time, and evenly spread over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the system says into errors of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"There is no room for {path}.", cure="Make room, then export again.") from None
        raise Unavailable(f"{path} cannot be written: {error.strerror}.", cure="Check the folder.") from None
