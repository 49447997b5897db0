"""A case that does what a medical one does, in no time: it counts the letters of a text, and writes three files."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MANIFEST = """\
sources: {scan: {use: words}}
input: scan
stages:
  analytics:
    letters: {use: letters}
sinks:
  - {use: report}
"""

PLUGINS = '''\
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sightline.core.errors import InvalidMedia
from sightline.core.plugins import Predictor, Sink, Source
from sightline.core.prediction import Scalar
from sightline.core.sample import Clocks, Sample, Text


@dataclass(kw_only=True)
class Words(Source):
    """Reads a text."""

    def load(self, file, name, media_type):
        text = file.read().decode()
        if text == "broken":
            raise InvalidMedia("That is no scan.", cure="Send a scan.")
        clocks = Clocks(pts_s=None, monotonic_s=0.0, wall=datetime.now(UTC))
        yield Sample(payload=Text(text), source="", seq=0, clocks=clocks)


@dataclass(kw_only=True)
class Letters(Predictor):
    """Counts letters; takes its time where the text says so: `sleep 2.5`.

    Attributes:
        profile: how well.
        threshold: from where on.
        reference_object: what it is compared with.
    """

    profile: str = "fast_debug"
    threshold: float = 0.5
    reference_object: str = ""

    def predict(self, samples):
        text = samples[0].payload.text
        if text.startswith("sleep "):
            self.context.stopping.wait(float(text[6:]))
        if text == "mistake":
            raise ZeroDivisionError("of the plug-in")
        return [Scalar(name=f"{self.profile} {self.threshold:g} {self.reference_object}", value=float(len(text)))]


@dataclass(kw_only=True)
class Report(Sink):
    """Writes a mask, a JSON and a report."""

    def write(self, samples):
        [said] = samples[0].predictions.values()
        self._made = {}
        for word, suffix in (("mask", ".nii.gz"), ("json", ".json"), ("xlsx", ".xlsx")):
            key = self.context.results + suffix
            self.context.ports.artifacts.put(key, f"{word} {said.name}: {said.value:g}".encode())
            self._made[word] = key

    @property
    def made(self):
        return self._made
'''

TOKEN = "a-service-token-of-the-tests"


def write_letters(folder: Path) -> Path:
    """Write the case below `folder/cases` and return its folder."""
    case = folder / "cases" / "letters"
    case.mkdir(parents=True, exist_ok=True)
    (case / "case.yaml").write_text(MANIFEST)
    (case / "plugins.py").write_text(PLUGINS)
    return case


def asked(url: str, body: Any, *, token: str = "", **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """POST `body` to `url`/infer; return status, JSON and headers."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    if token:
        sent["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{url}/infer", data=data, headers=sent, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)
