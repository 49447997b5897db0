"""How old a picture is when it is on the screen: each carries the time at which it was taken, in blocks of two greys.

A page of the web interface in headless Chromium shows a camera of 640x360 at 10 fps; a script in the page reads the
canvas in every animation frame and compares the time in it with the clock. Drawing follows a frame later at most.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.stream_cameras import serving_case

SECONDS = 12.0
_SOURCE = """
import time
from dataclasses import dataclass

import numpy as np

from sightline.core.plugins import Source, SourceState
from sightline.core.sample import Clocks, Frame, Sample


@dataclass(kw_only=True)
class Coded(Source):
    fps: float = 10

    @property
    def is_live(self):
        return True

    def read(self):
        self.context.state(SourceState.LIVE, "")
        noise = np.random.default_rng(0).integers(60, 200, (360, 640, 3), np.uint8)
        due, seq = time.monotonic(), 0
        while not self.context.stopping.wait(max(0, due - time.monotonic())):
            pixels = np.roll(noise, 5 * seq, 1)
            now = int(time.time() * 1000)
            for bit in range(40):
                pixels[:40, bit * 16 : bit * 16 + 16] = 235 if now >> bit & 1 else 16
            clocks = Clocks(pts_s=seq / self.fps, monotonic_s=time.monotonic(), wall=self.context.now())
            yield Sample(payload=Frame(pixels), source=self.context.source, epoch=1, seq=seq, clocks=clocks)
            due, seq = due + 1 / self.fps, seq + 1
"""
_CASE = """
title: A camera with a clock in its picture.
source: {use: Coded}
stages:
  analytics:
    light: {use: brightness}
sinks:
  - {use: bus}
"""
_READ = """
(() => {
  const found = (window.found = []);
  let last = 0;
  const look = () => {
    const canvas = document.querySelector("canvas");
    if (canvas && canvas.width > 100) {
      const row = canvas.getContext("2d").getImageData(0, Math.round((20 * canvas.height) / 360), canvas.width, 1).data;
      const isWhite = (bit) => row[4 * Math.round(((bit * 16 + 8) * canvas.width) / 640)] > 128;
      let code = 0;
      for (let bit = 39; bit >= 0; bit--) code = code * 2 + isWhite(bit);
      const now = Date.now();
      const age = (now % 2 ** 40) - code;
      if (code !== last && age >= 0 && age < 5000) found.push(age);
      last = code;
    }
    requestAnimationFrame(look);
  };
  look();
  return true;
})()
"""


def screen(folder: Path) -> list[Sequence[str]]:
    """Return the row of a picture's age on the screen."""
    from tests.serve.live.browser import browsing

    with serving_case(folder, "clock", _CASE, _SOURCE) as (port, _), browsing(folder) as page:
        page.open(f"http://127.0.0.1:{port}/#/live")
        page.until("document.querySelector('canvas')?.width > 100")
        time.sleep(2)
        page.value(_READ)
        time.sleep(SECONDS)
        ages: list[float] = sorted(json.loads(page.value("JSON.stringify(window.found)")))
    return [
        (
            "picture on screen after capture (time code in the picture), one viewer",
            "median at most 40 ms",
            f"{statistics.median(ages):.0f} ms" if ages else "nothing was seen",
            f"p95 {ages[int(0.95 * len(ages))]:.0f} ms of {len(ages)} pictures at 10 fps" if ages else "",
        )
    ]
