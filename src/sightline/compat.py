"""Names that users of older systems import, one line each where that is enough, on top of everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sightline.build import LoadedModel, load_model
from sightline.build.opened_source import OpenedSource, open_source
from sightline.client import InferenceRequest
from sightline.core.errors import Unavailable
from sightline.core.plugins import Source as StreamHandler
from sightline.core.prediction import Prediction

__all__ = ["InferenceRequest", "RTSPFrameReader", "StreamHandler", "load_model", "predict_bgr", "predict_pil"]


def predict_bgr(model: LoadedModel, picture_HWC: npt.NDArray[np.uint8]) -> Prediction:
    """Return what `model` says about a uint8 [height, width, 3] picture, blue first."""
    return model.predict(picture_HWC)


def predict_pil(model: LoadedModel, picture: Any) -> Prediction:
    """Return what `model` says about a PIL picture."""
    return model.predict(picture)


class RTSPFrameReader:
    """Reads a camera in a thread and keeps its newest frame.

    Args:
        rtsp_url: address of the stream; a file or a webcam index works too.
        target_fps: most frames per second.
        width: width of the frames in pixels; None keeps the camera's, as does a missing height.
        height: height of the frames in pixels.
    """

    def __init__(
        self, rtsp_url: str, target_fps: float = 5.0, width: int | None = None, height: int | None = None
    ) -> None:
        self._fields: dict[str, Any] = {"url": rtsp_url, "fps": target_fps, "width": width, "height": height}
        if Path(rtsp_url).is_file():
            self._fields["realtime"] = True  # as a camera would show it; else a reader would only ever see its end
        self._opened: OpenedSource | None = None

    def start(self) -> Self:
        """Begin to read."""
        self._opened = self._opened or open_source(**self._fields)
        return self

    def read(self, timeout_s: float = 10.0) -> npt.NDArray[np.uint8]:
        """Wait for a frame that was not returned before, and return it: uint8 [height, width, 3], blue first.

        Raises:
            Unavailable: none came within the timeout, or the stream has ended.
        """
        if self._opened is not None:
            return self._opened.read(timeout_s).payload.pixels_HWC
        raise Unavailable(f"No frame came within {timeout_s:g} s: it was not started.", cure="Call start() first.")

    def stop(self) -> None:
        """End; a second call does nothing."""
        if self._opened is not None:
            self._opened.close()
