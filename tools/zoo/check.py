"""Compare a model with what it was made from: python tools/zoo/check.py ORIGINAL SHIPPED CLIP.

Prints size, digest, batching, speed and agreement; ends with an error if any of them is wrong.
CLIP is a video; the classifier is also compared on photographs inside scikit-image and
scikit-learn. Needs opencv beside numpy, onnx and onnxruntime.
"""

import argparse
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import boxes
import crops
import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from graph import expect
from seal import strip

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


def session(model: bytes) -> ort.InferenceSession:
    """Open `model` on one thread that does not spin."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(net: ort.InferenceSession, images: Floats, like: ort.InferenceSession | None = None) -> list[Floats]:
    """Return the outputs of `net`, in the order of the outputs of `like` with these shapes."""
    outputs: list[Floats] = net.run(None, {net.get_inputs()[0].name: images})
    if like is None:
        return outputs
    shapes = [tuple(out.shape[1:]) for out in like.get_outputs()]
    return [next(o for o in outputs if o.shape[1:] == shape) for shape in shapes]


def frames(clip: Path, every: int, first: int = 0) -> Iterator[Pixels]:
    """Yield each `every`-th frame of a video, BGR."""
    video, number = cv2.VideoCapture(str(clip)), 0
    while (frame := video.read())[0]:
        if number % every == first:
            yield np.asarray(frame[1], np.uint8)
        number += 1


def milliseconds(nets: list[ort.InferenceSession], images: Floats) -> list[float]:
    """Return the median time of each net for one image, taken in turns."""
    times: list[list[float]] = [[] for _ in nets]
    for turn in range(40):
        for net, taken in zip(nets, times, strict=True):
            image = images[turn % len(images)][None]
            start = time.perf_counter()
            run(net, image)
            taken.append(time.perf_counter() - start)
    return [1000 * float(np.median(taken[4:])) for taken in times]


def batches(net: ort.InferenceSession, images: Floats) -> float:
    """Return how far a row of a batch of 2, 3 and 8 is from the same image alone."""
    alone = [run(net, image[None]) for image in images]
    return max(
        float(np.abs(out[row] - one[0]).max())
        for size in (2, 3, 8)
        for number, out in enumerate(run(net, images[:size]))
        for row, one in enumerate(single[number] for single in alone[:size])
    )


def box_agreement(first: ort.InferenceSession, other: ort.InferenceSession, clip: Path) -> boxes.Agreement:
    """Compare the boxes on 80 frames."""
    agreement = boxes.Agreement()
    shipped_order = [out.name for out in other.get_outputs()]
    expect(shipped_order == boxes.OUTPUTS, "the outputs are not in the order of the card")
    for frame in frames(clip, 10):
        image, back = boxes.prepare(frame)
        pair = [boxes.decode(run(net, image, like=other), back) for net in (first, other)]
        agreement.add(*pair)
    return agreement


def class_images(clip: Path) -> Floats:
    """Return the centres and random squares of photographs and of frames, prepared."""
    photos, street = crops.packaged(), [frame[:, :, ::-1] for frame in frames(clip, 16)]
    pictures = [*photos, *crops.random_crops(photos, 24, 0.3), *crops.random_crops(street, 2, 0.25)]
    return np.stack([crops.prepare(picture) for picture in pictures])


def class_agreement(first: ort.InferenceSession, other: ort.InferenceSession, images: Floats) -> str:
    """Compare the classes of `images`."""
    one, two = (crops.softmax(np.concatenate([run(net, image[None])[0] for image in images])) for net in (first, other))
    same, sure = one.argmax(1) == two.argmax(1), one.max(1) > 0.5
    return (
        f"same first class in {same.sum()}/{len(same)} ({same.mean():.1%}), of the {sure.sum()} "
        f"over 0.5 in {same[sure].sum()}; probabilities within {np.abs(one - two).max():.3f}"
    )


def main(original: Path, shipped: Path, clip: Path) -> None:
    """Print the comparison."""
    data = shipped.read_bytes()
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    nets = session(original.read_bytes()), session(data)
    card = nets[1].get_modelmeta().custom_metadata_map
    digest = "sha256:" + hashlib.sha256(strip(data)).hexdigest()
    expect(card["sightline.digest"] == digest, "the digest in the card is not the file's")
    print(f"{shipped.name}: {len(data):,} bytes, made from {original.stat().st_size:,}; {digest}")
    if card["sightline.task"] == "object-detection":
        images = np.concatenate([boxes.prepare(frame)[0] for frame in frames(clip, 100)])[:8]
        agreement = box_agreement(*nets, clip)
        verdict = str(agreement)
        expect(agreement.equal, verdict)
    else:
        images = class_images(clip)
        verdict = class_agreement(*nets, images)
        images = images[:8]
    apart = batches(nets[1], images)
    expect(apart < 1e-3, f"rows of a batch differ from single images by {apart}")
    outputs = [run(net, images[:1], like=nets[1]) for net in nets]
    change = [float(np.abs(a - b).max()) for a, b in zip(*outputs, strict=True)]
    print("largest change of an output:", ", ".join(f"{value:.2g}" for value in change))
    print(f"rows of batches of 2, 3, 8 against single images: within {apart:.2g}")
    print("milliseconds an image, one thread: {:.1f} -> {:.1f}".format(*milliseconds([*nets], images)))
    print("agreement:", verdict)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("original", "shipped", "clip"):
        parser.add_argument(name, type=Path)
    main(**vars(parser.parse_args()))
