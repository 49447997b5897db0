from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.build.conftest import Load, WriteCase

from sightline.build import CaseBuildContext, load_case
from sightline.build.folders import list_cases
from sightline.build.manifest import KEYS
from sightline.build.plugins import all_of
from sightline.core.case import Case
from sightline.core.errors import BrokenPlugin, ConfigError, SightlineError, UnknownPlugin

PLUGINS = """
from collections.abc import Sequence
from dataclasses import dataclass
from sightline import Predictor, Sample, Scalar, Sink


@dataclass(kw_only=True)
class MeanPixel(Predictor):
    limit: float = 3.0

    def predict(self, samples: Sequence[Sample]) -> Sequence[Scalar]:
        return [Scalar(name="m", value=self.limit) for _ in samples]


@dataclass(kw_only=True)
class RTSPTell(Sink):
    def write(self, samples: Sequence[Sample]) -> None: ...


class Unfinished(Predictor):
    pass
"""


def problems(context: CaseBuildContext, name: str, **more: Any) -> list[tuple[str, str, str]]:
    """Return line, message and cure of each problem of a case."""
    with pytest.raises(SightlineError) as caught:
        load_case(str(context.loaded.folder / "cases" / name), context=context, **more)
    return [
        (error.location.removeprefix(str(context.loaded.folder / "cases" / name) + "/"), error.message, error.cure)
        for error in all_of(caught.value)
    ]


def load(context: CaseBuildContext, name: str, **more: Any) -> Case:
    return load_case(str(context.loaded.folder / "cases" / name), context=context, **more)


def test_every_part_of_a_manifest_reaches_the_case(context: CaseBuildContext, write_case: WriteCase) -> None:
    write_case(
        "full",
        """
name: full
title: Everything at once.
sources:
  left: {use: synthetic, fps: 3}
  right: {use: synthetic, size: [32, 24]}
input: right
collector: {use: count, size: 2}
stages:
  later: {light: brightness}
  analytics:
    again: {use: brightness}
  validation:
    usable: frame-check
sinks: [jsonl, {use: database, rejected: true}]
on_error: stop
metadata: {site: lab, floor: 2, since: 2026-01-02}
""",
    )

    case = load(context, "full")

    assert (case.name, case.title, case.input, case.on_error) == ("full", "Everything at once.", "right", "stop")
    assert [type(source).__name__ for source in case.sources.values()] == ["SyntheticSource"] * 2
    assert type(case.collector).__name__ == "Count"
    assert {stage: list(predictors) for stage, predictors in case.stages.items()} == {
        "validation": ["usable"],
        "analytics": ["again"],
        "later": ["light"],
    }
    assert list(case.stages) == ["validation", "analytics", "later"]
    assert [type(sink).__name__ for sink in case.sinks] == ["JsonlSink", "DatabaseSink"]
    assert case.sinks[1].rejected
    assert case.metadata == {"site": "lab", "floor": 2, "since": "2026-01-02"}


