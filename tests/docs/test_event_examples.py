"""The page of events has an example of each alarm, with a start and an end, from the code that tells the real ones."""

from __future__ import annotations

import json
import re

import pytest
from tests.docs.runner import ROOT
from tools.event_examples import examples

from sightline.core.codec import decode_time
from sightline.core.events import EVENT_TYPES, fits

ALARMS = [name for name in EVENT_TYPES if fits(name, ("line.*", "zone.*", "count.*", "object.*", "threshold.*"))]
OUTAGES = ["source.stalled", "source.frozen", "source.backoff", "source.live"]


@pytest.fixture(scope="module")
def shown() -> dict[str, dict[str, object]]:
    """What stands on the page, by the headings."""
    page = (ROOT / "docs/reference/events.md").read_text("utf-8")
    found = re.findall(r"^### ([a-z._]+(?: \(end\))?)\n\n```json\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def test_every_alarm_and_outage_is_shown(shown: dict[str, dict[str, object]]) -> None:
    assert {*ALARMS, *OUTAGES, "capture.stored", "capture.removed"} <= shown.keys()
    assert shown.keys() == examples().keys()


@pytest.mark.parametrize("name", [*ALARMS, *OUTAGES])
def test_every_alarm_has_a_start_and_an_end(name: str) -> None:
    for event in (each for heading, each in examples().items() if heading.startswith(name)):
        start, end = event.data["start"], event.data["end"]
        assert decode_time(start) <= event.time
        assert end is None or decode_time(start) <= decode_time(end) <= event.time


def test_what_is_told_twice_shares_an_id_and_its_start() -> None:
    told = examples()
    pairs = {"zone.entered": "zone.left", "object.left": "object.removed"}
    pairs |= {name: f"{name} (end)" for name in ("count.over", "count.under", "threshold.alert")}
    for first, last in pairs.items():
        begin, end = told[first].data, told[last].data
        key = "visit" if first.startswith("zone.") else "alarm"
        assert begin[key] == end[key]
        assert begin["start"] == end["start"]
        assert begin["end"] is None
        assert end["end"] is not None
    assert told["zone.dwell"].data["visit"] == told["zone.entered"].data["visit"]
    assert told["source.live"].data["start"] == told["source.backoff"].data["start"]
