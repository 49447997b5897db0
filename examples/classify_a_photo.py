"""What does this photograph show? python examples/classify_a_photo.py PHOTO."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from sightline import Labels, load_model
from sightline.compat import predict_bgr, predict_pil

photo = Path(sys.argv[1])

with load_model("mobilenet_v3_small", top_k=3) as model:
    answer = model.predict(photo)
    assert isinstance(answer, Labels)
    for name, confidence in zip(answer.class_name, answer.confidence, strict=True):
        print(f"{confidence:.2f} {name}")
    print("asked:", model.card.ref)

    # The same from bytes, a PIL picture, or a BGR array as OpenCV has it.
    picture = Image.open(photo).convert("RGB")
    pixels = np.ascontiguousarray(np.asarray(picture)[..., ::-1])
    for same in (model.predict(photo.read_bytes()), predict_pil(model, picture), predict_bgr(model, pixels)):
        assert isinstance(same, Labels)
        assert same.best == answer.best
