"""Show what the classifier says of test photographs: python tools/zoo/photos.py SHIPPED FOLDER."""

import argparse
import json
from pathlib import Path

import check
import crops
import cv2
import numpy as np
import skimage.data


def main(shipped: Path, folder: Path) -> None:
    """Print one line for each entry of FOLDER/expected.json, and how many are right."""
    net = check.session(shipped.read_bytes())
    labels = json.loads(net.get_modelmeta().custom_metadata_map["sightline.labels"])
    expected = json.loads((folder / "expected.json").read_text())
    right = 0
    for name, photo in expected.items():
        if photo["from"] == "file":
            pixels_HWC = np.asarray(cv2.imread(str(folder / name)), np.uint8)[:, :, ::-1]
        else:
            pixels_HWC = getattr(skimage.data, photo["from"].rpartition(".")[2])()
        [logits] = check.run(net, crops.prepare(pixels_HWC)[None])[0]
        chances = crops.softmax(logits)
        first = [(labels[i], float(chances[i])) for i in chances.argsort()[:-4:-1]]
        right += first[0][0] in photo["labels"]
        verdict = "right" if first[0][0] in photo["labels"] else "WRONG"
        print(verdict, name, "; ".join(f"{label} {chance:.2f}" for label, chance in first))
    print(f"{right} of {len(expected)} right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shipped", type=Path)
    parser.add_argument("folder", type=Path)
    main(**vars(parser.parse_args()))
