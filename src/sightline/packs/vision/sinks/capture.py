"""Keeps pictures that are worth learning from, with what was predicted about them, filed by date."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import simplejpeg

from sightline.core.codec import encode_sample, to_json
from sightline.core.errors import ConfigError, SightlineError
from sightline.core.events import checked_pattern, fits, make_event, source_uri
from sightline.core.plugins import Context, Sink
from sightline.core.ports import checked_key
from sightline.core.prediction import Boxes, Findings, Labels
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.hashing import NUM_BITS, Seen, picture_hash


@dataclass(kw_only=True)
class Capture(Sink):
    """Pictures as JPEG with their predictions as JSON in the artifact store, for the next training.

    A sample is kept for any of the reasons `every`, `uncertain`, `class` and `event`, which the fields below switch on.
    Keys are `<to>/<case>/<year>/<month>/<day>/<source>-<time>-<run>-<epoch>-<seq>.jpg` and `.json`, by the time of the
    sample in UTC, so that no run writes over another's. The JSON is the wire form of the sample with the versions of
    the models that really ran, and `capture` (reasons, key of the picture, run); it is put after the picture, so where
    it is, its picture is. Each one is told by the durable event `capture.stored`, and counted by `captures`.

    Attributes:
        to: first part of the keys; empty for none.
        every_s: keep one picture of each source in so many seconds, whatever is on it.
        below: keep pictures with a box or a best class of less confidence than this.
        between: keep pictures with a confidence between these two, which is where a detector learns most.
        classes: look only at these classes; without `below` and `between`, keep pictures that show one of them.
        on_event: keep pictures on which one of these happens, for instance `line.crossed` or `zone.*`.
        gap_s: seconds between two pictures of a source, unless an event asks for one.
        budget_per_day: keep at most so many a day and case; none means no limit.
        most: keep at most so many in a run; none means no limit.
        similar_bits: drop a picture that looks like one of the last of its source: their perceptual hashes differ in
            so many of 64 bits or less (3 finds what only noise and light have changed). None keeps them; a picture
            that an event asks for is always kept.
        remember: how many pictures of a source are looked at for that.
        quality: of the JPEG, 1 to 100.
    """

    to: str = "captures"
    every_s: float | None = None
    below: float | None = None
    between: tuple[float, float] | None = None
    classes: tuple[str, ...] = ()
    on_event: tuple[str, ...] = ()
    gap_s: float = 1.0
    budget_per_day: int | None = None
    most: int | None = None
    similar_bits: int | None = None
    remember: int = 100
    quality: int = 92

    def __post_init__(self) -> None:
        rules = (self.every_s, self.below, self.between, self.classes or None, self.on_event or None)
        if all(rule is None for rule in rules):
            raise ConfigError(
                "The capture has no rule, so it would keep nothing.",
                cure="Give every_s, below, between, classes or on_event.",
            )
        if self.between is not None and not 0 <= self.between[0] < self.between[1] <= 1:
            raise ConfigError(
                f"between is {list(self.between)}.", cure="Give two confidences, as in between: [0.3, 0.6]"
            )
        if self.below is not None and not 0 < self.below <= 1:
            raise ConfigError(f"below is {self.below}.", cure="Give a confidence above 0 and up to 1.")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality is {self.quality}.", cure="Choose 1 to 100.")
        if min(self.gap_s, self.every_s or 0.0, self.budget_per_day or 0, self.most or 0) < 0:
            raise ConfigError("gap_s, every_s, budget_per_day and most must not be negative.", cure="Choose 0 or more.")
        if not 0 <= (self.similar_bits or 0) < NUM_BITS or self.remember < 1:
            raise ConfigError(
                f"similar_bits must lie between 0 and {NUM_BITS - 1}, remember be at least 1.",
                cure="Try similar_bits: 3.",
            )
        for pattern in self.on_event:
            try:
                checked_pattern(pattern)
            except SightlineError as error:
                raise ConfigError(f"on_event of the capture: {error.message}", cure=error.cure) from None
        if self.to:
            checked_key(self.to)

    def open(self, context: Context) -> None:
        """Begin with nothing kept; what a day already holds is counted when its first picture comes."""
        super().open(context)
        self._last: dict[str, datetime] = {}
        self._seen: dict[str, Seen] = {}
        self._num_kept = 0
        self._day: date | None = None
        self._num_today = 0

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Keep those samples that a rule wants."""
        for sample in samples:
            if isinstance(sample.payload, Frame):
                reasons = self._reasons(sample)
                if reasons and self._affordable(sample) and self._is_new(sample, reasons):
                    self._keep(sample, reasons)

    def _reasons(self, sample: Sample[Frame]) -> list[str]:
        """Return why the sample is worth keeping; nothing when it is not."""
        last = self._last.get(sample.source)
        passed_s = float("inf") if last is None else abs((sample.time - last).total_seconds())
        reasons: list[str] = []
        if any(fits(event, self.on_event) for event in _events(sample)):
            reasons.append("event")
        if passed_s >= self.gap_s:
            seen = [score for name, score in _scores(sample) if not self.classes or name in self.classes]
            if self.below is None and self.between is None:
                if self.classes and seen:
                    reasons.append("class")
            elif any(self._is_uncertain(score) for score in seen):
                reasons.append("uncertain")
        if self.every_s is not None and passed_s >= self.every_s:
            reasons.append("every")
        return reasons

    def _is_uncertain(self, score: float) -> bool:
        low = self.below is not None and score < self.below
        return low or (self.between is not None and self.between[0] <= score <= self.between[1])

    def _affordable(self, sample: Sample[Frame]) -> bool:
        """Return whether the run, and the day of the sample, still have room."""
        if self.most is not None and self._num_kept >= self.most:
            return False
        if self.budget_per_day is None:
            return True
        day = sample.time.date()
        if day != self._day:
            keys = self.context.ports.artifacts.list(self._folder(sample))
            self._day, self._num_today = day, sum(key.endswith(".json") for key in keys)
        if self._num_today < self.budget_per_day:
            return True
        self._count("over_budget")
        return False

    def _is_new(self, sample: Sample[Frame], reasons: list[str]) -> bool:
        """Return whether the picture looks like none of the last that were kept of its source, and remember it."""
        if self.similar_bits is None:
            return True
        picture = picture_hash(sample.payload.pixels_HWC)
        seen = self._seen.setdefault(sample.source, Seen(self.remember))
        if "event" not in reasons and not seen.is_new(picture, self.similar_bits):
            self._last[sample.source] = sample.time  # or a still scene would be looked at again with every picture
            self._count("duplicate")
            return False
        seen.add(picture)
        return True

    def _keep(self, sample: Sample[Frame], reasons: list[str]) -> None:
        context = self.context
        run = _word(context.run)[:8] if context.run else uuid4().hex[:8]  # single requests have no run, and all seq 0
        name = f"{_word(sample.source)}-{sample.time:%H%M%S}-{run}-{sample.epoch}-{sample.seq}"
        key = f"{self._folder(sample)}{name}.json"
        picture = f"{self._folder(sample)}{name}.jpg"
        pixels_HWC = np.ascontiguousarray(sample.payload.pixels_HWC)
        jpeg = simplejpeg.encode_jpeg(pixels_HWC, quality=self.quality, colorspace="BGR", colorsubsampling="420")
        facts = {"reasons": reasons, "picture": picture, "run": context.run}
        context.ports.artifacts.put(picture, jpeg)
        context.ports.artifacts.put(key, to_json({**encode_sample(sample, context.case), "capture": facts}))
        self._last[sample.source] = sample.time
        self._num_today += 1
        self._num_kept += 1
        self._count("kept")
        context.tell(
            make_event(
                "capture.stored",
                source=source_uri(context.case, sample.source),
                time=context.now(),
                subject=key,
                data={"run": context.run, "sample": sample.id, "key": key, "picture": picture, "reasons": reasons},
            )
        )

    def _count(self, outcome: str) -> None:
        self.context.ports.meter.count("captures", case=self.context.case, outcome=outcome)

    def _folder(self, sample: Sample[Frame]) -> str:
        before = f"{self.to}/" if self.to else ""
        return f"{before}{_word(self.context.case)}/{sample.time:%Y/%m/%d}/"


def _word(name: str) -> str:
    """Return `name` as one part of a key."""
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "_"


def _events(sample: Sample[Any]) -> set[str]:
    """Return the short types of what happened on the sample."""
    found = (each for each in sample.predictions.values() if isinstance(each, Findings))
    return {item.event for findings in found for item in findings if item.event}


def _scores(sample: Sample[Any]) -> Iterator[tuple[str, float]]:
    """Yield class and confidence of every box, and of the best class of every classification."""
    for each in sample.predictions.values():
        if isinstance(each, Boxes):
            yield from zip(each.class_name, each.confidence.tolist(), strict=True)
        elif isinstance(each, Labels) and each.class_name:
            yield each.best, float(each.confidence[0])
