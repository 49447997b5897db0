"""Compare the ways to store a network: python tools/zoo/compare.py NETWORK ORIGINAL CLIP.

NETWORK is `nanodet` or `efficientnet`. Prints one row for each way: bytes, milliseconds an image on
one thread, agreement with ORIGINAL. Static int8 is calibrated on other frames of the same clip and
on photographs inside scikit-image and scikit-learn, which flatters it.
"""

import argparse
from pathlib import Path

import boxes
import check
import crops
import make_efficientnet
import make_nanodet
import numpy as np
import onnx
from static import static_int8
from weights import KINDS, shrink


def main(network: str, original: Path, clip: Path) -> None:
    """Print the table."""
    detector = network == "nanodet"
    clean = make_nanodet.clean if detector else make_efficientnet.clean
    model = clean(onnx.load(original))
    first = check.session(original.read_bytes())
    plain = check.session(model.SerializeToString())
    photos = crops.packaged()
    if detector:
        views = list(check.frames(clip, 25, first=12))
        views += [photo[:, :, ::-1] for photo in photos]
        calibration = [boxes.prepare(view)[0] for view in views]
        images = np.concatenate(calibration[:8])
    else:
        calibration = [image[None] for image in check.class_images(clip)[1::4]]
        # What is compared on must not have calibrated.
        images = np.delete(check.class_images(clip), np.s_[1::4], axis=0)
    models = {kind: shrink(model, kind) for kind in KINDS}
    models["static int8"] = static_int8(model, calibration)
    models["static int8, edges float32"] = static_int8(model, calibration, edges=False)
    for kind, stored in models.items():
        data = stored.SerializeToString()
        net = check.session(data)
        before, after = check.milliseconds([plain, net], images[:8])
        if detector:
            verdict = str(check.box_agreement(first, net, clip))
        else:
            verdict = check.class_agreement(first, net, images)
        speed = f"{after:.1f} ({after / before:.2f} of float32)"
        print(f"| {kind} | {len(data):,} | {speed} | {verdict} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=("nanodet", "efficientnet"))
    parser.add_argument("original", type=Path)
    parser.add_argument("clip", type=Path)
    main(**vars(parser.parse_args()))
