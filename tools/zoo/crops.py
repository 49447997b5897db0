"""From a picture to class scores, as the card of the classifier says; pictures to compare on."""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data
import sklearn.datasets
from cards import EFFICIENTNET

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

PRE = EFFICIENTNET["preprocessing"]
WIDTH, HEIGHT = PRE["size"]
INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


def prepare(pixels_HWC: Pixels, interpolation: str = PRE["interpolation"]) -> Floats:
    """Return the net's input [3, H, W] for an RGB picture."""
    height, width = pixels_HWC.shape[:2]
    scale = PRE["shorter"] / min(height, width)
    size = round(width * scale), round(height * scale)
    whole = cv2.resize(pixels_HWC, size, interpolation=INTERPOLATION[interpolation])
    left, top = (size[0] - WIDTH) // 2, (size[1] - HEIGHT) // 2
    centre = whole[top : top + HEIGHT, left : left + WIDTH]
    image_CHW = ((centre - PRE["mean"]) / PRE["std"]).transpose(2, 0, 1)
    return np.asarray(image_CHW, np.float32)


def softmax(logits_NC: Floats) -> Floats:
    """Return the probabilities of each row."""
    shares = np.exp(logits_NC - logits_NC.max(-1, keepdims=True))
    return np.asarray(shares / shares.sum(-1, keepdims=True), np.float32)


def packaged() -> list[Pixels]:
    """Return the colour photographs inside scikit-image and scikit-learn."""
    names = ("chelsea", "coffee", "astronaut", "rocket", "stereo_motorcycle")
    loaded = [getattr(skimage.data, name)() for name in names]
    photos = [photo[0] if isinstance(photo, tuple) else photo for photo in loaded]
    return photos + list(sklearn.datasets.load_sample_images().images)


def random_crops(photos: list[Pixels], each: int, smallest: float) -> Iterator[Pixels]:
    """Yield `each` random squares of each photograph; the same ones every time."""
    random = np.random.default_rng(0)
    for photo in photos:
        height, width = photo.shape[:2]
        for _ in range(each):
            side = int(min(height, width) * random.uniform(smallest, 1))
            top = random.integers(0, height - side + 1)
            left = random.integers(0, width - side + 1)
            yield np.ascontiguousarray(photo[top : top + side, left : left + side])
