from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

import pytest

from sightline.build.catalog import Catalog
from sightline.core.errors import BrokenPlugin, ConfigError, MissingExtra, UnknownPlugin


class FakeDistribution(Distribution):
    """An installed package of which only the name matters."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def metadata(self) -> Mapping[str, str]:  # type: ignore[override]
        return {"Name": self._name}

    def read_text(self, filename: str) -> str | None:
        return None

    def locate_file(self, path: object) -> Path:
        return Path(str(path))


def point(name: str, value: str, *, package: str = "some-pack", kind: str = "predictors") -> EntryPoint:
    found = EntryPoint(name=name, value=value, group=f"sightline.{kind}")
    vars(found)["dist"] = FakeDistribution(package)
    return found


def catalog(*points: EntryPoint) -> Catalog:
    return Catalog(lambda group: [each for each in points if each.group == group])


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which modules can be imported, and which leaves nothing behind."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_plugins_are_seen_without_being_imported() -> None:
    seen = catalog(
        point("good", "no_such_package.module:Class"),
        point("rare", "no_such_package.other:Rare [medical]", package="sightline"),
    )

    listed = seen.listed("predictors")

    assert [(plugin.name, plugin.target, plugin.package, plugin.extra) for plugin in listed] == [
        ("good", "no_such_package.module:Class", "some-pack", ""),
        ("rare", "no_such_package.other:Rare", "sightline", "medical"),
    ]
    assert "no_such_package" not in sys.modules
    assert [plugin.kind for plugin in seen.listed()] == ["predictors", "predictors"]


def test_an_entry_point_that_is_seen_twice_is_one() -> None:
    twice = catalog(
        point("light", "sightline.packs.vision.predictors.brightness:Brightness"),
        point("light", "sightline.packs.vision.predictors.brightness:Brightness", package="other"),
    )

    assert twice.load("predictors", "light").__name__ == "Brightness"


def test_two_plugins_of_one_name_are_an_error_that_names_both_packages() -> None:
    two = catalog(point("light", "a:A", package="first-pack"), point("light", "b:B", package="second-pack"))

    with pytest.raises(ConfigError, match="'light': in first-pack and second-pack") as caught:
        two.load("predictors", "light", location="case.yaml:3")

    assert caught.value.cure.endswith("use: a:A")
    assert caught.value.location == "case.yaml:3"


def test_a_missing_optional_dependency_is_told_with_the_command_that_installs_it(modules: Path) -> None:
    (modules / "rare_pack.py").write_text("import a_library_that_nobody_has\n")
    rare = catalog(point("rare", "rare_pack:Rare [medical]", package="sightline"))

    with pytest.raises(MissingExtra, match="'rare' needs a_library_that_nobody_has") as caught:
        rare.load("predictors", "rare")

    assert caught.value.cure == "pip install 'sightline[medical]'"


def test_a_module_that_is_missing_from_the_plugin_itself_is_no_missing_extra(modules: Path) -> None:
    rare = catalog(point("rare", "rare_pack.gone:Rare [medical]"))
    (modules / "rare_pack").mkdir()
    (modules / "rare_pack" / "__init__.py").write_text("")

    with pytest.raises(BrokenPlugin, match=r"No module named 'rare_pack\.gone'"):
        rare.load("predictors", "rare")


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("x = 1\nraise RuntimeError('no luck\\nwith details')\n", 2, "RuntimeError: no luck"),
        ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError"),
        ("a = 1\ndef f(:\n", 2, "SyntaxError"),
        ("import sys\nsys.exit('bye')\n", 2, "SystemExit: bye"),
        ("from sightline import Nothing\n", 1, "ImportError"),
    ],
)
def test_a_broken_import_is_told_with_file_and_line(modules: Path, text: str, line: int, cause: str) -> None:
    (modules / "broken_pack.py").write_text(text)

    with pytest.raises(BrokenPlugin, match=cause) as caught:
        catalog(point("bad", "broken_pack:Bad")).load("predictors", "bad")

    assert caught.value.location == f"{modules / 'broken_pack.py'}:{line}"
    assert "\n" not in str(caught.value)
    assert caught.value.cure


def test_a_class_is_found_by_its_import_path() -> None:
    found = catalog().load("predictors", "sightline.packs.vision.predictors.brightness:Brightness")

    assert found.__name__ == "Brightness"


@pytest.mark.parametrize("path", [":Class", "module:", "a b:C", "x:y:z"])
def test_what_is_no_import_path_is_an_error(path: str) -> None:
    with pytest.raises(ConfigError, match="is no import path"):
        catalog().load("predictors", path)


def test_a_class_of_another_kind_is_refused_with_its_place() -> None:
    with pytest.raises(BrokenPlugin, match="is no Sink") as caught:
        catalog().load("sinks", "sightline.packs.vision.predictors.brightness:Brightness", location="case.yaml:9")

    assert caught.value.location == "case.yaml:9"


def test_an_unknown_name_is_told_with_what_is_known_and_the_nearest() -> None:
    known = catalog(point("detector", "a:A"), point("tracker", "b:B"))

    with pytest.raises(UnknownPlugin, match=r"'dettector'\. Known: detector, tracker\.") as caught:
        known.load("predictors", "dettector")

    assert caught.value.cure == "Did you mean 'detector'?"


def test_every_installed_plugin_of_ours_can_be_loaded() -> None:
    installed = Catalog()

    ours = [plugin for plugin in installed.listed() if plugin.package == "sightline"]

    assert {plugin.kind for plugin in ours} >= {"sources", "collectors", "predictors", "sinks"}
    for plugin in ours:
        assert installed.load(plugin.kind, plugin.name)
