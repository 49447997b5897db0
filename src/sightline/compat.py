"""Names that users of older systems import, one line each where that is enough, on top of everything else."""

from __future__ import annotations

from pathlib import Path
from threading import Condition, Thread
from threading import Event as Flag
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sightline.build import CaseBuildContext, LoadedModel, load_model
from sightline.core.errors import SightlineError, Unavailable
from sightline.core.plugins import Source as StreamHandler
from sightline.core.prediction import Prediction

__all__ = ["RTSPFrameReader", "StreamHandler", "load_model", "predict_bgr", "predict_pil"]


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
        fields: dict[str, Any] = {"url": rtsp_url, "fps": target_fps}
        if width is not None and height is not None:
            fields["size"] = (width, height)
        if Path(rtsp_url).is_file():
            fields["realtime"] = True  # as a camera would show it; else a reader would only ever see its end
        self._build = CaseBuildContext()
        self._source = self._build.plugin("sources", "video", **fields)
        self._stopping = Flag()
        self._changed = Condition()
        self._ended = False
        self._newest: npt.NDArray[np.uint8] | None = None
        self._error: SightlineError | None = None
        self._thread = Thread(target=self._work, name="rtsp-frame-reader", daemon=True)

    def start(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def read(self, timeout_s: float = 10.0) -> npt.NDArray[np.uint8]:
        """Wait for a frame that was not returned before, and return it: uint8 [height, width, 3], blue first.

        Raises:
            Unavailable: none came within the timeout, or the stream has ended.
        """
        with self._changed:
            came = self._changed.wait_for(lambda: self._newest is not None or self._ended, timeout_s)
            newest, self._newest = self._newest, None
        if newest is not None:
            return newest
        if not came:
            raise Unavailable(f"No frame came within {timeout_s:g} s.", cure="Check the camera: sightline probe URL")
        raise self._error or Unavailable("The stream has ended.")

    def stop(self) -> None:
        """End; a second call does nothing."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._build.close()

    def _work(self) -> None:
        try:
            self._source.open(self._build.world(source="reader", stopping=self._stopping))
            for sample in self._source.read():
                with self._changed:
                    self._newest = sample.payload.pixels_HWC
                    self._changed.notify_all()
                if self._stopping.is_set():
                    break
        except SightlineError as error:
            self._error = error
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()
