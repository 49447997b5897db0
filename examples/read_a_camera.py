"""Read frames as older systems did: python examples/read_a_camera.py [rtsp://... | FILE | WEBCAM]."""

import sys
from pathlib import Path

import sightline
from sightline.compat import RTSPFrameReader

CLIP = Path(sightline.__file__).parent / "cases" / "street_people" / "street.mp4"

reader = RTSPFrameReader(sys.argv[1] if len(sys.argv) > 1 else str(CLIP), target_fps=2, width=640, height=480).start()
try:
    frame = reader.read(timeout_s=10)
    print("frame", frame.shape, frame.dtype, f"mean {frame.mean():.0f}")
finally:
    reader.stop()
