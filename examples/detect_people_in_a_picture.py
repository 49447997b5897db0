"""Is somebody in this picture, and where? python examples/detect_people_in_a_picture.py PICTURE."""

import sys

from sightline import Boxes, Labels, load_model

picture = sys.argv[1]

with load_model("person_detector") as model:
    answer = model.predict(picture)
assert isinstance(answer, Labels)
print(f"{answer.best} {answer.confidence[0]:.2f} ({model.card.ref})")

with load_model("nanodet-m", threshold=0.4, classes=("person",)) as model:
    boxes = model.predict(picture)
assert isinstance(boxes, Boxes)
for (left, top, right, bottom), confidence in zip(boxes.xyxy, boxes.confidence, strict=True):
    print(f"person {confidence:.2f} at {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}")
