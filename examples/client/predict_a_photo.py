"""Ask a running server what is on a photograph: `python predict_a_photo.py photo.jpg`."""

import sys

from sightline import Boxes, Client, Labels
from sightline.core.errors import SightlineError

with Client.from_env() as client:  # SIGHTLINE_URL, SIGHTLINE_API_KEY; else http://127.0.0.1:8000
    try:
        labels = client.predict(sys.argv[1], model="efficientnet-lite0", top_k=3).prediction("model", Labels)
        boxes = client.predict(sys.argv[1], model="nanodet-m", threshold=0.5).prediction("model", Boxes)
    except SightlineError as error:
        sys.exit(f"{error} {error.cure} (request {error.request_id})")

for name, confidence in zip(labels.class_name, labels.confidence, strict=True):
    print(f"{confidence:.2f} {name}")
for name, xyxy in zip(boxes.class_name, boxes.xyxy, strict=True):
    print(f"{name} at {xyxy.round().tolist()}")
