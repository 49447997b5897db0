"""What the form and the picture change in the text of a manifest: what was meant, and nothing else."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.web.conftest import ROOT, UI
from tests.web.test_build import node

CASES = sorted((ROOT / "src/sightline/cases").glob("*/case.yaml"))
BLOCKS = """\
# A yard, written in blocks.
title: "Yard: behind"   # with a colon

sources:
  gate:                 # the front
    use: video
    url: ${GATE_URL}    # from the environment
    size: [640, 480]
  door: {use: video, url: "rtsp://127.0.0.1/door"}
stages:
  analytics:
    people: tracker     # in short
    lawn:
      use: zone-counter
      of: people
      zones:
        lawn:           # corner by corner
          - [1, 2]      # by the tree
          - [30, 4]
          - [30, 40]
      dwell_s: 2.50

sinks:
- use: bus              # dashes at the margin
- jsonl
"""
Path_ = tuple[str | int, ...]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Hundreds of manifests are read: ten times faster in C, where PyYAML was built with it."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The editor's changes as a program of node."""
    made = tmp_path_factory.mktemp("edit") / "edit.mjs"
    bundle = [node(), "node_modules/rolldown/bin/cli.mjs", "scripts/edit.ts", "--platform", "node", "-o", str(made)]
    answer = subprocess.run(bundle, cwd=UI, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return [node(), str(made)]


def edited(program: list[str], edits: list[dict[str, Any]]) -> list[str]:
    lines = "".join(json.dumps(edit) + "\n" for edit in edits)
    answer = subprocess.run(program, input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in answer.stdout.splitlines()]


def loaded(text: str) -> Any:
    return yaml.load(text, Loader=LOADER)  # noqa: S506 - both are safe


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the paths of all that is no mapping, and of mappings themselves."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif path == ("sinks",):
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))


def above(data: Any, path: Path_) -> Any:
    for key in path[:-1]:
        data = data[key]
    return data


def comments(text: str) -> list[str]:
    return re.findall(r"(?:^|\s)(#.*)$", text, re.MULTILINE)


VALUES = (0.45, "yes", "rtsp://u:p@h/x#y", "${A}/b", [[1, 2], [3, 4]], {"of": "x"}, None, True)
TEXTS = [BLOCKS, *(path.read_text("utf-8") for path in CASES)]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_that_is_set_is_the_only_thing_that_changes(program: list[str], value: Any) -> None:
    edits, wanted = [], []
    for text in TEXTS:
        data = loaded(text)
        for path in leaves(data):
            expected = copy.deepcopy(data)
            above(expected, path)[path[-1]] = value
            edits.append({"text": text, "act": "set", "path": path, "value": value})
            wanted.append((expected, len(comments(text)), isinstance(above_value(data, path), dict | list)))
    assert len(edits) > 60
    for edit, made, (expected, number, was_whole) in zip(edits, edited(program, edits), wanted, strict=True):
        assert loaded(made) == expected, (edit["path"], made)
        if not was_whole:  # comments inside of what is replaced go with it
            assert len(comments(made)) == number, (edit["path"], made)


def above_value(data: Any, path: Path_) -> Any:
    return above(data, path)[path[-1]]


def test_a_new_field_stands_where_its_plugin_does(program: list[str]) -> None:
    edits: list[dict[str, Any]] = []
    wanted = []
    for text in TEXTS:
        data = loaded(text)
        for path in leaves(data):
            if not isinstance(above_value(data, path), dict):
                continue
            expected = copy.deepcopy(data)
            above_value(expected, path)["hold_s"] = 1.5
            edits.append({"text": text, "act": "set", "path": [*path, "hold_s"], "value": 1.5})
            wanted.append((expected, comments(text)))
    for edit, made, (expected, told) in zip(edits, edited(program, edits), wanted, strict=True):
        assert loaded(made) == expected, (edit["path"], made)
        assert comments(made) == told
        old, new = edit["text"].splitlines(), made.splitlines()
        assert len([line for line in old if line not in new]) <= 1  # at most its own line is another one


def test_what_is_removed_goes_with_what_is_empty_then(program: list[str]) -> None:
    edits: list[dict[str, Any]] = [
        {"text": text, "act": "remove", "path": path} for text in TEXTS for path in leaves(loaded(text))
    ]
    for edit, made in zip(edits, edited(program, edits), strict=True):
        expected, path = loaded(edit["text"]), edit["path"]
        while len(path) > 1 and len(above(expected, path)) == 1:
            path = path[:-1]
        del above(expected, path)[path[-1]]
        assert (loaded(made) or {}) == expected, (edit["path"], made)


def test_short_forms_grow_names_change_and_lists_are_added_to(program: list[str]) -> None:
    short, other, added, first, renamed = edited(
        program,
        [
            {"text": BLOCKS, "act": "set", "path": ["stages", "analytics", "people", "of"], "value": "found"},
            {"text": BLOCKS, "act": "set", "path": ["stages", "analytics", "lawn", "zones", "bed"], "value": [[1, 2]]},
            {"text": BLOCKS, "act": "set", "path": ["sinks", 2], "value": {"use": "mqtt"}},
            {"text": "", "act": "set", "path": ["stages", "analytics", "light"], "value": {"use": "brightness"}},
            {"text": BLOCKS, "act": "rename", "path": ["sources", "gate"], "value": "front"},
        ],
    )
    assert short == BLOCKS.replace("people: tracker ", "people: {use: tracker, of: found} ")
    assert other == BLOCKS.replace("- [30, 40]\n", "- [30, 40]\n        bed: [[1, 2]]\n")
    assert added == BLOCKS + "- {use: mqtt}\n"
    assert loaded(first) == {"stages": {"analytics": {"light": {"use": "brightness"}}}}
    assert renamed == BLOCKS.replace("  gate:", "  front:")


def test_what_is_no_yaml_stays_as_it_is(program: list[str]) -> None:
    text = "source: [1,\nstages: }\n"
    (made,) = edited(program, [{"text": text, "act": "set", "path": ["stages", "a"], "value": 1}])
    assert made == text or "a" in made