def test_every_problem_is_told_in_one_pass_with_line_and_nearest_name(
    context: CaseBuildContext, write_case: WriteCase
) -> None:
    write_case(
        "wrong",
        """name: other
tilte: x
source: {use: synthetic, fsp: 3, size: [a, 2]}
sources: {a/b: synthetic}
input: [x]
collector: {use: tumblin}
stages:
  analytics:
    a: {use: detecter}
    b: {use: detector, threshold: 3}
    c: {use: tracker, off: a}
    d: {use: tracker, of: bb}
    e: {use: tracker, of: a}
  validation: [1]
sinks:
  - {path: x}
  - {use: jsonl, path: [1]}
  - brightness
on_error: maybe
metadata: 7
trainer: {use: none}
title: [1]
""",
    )

    found = problems(context, "wrong")

    by_line = {int(where.rpartition(":")[2]): f"{message} {cure}" for where, message, cure in found}
    assert [where for where, _, _ in found] == sorted((where for where, _, _ in found), key=lambda w: int(w[10:]))
    for line, words in {
        1: "named 'other', its folder 'wrong'",
        2: "no key 'tilte'. Did you mean 'title'",
        4: "'a/b' cannot be the id of a source",
        5: "input names no source",
        6: "'tumblin'.* Did you mean 'tumbling'",
        9: "'detecter'.* Did you mean 'detector'",
        10: "threshold is 3.0",
        11: "no field 'off'. Did you mean 'of'",
        12: "No earlier predictor is called 'bb'. Did you mean 'b'",
        14: "must be a mapping",
        16: "needs a name",
        17: "path: Input should be a valid string",
        18: "No sinks plug-in is called 'brightness'",
        19: "on_error is 'maybe'. Write continue or stop",
        20: "metadata must be a mapping",
        21: "'none'",
        22: "title must be text",
    }.items():
        assert re.search(words, by_line.get(line, "")), f"line {line}: {words}"
    on_three = [message for where, message, _ in found if where == "case.yaml:3"]
    assert len(on_three) == 3  # both source and sources, fsp, size
    assert 13 not in by_line  # 'a' has a problem of its own, a reference to it is none


@pytest.mark.parametrize("key", [key for key in KEYS if key != "name"])
@pytest.mark.parametrize("value", ["7", "[[1]]", "{a: {b: {c: {d: 1}}}}", "''", "~", "!!float .nan"])
def test_no_value_of_any_key_is_more_than_a_config_error(
    context: CaseBuildContext, write_case: WriteCase, key: str, value: str
) -> None:
    base = {"source": "synthetic", "stages": "{analytics: {m: brightness}}"}
    text = "".join(f"{name}: {shown}\n" for name, shown in ({**base, key: value}).items())
    write_case("any", text)
    try:
        load(context, "any")
    except ConfigError as error:
        places = [problem.location for problem in all_of(error)]
    else:
        places = []
    assert all("case.yaml" in place for place in places)


def test_a_case_of_nothing_is_an_error(context: CaseBuildContext, write_case: WriteCase) -> None:
    write_case("empty", "title: x\n")

    [(_, message, cure)] = problems(context, "empty")

    assert "neither sources nor stages" in message
    assert cure


def test_a_case_without_a_source_reads_the_camera_of_the_settings(load: Load, write_case: WriteCase) -> None:
    write_case("door", "stages: {analytics: {m: brightness}}\n")
    camera = {"SIGHTLINE_CAMERA__URL": "rtsp://u:p@camera/1", "SIGHTLINE_CAMERA__FPS": "4"}
    size = {"SIGHTLINE_CAMERA__WIDTH": "640", "SIGHTLINE_CAMERA__HEIGHT": "360"}
    with CaseBuildContext(load(**camera, **size)) as context:
        case = load_case("door", context=context)

        source: Any = case.sources["main"]

        assert (source.url, source.fps, source.size) == ("rtsp://u:p@camera/1", 4.0, (640, 360))
        own: Any = load_case("street_people", context=context).sources["main"]
        assert own.url.endswith("street.mp4")


def test_a_blueprint_without_a_manifest_makes_a_case(context: CaseBuildContext, write_case: WriteCase) -> None:
    write_case(
        "door",
        blueprint="""
from sightline import Case
from .parts import SIZE

def make_blueprint(context):
    assert context.manifest == {}
    light = context.plugin("predictors", "brightness")
    return Case(
        name="whatever",
        sources={"a": context.plugin("sources", "synthetic", size=SIZE)},
        stages={"later": {"b": light}, "analytics": {"a": light}},
    )
""",
        parts="SIZE = (40, 30)\n",
    )

    case = load(context, "door")

    source: Any = case.sources["a"]
    assert (case.name, source.size) == ("door", (40, 30))
    assert list(case.stages) == ["analytics", "later"]
    assert context.manifest == {}


