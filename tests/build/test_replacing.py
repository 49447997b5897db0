from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.build.conftest import WriteCase

from sightline.build import CaseBuildContext, load_case
from sightline.build.replacing import plugin_for, source_entry
from sightline.core.errors import ConfigError

BLUEPRINT = """
from sightline import Case

def make_blueprint(context):
    return Case(name="x", sources={%s})
"""


@pytest.mark.parametrize(
    ("url", "plugin"),
    [
        ("0", "video"),
        ("rtsp://u:p@camera/1.jpg", "video"),
        ("http://camera/shot.png", "video"),
        ("street.mp4", "video"),
        ("photo.JPG", "images"),
        ("file:///photos/a%20b.png", "images"),
        ("x" * 5000, "video"),
        ("~nobody_of_this_name/x", "video"),
        ("a\0b", "video"),
    ],
)
def test_an_address_tells_which_source_reads_it(url: str, plugin: str) -> None:
    assert plugin_for(url) == plugin


def test_a_folder_is_for_images(tmp_path: Path) -> None:
    assert plugin_for(str(tmp_path)) == plugin_for(f"file://{tmp_path}") == "images"
    assert source_entry(str(tmp_path), fps=3, size=None) == {"use": "images", "url": str(tmp_path)}


def loaded(context: CaseBuildContext, folder: Path, source: str) -> dict[str, tuple[str, Any]]:
    case = load_case(str(folder), context=context, source=source)
    return {id_: (type(each).__name__, each) for id_, each in case.sources.items()}


def test_the_url_of_a_video_is_replaced_and_its_other_fields_stay(
    context: CaseBuildContext, write_case: WriteCase
) -> None:
    folder = write_case("v", "source: {use: video, url: a.mp4, fps: 3, size: [64, 48]}\n")

    [(kind, source)] = loaded(context, folder, "rtsp://camera/x=1").values()

    assert (kind, source.url, source.fps, source.size) == ("VideoSource", "rtsp://camera/x=1", 3.0, (64, 48))


def test_a_folder_of_pictures_takes_the_place_of_a_video(
    context: CaseBuildContext, write_case: WriteCase, tmp_path: Path
) -> None:
    folder = write_case("v", "source: {use: video, url: a.mp4, fps: 3, size: [64, 48], loop: true}\n")

    [(kind, source)] = loaded(context, folder, str(tmp_path)).values()

    assert (kind, source.url, source.fps, source.size) == ("ImageSource", str(tmp_path), 0.0, (64, 48))


@pytest.mark.parametrize("entry", ["synthetic", "{use: synthetic, fps: 4, size: [8, 8]}"])
def test_a_source_that_takes_no_url_gives_way(context: CaseBuildContext, write_case: WriteCase, entry: str) -> None:
    folder = write_case("s", f"source: {entry}\n")

    [(kind, source)] = loaded(context, folder, "a.mp4").values()

    assert (kind, source.url, source.size) == ("VideoSource", "a.mp4", None)
    assert source.fps == (4.0 if "fps" in entry else None)


def test_a_source_of_another_kind_that_takes_a_url_keeps_its_kind(
    context: CaseBuildContext, write_case: WriteCase
) -> None:
    folder = write_case("r", "source: {use: readings, url: a.csv}\n")

    [(kind, source)] = loaded(context, folder, "b.csv").values()

    assert (kind, source.url) == ("ReadingSource", "b.csv")


def test_a_case_without_a_source_gets_one(context: CaseBuildContext, write_case: WriteCase) -> None:
    folder = write_case("n", "stages: {analytics: {m: brightness}}\n")

    found = loaded(context, folder, "a.mp4")

    assert list(found) == ["main"]


def test_one_of_several_sources_is_named(context: CaseBuildContext, write_case: WriteCase) -> None:
    folder = write_case("two", "sources: {a: {use: video, url: a.mp4}, b: {use: video, url: b.mp4}}\n")

    found = loaded(context, folder, "b=c.mp4")

    assert [source.url for _, source in found.values()] == ["a.mp4", "c.mp4"]
    with pytest.raises(ConfigError, match="several sources: a, b") as caught:
        loaded(context, folder, "c.mp4")
    assert caught.value.cure == "Name one: --source a=URL"


def test_an_address_with_an_equals_sign_is_no_name(context: CaseBuildContext, write_case: WriteCase) -> None:
    folder = write_case("one", "sources: {a: {use: video, url: a.mp4}}\n")

    [(_, source)] = loaded(context, folder, "http://camera/?a=1").values()

    assert source.url == "http://camera/?a=1"


def test_a_wrong_address_is_told_as_that_of_the_command_line(context: CaseBuildContext, write_case: WriteCase) -> None:
    folder = write_case("v", "source: {use: video, url: a.mp4, realtime: true}\n")

    with pytest.raises(ConfigError) as empty:
        loaded(context, folder, "")

    assert empty.value.location == "--source"


def test_the_sources_of_a_blueprint_are_replaced_too(
    context: CaseBuildContext, write_case: WriteCase, tmp_path: Path
) -> None:
    video = "context.plugin('sources', 'video', url='a.mp4', fps=2)"
    one = write_case("one", blueprint=BLUEPRINT % f"'a': {video}")
    two = write_case("two", blueprint=BLUEPRINT % f"'a': {video}, 'b': context.plugin('sources', 'synthetic')")

    [(_, source)] = loaded(context, one, "b.mp4").values()
    assert (source.url, source.fps) == ("b.mp4", 2.0)
    assert loaded(context, one, str(tmp_path))["a"][0] == "ImageSource"
    assert loaded(context, two, "b=c.mp4")["b"][1].url == "c.mp4"
    with pytest.raises(ConfigError, match="several sources"):
        loaded(context, two, "c.mp4")
    none = write_case("none", blueprint=BLUEPRINT % "")
    assert loaded(context, none, "c.mp4")["main"][1].url == "c.mp4"


@pytest.mark.parametrize(
    ("source", "played"),
    [
        ("{use: video, url: a.mp4}", (True, True)),
        ("{use: video, url: a.mp4, loop: false}", (True, False)),
        ("{use: video, url: a.mp4, realtime: false}", (False, True)),
        ("{use: video, url: 'rtsp://camera/1'}", (False, False)),
        ("{use: video, url: 0}", (False, False)),
    ],
)
def test_a_run_that_is_live_plays_a_file_like_a_camera_unless_the_manifest_says_otherwise(
    context: CaseBuildContext, write_case: WriteCase, source: str, played: tuple[bool, bool]
) -> None:
    folder = write_case("v", f"source: {source}\n")

    live: Any = load_case(str(folder), context=context, live=True).sources["main"]
    plain: Any = load_case(str(folder), context=context).sources["main"]
    given: Any = load_case(str(folder), context=context, source="b.mp4", live=True).sources["main"]

    assert (live.realtime, live.loop) == played
    assert (plain.realtime, plain.loop) == (False, False)
    assert given.realtime or "realtime: false" in source
