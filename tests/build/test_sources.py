"""A source as an entry: made from it, and shown by it without its secrets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.build.conftest import WriteCase

from sightline.build import CaseBuildContext, load_case
from sightline.build.running import held_run
from sightline.build.sources import entry_of, make_source, source_specs
from sightline.core.errors import ConfigError, InvalidInput, UnknownPlugin
from sightline.core.run import Run
from sightline.engine.holding import HeldRuns

CAMERA = {"use": "video", "url": "rtsp://admin:secret@10.0.0.9/stream1?token=abc", "fps": 5.0}


def test_an_entry_makes_a_source_and_the_source_shows_it_without_secrets(context: CaseBuildContext) -> None:
    source: Any = make_source(CAMERA, context)
    assert source.url == CAMERA["url"]
    shown = entry_of(source, context)
    assert shown == {"use": "video", "url": "rtsp://***@10.0.0.9/stream1?token=***", "fps": 5.0}
    assert json.loads(json.dumps(shown)) == shown


def test_fields_that_have_their_default_are_left_out_and_tuples_are_lists(context: CaseBuildContext) -> None:
    source = make_source({"use": "video", "url": "clip.mp4", "size": [320, 240]}, context)
    assert entry_of(source, context) == {"use": "video", "url": "clip.mp4", "size": [320, 240]}
    assert entry_of(make_source("synthetic", context), context) == {"use": "synthetic"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"url": "x"}, "name of its plug-in"),
        ({"use": 3}, "name of its plug-in"),
        ([], "name of its plug-in"),
        ({"use": "video", "url": "x", "fsp": 3}, "no field 'fsp'"),
        ({"use": "video", "url": "rtsp://***@10.0.0.9/1"}, "'url' of the source is hidden"),
        ({"use": "video", "url": "x", "size": ["***", 2]}, "'size' of the source is hidden"),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(context: CaseBuildContext, entry: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("*", r"\*")):
        make_source(entry, context, name="door")


def test_an_unknown_plug_in_names_the_nearest(context: CaseBuildContext) -> None:
    with pytest.raises(UnknownPlugin) as caught:
        make_source({"use": "vidoe", "url": "x"}, context, name="door")
    assert "video" in caught.value.cure
    assert caught.value.location == "sources.door"


OWN = """
from dataclasses import dataclass
from sightline import Source

@dataclass(kw_only=True)
class MySensor(Source):
    api_key: str = ""
    password: str = ""
    size: int = 1
    headers: dict[str, str] | None = None

    def read(self):
        self.context.stopping.wait()
        yield from ()
"""


def test_a_source_of_the_case_itself_is_found_by_its_name(context: CaseBuildContext, write_case: WriteCase) -> None:
    folder = write_case("own", "sources: {a: {use: my-sensor, api_key: abc, size: 2}}\nstages: {}\n")
    (folder / "plugins.py").write_text(OWN)
    case = load_case(str(folder), context=context)
    shown = entry_of(case.sources["a"], context)
    assert shown == {"use": "MySensor", "api_key": "***", "size": 2}
    again: Any = make_source({"use": "MySensor", "headers": {"Authorization": "x", "a": "b"}}, context, case="own")
    assert type(again).__name__ == "MySensor"
    assert entry_of(again, context)["headers"] == {"Authorization": "***", "a": "b"}
    with pytest.raises(UnknownPlugin):
        make_source({"use": "MySensor"}, context)


def test_entries_of_a_record_are_made_with_their_names_checked(context: CaseBuildContext) -> None:
    specs = source_specs(context, "yard", Run(case="yard"))
    [made] = specs.make({"door": CAMERA}).values()
    assert specs.entry(made)["use"] == "video"
    with pytest.raises(InvalidInput, match="id of a source"):
        specs.make({"a/b": CAMERA})


def until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


def test_another_process_adds_a_source_by_the_record_alone(context: CaseBuildContext) -> None:
    case = load_case("dummy_offline", context=context, changes={"source.realtime": False, "source.num_frames": 5})
    runs = HeldRuns(context)
    run = runs.start(lambda: held_run(case, context))
    until(lambda: runs.get(run.id).status["sources"]["main"]["state"] == "stopped")
    sources = {**run.spec["sources"], "more": {"use": "synthetic", "num_frames": 3, "realtime": False}}
    context.store.runs.amend(run.id, revision=1, spec={"sources": sources})
    until(lambda: runs.get(run.id).status["sources"].get("more", {}).get("read") == 3)
    assert runs.get(run.id).status["sources"]["main"]["read"] == 5
    assert runs.get(run.id).revision == 2
    runs.close()