def test_a_blueprint_is_given_the_manifest_beside_it(context: CaseBuildContext, write_case: WriteCase) -> None:
    write_case(
        "door",
        "fps: 3\nmore: {a: 1}\n",
        blueprint="""
from sightline import Case

def make_blueprint(context):
    fps = context.manifest["fps"]
    return Case(name="x", title=str(context.manifest), sources={"a": context.plugin("sources", "synthetic", fps=fps)})
""",
    )

    source: Any = load(context, "door").sources["a"]
    assert source.fps == 3
    assert load(context, "door", changes={"more.a": 2}).title == "{'fps': 3, 'more': {'a': 2}}"


def test_the_blueprint_of_another_case_of_the_same_name_is_not_mistaken(
    context: CaseBuildContext, write_case: WriteCase
) -> None:
    text = "from sightline import Case\nfrom .parts import T\ndef make_blueprint(c):\n  return Case(name=T, title=T)\n"
    first = write_case("door", blueprint=text, parts="T = 'first'\n")
    second = write_case("door", root="other", blueprint=text, parts="T = 'second'\n")

    assert load_case(str(first), context=context).title == "first"
    assert load_case(str(second), context=context).title == "second"


def test_changes_of_a_manifest_that_is_not_there_are_refused(context: CaseBuildContext, write_case: WriteCase) -> None:
    write_case("door", blueprint="from sightline import Case\ndef make_blueprint(c): return Case(name='x')\n")

    with pytest.raises(ConfigError, match="has no manifest"):
        load(context, "door", changes={"title": "y"})


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("def make_blueprint(context):\n    raise ValueError('no camera\\nat all')\n", 2, "ValueError: no camera"),
        ("import nothing_of_this_name\n", 1, "ModuleNotFoundError"),
        ("def make_blueprint(context:\n", 1, "SyntaxError"),
        ("x = 1\nimport sys\nsys.exit(3)\n", 3, "SystemExit"),
        ("def make_blueprint(c):\n    return c.plugin('sources', 'synthetic', fsp=1)\n", 2, "no field 'fsp'"),
        ("def make_blueprint():\n    pass\n", None, "TypeError"),
        ("def make_case(context):\n    pass\n", None, "no function make_blueprint"),
        ("def make_blueprint(context):\n    return {'name': 'x'}\n", None, "gave a dict"),
    ],
)
def test_a_blueprint_that_fails_is_told_with_file_and_line(
    context: CaseBuildContext, write_case: WriteCase, text: str, line: int | None, words: str
) -> None:
    path = write_case("door", blueprint=text) / "blueprint.py"

    with pytest.raises(ConfigError, match=words) as caught:
        load(context, "door")

    assert "\n" not in str(caught.value)
    assert caught.value.location == (str(path) if line is None else f"{path}:{line}")


