"""Data sets in the form of COCO (https://cocodataset.org/#format-data): one JSON for each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.core.codec import encode_time, to_json
from sightline.packs.vision.datasets.gathering import DatasetSink, Picture


@dataclass(kw_only=True)
class CocoDataset(DatasetSink):
    """A data set as COCO: `annotations/instances_train.json`, and `instances_val.json` where there is a part `val`.

    File names count from `images/train` and `images/val`. Ids begin with 1 in each file; both have the same categories.
    A box that a model predicted has its confidence as `score`, a field that readers of COCO pass over.
    """

    def _describe(self, root: Path, pictures: Sequence[Picture], classes: Sequence[str]) -> None:
        folder = root / "annotations"
        folder.mkdir(exist_ok=True)
        numbers = {name: number for number, name in enumerate(classes, 1)}
        for part in sorted({picture.part for picture in pictures}):
            text = to_json(_described([picture for picture in pictures if picture.part == part], numbers))
            (folder / f"instances_{part}.json").write_bytes(text)


def _described(pictures: Sequence[Picture], numbers: dict[str, int]) -> dict[str, object]:
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for image_id, picture in enumerate(pictures, 1):
        width, height = picture.size
        taken = encode_time(picture.time)
        images.append(
            {"id": image_id, "file_name": picture.file, "width": width, "height": height, "date_captured": taken}
        )
        for box in picture.boxes or ():
            left, top, right, bottom = box.xyxy
            bbox = [round(left, 3), round(top, 3), round(right - left, 3), round(bottom - top, 3)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": numbers[box.name],
                    "bbox": bbox,
                    "area": round(bbox[2] * bbox[3], 3),
                    "iscrowd": 0,
                    **({} if box.confidence is None else {"score": box.confidence}),
                }
            )
    return {
        "info": {"description": "Exported by Sightline", "version": "1.0"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in numbers.items()],
    }
