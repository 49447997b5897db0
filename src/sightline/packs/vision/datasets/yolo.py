"""Data sets in the form that YOLO trainers read: a text file with boxes beside each picture, and a `data.yaml`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.packs.vision.datasets.gathering import TRAIN, VAL, DatasetSink, Picture


@dataclass(kw_only=True)
class YoloDataset(DatasetSink):
    """A data set for YOLO: `data.yaml`, and a line `class x y width height` for each box below `labels/`.

    Numbers are shares of the picture's width and height, x and y those of the box's middle. A picture on which nothing
    was found has an empty file; one on which nobody looked has none. Where there is no part `val`, `data.yaml` names
    the part `train` twice, as trainers want both.
    """

    def _describe(self, root: Path, pictures: Sequence[Picture], classes: Sequence[str]) -> None:
        numbers = {name: number for number, name in enumerate(classes)}
        for picture in pictures:
            if picture.boxes is None:
                continue
            path = (root / "labels" / picture.part / picture.file).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            width, height = picture.size
            lines = []
            for box in picture.boxes:
                left, top, right, bottom = box.xyxy
                shares = (
                    (left + right) / 2 / width,
                    (top + bottom) / 2 / height,
                    (right - left) / width,
                    (bottom - top) / height,
                )
                lines.append(" ".join([str(numbers[box.name]), *(f"{share:.6f}" for share in shares)]) + "\n")
            path.write_text("".join(lines), "ascii")
        parts = {picture.part for picture in pictures}
        names = "".join(f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for name, number in numbers.items())
        (root / "data.yaml").write_text(
            f"train: images/{TRAIN if TRAIN in parts else VAL}\n"
            f"val: images/{VAL if VAL in parts else TRAIN}\n"
            f"nc: {len(numbers)}\n"
            f"names:\n{names}",
            "utf-8",
        )
