"""Two cameras in one case share the model and nothing else: each keeps its own tracks and counts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightline import Boxes, Case, CaseBuildContext, Findings, Sample, load_case, run
from sightline.settings import load_settings

Seen = dict[str, list[tuple[int, list[int], dict[str, Any]]]]


@pytest.fixture
def context(tmp_path: Path) -> CaseBuildContext:
    loaded = load_settings(folder=tmp_path, environ={"SIGHTLINE_DATA_ROOT": str(tmp_path / "data")})
    return CaseBuildContext(loaded)


def watched(case: Case, context: CaseBuildContext) -> Seen:
    """Run a case; return per source the seq, the track ids and the line counts of each frame."""
    seen: Seen = defaultdict(list)

    def show(sample: Sample[Any]) -> None:
        ids = sample.prediction("people", Boxes).tracker_id
        line = sample.prediction("pavement", Findings)
        counts = {item.name: item.value for item in line if item.event is None}
        seen[sample.source].append((sample.seq, [] if ids is None else ids.tolist(), counts))

    run(case, context=context, watch=show)
    return seen


def test_two_sources_in_one_case_keep_apart_tracks_and_counts(context: CaseBuildContext) -> None:
    street = load_case("street_people", context=context)
    clip = street.sources["main"]
    five, two = (
        context.plugin("sources", "video", url=_url(clip), fps=5),
        context.plugin("sources", "video", url=_url(clip), fps=2),
    )
    with context:
        quiet = replace(street, sinks=())
        alone = watched(replace(quiet, sources={"gate": five}), context)
        together = watched(replace(quiet, sources={"gate": five, "yard": two}), context)

    assert together["gate"] == alone["gate"]
    assert len(together["gate"]) == 50
    assert len(together["yard"]) == 20
    for frames in together.values():
        ids = {id_ for _, on_frame, _ in frames for id_ in on_frame}
        assert ids == set(range(1, len(ids) + 1))  # each source counts its people from 1
        assert (frames[-1][2]["in"], frames[-1][2]["out"]) == (4, 2)


def _url(source: Any) -> str:
    return str(source.url)
