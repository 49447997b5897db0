"""The short form of `make fuzz`: damaged studies are a volume, or a refusal that says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks import fuzz
from benchmarks.fuzz_cases import seeds, study

SEED, NUM, GUARDED = 1, 150, 2


def test_damaged_studies_are_volumes_or_refused_with_a_reason() -> None:
    outcome = fuzz.campaign(SEED, NUM, GUARDED)
    assert outcome.wrong == [], "\n".join(outcome.wrong)
    assert outcome.num == NUM
    assert outcome.guarded == GUARDED
    assert outcome.kinds.keys() == seeds().keys()
    volumes = sum(counts["volume"] for counts in outcome.kinds.values())
    assert NUM // 5 < volumes < NUM - NUM // 5  # damage that hurts nothing, or everything, would try nothing


def test_a_number_is_always_the_same_study() -> None:
    assert [study(3, number) for number in range(20)] == [study(3, number) for number in range(20)]


def test_the_judge_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def reader(*asked: object) -> dict[str, object]:
        raise {"repair": ZeroDivisionError("one"), "accept": MemoryError()}[str(asked[-1])]

    monkeypatch.setattr(fuzz, "read_study", reader)
    [whole] = seeds()["NIfTI"][:1]
    what, wrong = fuzz.judged(whole, "repair")
    assert (what, wrong.partition(" at ")[0]) == ("unforeseen", "raises ZeroDivisionError: one")
    assert fuzz.judged(whole, "accept")[1] == "takes more than 512 MB"
    told = {"affine": np.eye(4).tolist(), "dimensions": [2, 2, 2], "spacing": [1, 1, 1]}
    assert fuzz.odd(told, {"voxels": np.zeros((2, 2, 2))}) == ""
    assert "says" in fuzz.odd(told, {"voxels": np.zeros((2, 2, 3))})
    assert "no numbers" in fuzz.odd(told, {"voxels": np.full((2, 2, 2), np.nan)})
    assert "no place" in fuzz.odd({**told, "affine": np.zeros((4, 4)).tolist()}, {"voxels": np.zeros((2, 2, 2))})


def test_a_reader_that_dies_is_told_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dying = tmp_path / "dying.py"
    dying.write_text(
        "import json, os, sys\nfirst = int(sys.argv[sys.argv.index('--reader') + 1])\n"
        "for number in range(first, 4):\n"
        "    if number == 1:\n        os.abort()\n"
        "    print(json.dumps({'kind': 'NIfTI', 'what': 'refused', 'wrong': '', 'seconds': 0.0}), flush=True)\n"
    )
    monkeypatch.setattr(fuzz, "READER", (str(dying),))
    outcome = fuzz.campaign(SEED, 4, 0)
    assert [each.partition(" (--")[0].partition(": ")[2] for each in outcome.wrong if "guarded" not in each] == [
        "ends its process (-6)"
    ]
    assert outcome.num == 4