def test_blueprint_modules_are_cases(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "company_cases_of_this_test").mkdir()
    (tmp_path / "company_cases_of_this_test" / "yard.py").write_text(
        "from sightline import Case\n\ndef make_blueprint(context):\n    return Case(name='x', title='By module.')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = load(SIGHTLINE_BLUEPRINT_MODULES="company_cases_of_this_test.yard,company_cases_of_this_test.gone")
    with CaseBuildContext(loaded) as context:
        assert load_case("yard", context=context).title == "By module."
        assert load_case("yard", context=context).name == "yard"
        with pytest.raises(BrokenPlugin, match="No module named"):
            load_case("gone", context=context)
    assert [place.shown for place in list_cases(loaded)][-1] == "company_cases_of_this_test.gone"


@pytest.mark.parametrize("name", ["mean-pixel", "MeanPixel"])
def test_the_plugins_of_a_case_are_named_in_words_or_as_their_class(
    context: CaseBuildContext, write_case: WriteCase, name: str
) -> None:
    text = f"source: synthetic\nstages: {{analytics: {{m: {{use: {name}, limit: 4}}}}}}\nsinks: [rtsp-tell]\n"
    write_case("own", text, plugins=PLUGINS)

    case = load(context, "own")

    predictor: Any = case.stages["analytics"]["m"]
    assert (type(predictor).__name__, predictor.limit) == ("MeanPixel", 4.0)
    assert type(case.sinks[0]).__name__ == "RTSPTell"


def test_a_plugin_of_a_case_in_the_wrong_place_or_misspelt_is_told(
    context: CaseBuildContext, write_case: WriteCase
) -> None:
    text = """source: synthetic
stages:
  analytics:
    a: mean-pixl
    b: rtsp-tell
    c: unfinished
    d: {use: mean-pixel, limt: 1}
"""
    write_case("own", text, plugins=PLUGINS)

    found = problems(context, "own")

    assert [where for where, _, _ in found] == [f"case.yaml:{line}" for line in (4, 5, 6, 7)]
    assert "Did you mean 'mean-pixel'" in found[0][2]
    assert "is no Predictor" in found[1][1]
    assert "'unfinished'" in found[2][1]
    assert "no field 'limt'" in found[3][1]


def test_a_syntax_error_in_plugins_is_told_and_the_rest_is_still_checked(
    context: CaseBuildContext, write_case: WriteCase
) -> None:
    folder = write_case("own", "source: {use: synthetic, fsp: 1}\nsinks: [mine]\n", plugins="x = 1\ndef f(:\n")

    found = problems(context, "own")

    assert found[0][0] == "plugins.py:2"
    assert "SyntaxError" in found[0][1]
    assert [where for where, _, _ in found[1:]] == ["case.yaml:1", "case.yaml:2"]
    assert "plugins.py, which cannot be loaded" in found[2][2]
    assert folder.is_dir()


def test_changes_and_their_errors(context: CaseBuildContext, write_case: WriteCase) -> None:
    stages = "stages: {analytics: {m: brightness}}\n"
    text = "source: {use: synthetic, fps: 3}\nsinks: [jsonl, {use: jsonl, path: a}]\n" + stages
    write_case("own", text)

    changes = {
        "source.fps": 9,
        "sinks.1.path": "b",
        "sinks.0": {"use": "database"},
        "stages.validation.ok": "frame-check",
    }
    case = load(context, "own", changes=changes)

    source: Any = case.sources["main"]
    sink: Any = case.sinks[1]
    assert (source.fps, sink.path, type(case.sinks[0]).__name__) == (9, "b", "DatabaseSink")
    assert list(case.stages) == ["validation", "analytics"]
    [(where, message, _)] = problems(context, "own", changes={"source.fps": "fast"})
    assert where == "--set source.fps"
    assert "fps: Input should be a valid number" in message


def test_a_number_is_taken_where_text_is_wanted(context: CaseBuildContext, write_case: WriteCase) -> None:
    write_case("cam", "source: {use: video, url: 0}\n")

    source: Any = load(context, "cam").sources["main"]

    assert source.url == "0"


def test_a_password_is_in_no_message(context: CaseBuildContext, write_case: WriteCase) -> None:
    text = "source: {use: video, url: ['rtsp://u:hunter2@cam/1'], size: 'rtsp://u:hunter2@cam/1'}\n"
    write_case("cam", text)

    found = problems(context, "cam")

    assert len(found) == 2
    assert "hunter2" not in str(found)


def test_a_plugin_can_be_named_by_its_import_path(context: CaseBuildContext, write_case: WriteCase) -> None:
    write_case("own", "stages: {analytics: {m: 'sightline.packs.vision.predictors.brightness:Brightness'}}\n")

    assert type(load(context, "own").stages["analytics"]["m"]).__name__ == "Brightness"


def test_a_blueprint_error_of_ours_keeps_its_kind(context: CaseBuildContext, write_case: WriteCase) -> None:
    write_case("own", blueprint="def make_blueprint(context):\n    context.plugin('sources', 'vidoe')\n")

    with pytest.raises(UnknownPlugin) as caught:
        load(context, "own")

    assert caught.value.location.endswith("blueprint.py:2")
