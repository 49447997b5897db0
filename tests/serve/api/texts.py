"""A case of jobs for the tests of doors: lines of a text in, their lengths out; slow, and bad, where a test says so."""

from __future__ import annotations

from pathlib import Path

PLUGINS = '''
import time
from dataclasses import dataclass

from sightline.core.errors import InvalidInput
from sightline.core.plugins import Predictor, Sink, Source
from sightline.core.prediction import Scalar
from sightline.core.sample import Clocks, Sample, Text


@dataclass(kw_only=True)
class Lines(Source):
    """A sample a line."""

    def load(self, file, name, media_type):
        for number, line in enumerate(file.read().decode().splitlines()):
            clocks = Clocks(pts_s=None, monotonic_s=0.0, wall=self.context.now())
            yield Sample(payload=Text(line), source="lines", seq=number, clocks=clocks)


@dataclass(kw_only=True)
class Length(Predictor):
    """Length of a text."""

    factor: float = 1.0
    pause_s: float = 0.0
    reference_object: str = ""

    def predict(self, samples):
        if any("bad" in sample.payload.text for sample in samples):
            raise InvalidInput("A bad word.")
        for number in range(20):
            if self.context.stopping.wait(self.pause_s / 20):
                break
            self.context.progress(number / 20, f"part {number} of 20")
        return [Scalar(name="length", value=self.factor * len(sample.payload.text)) for sample in samples]


@dataclass(kw_only=True)
class Page(Sink):
    """A page of what came of it, and a path that nobody but an admin may name."""

    path: str = ""

    def write(self, samples):
        key = self.context.results + ".html"
        self.context.ports.artifacts.put(key, f"<script>alert({len(samples)})</script>".encode())
        self._made = {"page": key}

    @property
    def made(self):
        return self._made
'''
MANIFEST = """
sources: {lines: {use: Lines}}
input: lines
stages: {analytics: {length: {use: Length}}}
sinks: [{use: Page}]
"""


def write_texts(folder: Path) -> None:
    """Write the case `texts` below a folder."""
    case = folder / "cases" / "texts"
    case.mkdir(parents=True)
    (case / "plugins.py").write_text(PLUGINS)
    (case / "case.yaml").write_text(MANIFEST)
