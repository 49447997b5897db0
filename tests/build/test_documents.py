from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.build.documents import Document, parse_document, read_document, replaced
from sightline.core.errors import ConfigError, FileMissing
from sightline.settings import expand

ENVIRON = {"FPS": "5", "YES": "true", "WORD": "door", "PIN": "0012", "EMPTY": "", "URL": "rtsp://u:p@host/x?a=1"}


def put_in(text: str, location: str) -> str:
    return expand(text, {"CASE_DIR": "/cases/door"}, ENVIRON, location=location)


def parsed(text: str) -> Document:
    return parse_document(text, name="case.yaml", expand=put_in)


def data(text: str) -> dict[str, Any]:
    return parsed(text).data


def test_each_value_knows_its_line() -> None:
    document = parsed(
        "title: x\nstages:\n  analytics:\n    a: {use: b,\n        c: 1}\nsinks:\n  - use: jsonl\n  - bus\n"
    )

    assert document.location("title") == "case.yaml:1"
    assert document.location("stages", "analytics", "a", "c") == "case.yaml:5"
    assert document.location("sinks", 1) == "case.yaml:8"
    assert document.location("sinks", 0, "path") == "case.yaml:7"
    assert document.location("nothing") == "case.yaml"


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [("a: 1\nb: 2\na: 3\n", "a", 3), ("x: {use: b, use: c}\n", "use", 1), ("s:\n  - k: 1\n    k: 2\n", "k", 3)],
)
def test_a_key_that_stands_twice_is_an_error_with_its_line(text: str, key: str, line: int) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' stands here a second time") as caught:
        parsed(text)

    assert caught.value.location == f"case.yaml:{line}"


def test_anchors_and_merge_keys_work_and_own_keys_win() -> None:
    text = """
base: &base {use: video, fps: 5, size: [1, 2]}
sources:
  a: {<<: *base, url: a}
  b:
    <<: *base
    url: b
    fps: 9
again: *base
both: {<<: [*base, {extra: 1}], fps: 3}
"""

    found = data(text)

    assert found["sources"]["a"] == {"use": "video", "fps": 5, "size": [1, 2], "url": "a"}
    assert found["sources"]["b"]["fps"] == 9
    assert found["again"] == found["base"] == {"use": "video", "fps": 5, "size": [1, 2]}
    assert found["both"] == {"use": "video", "fps": 3, "size": [1, 2], "extra": 1}


def test_an_anchor_whose_own_merge_was_done_early_is_no_double_key() -> None:
    found = data("zero: &z {a: 1, b: 2}\none: &o {<<: *z, b: 3}\n<<: *o\n")

    assert found["one"] == {"a": 1, "b": 3}
    assert (found["a"], found["b"]) == (1, 3)


def test_variables_are_put_in_and_bare_ones_become_numbers() -> None:
    found = data('a: ${FPS}\nb: "${FPS}"\nc: ${YES}\nd: ${WORD}-1\ne: ${CASE_DIR}/x.csv\nf: ${FPS}.5\ng: x${FPS}\n')

    assert found == {"a": 5, "b": "5", "c": True, "d": "door-1", "e": "/cases/door/x.csv", "f": 5.5, "g": "x5"}


def test_a_default_takes_the_place_of_what_is_not_set() -> None:
    found = data("a: ${NOTHING:-7}\nb: ${EMPTY:-x}\nc: ${NOTHING:-}\nd: $${WORD}\n")

    assert found == {"a": 7, "b": "x", "c": "", "d": "${WORD}"}


def test_what_only_looks_like_a_number_stays_as_it_is() -> None:
    assert data("a: ${URL}\nb: 2026-01-02\nc: 2026-99-99\nno: 1\non: {yes: 2}\n") == {
        "a": "rtsp://u:p@host/x?a=1",
        "b": "2026-01-02",
        "c": "2026-99-99",
        "no": 1,
        "on": {"yes": 2},
    }


def test_a_variable_that_is_not_set_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match="NOTHING is not set") as caught:
        parsed("a: 1\nb:\n  - ${NOTHING}\n")

    assert caught.value.location == "case.yaml:3"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1, 2\nb: 3\n", 2),
        ("a: 1\n  b: 2\n", 2),
        ("a: 'x\n", 2),
        ("\tb: 1\n", 1),
        ("a: 1\nb: !!python/object:os.system x\n", 2),
        ("a: 1\nb: !own {c: 1}\n", 2),
        ("a: *nothing\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\nb: \x01\n", 2),
        ("- a\n- b\n", 1),
        ("word\n", 1),
        ("a: 1\n[b, c]: 2\n", 2),
        ("a: 1\n? {b: 1}\n: 2\n", 2),
        ("a: !!bool maybe\n", 1),
        ("a: !!int ''\n", 1),
        ("a: !!binary aGFsbG8=\n", 1),
        ("a: !!set {b, c}\n", 1),
        (f"a: {'9' * 5000}\n", 1),
        (f"a: {1 << 70}\n", 1),
    ],
)
def test_what_is_no_manifest_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)

    assert caught.value.location == f"case.yaml:{line}"
    assert caught.value.cure


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null"])
def test_an_empty_manifest_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError):
        parsed(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 20_000,
        "a: " + "{a: " * 3_000,
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "a: &a {<<: *a, b: 1}\nc: *a\n",
        "a0: &a0 [1,1,1,1,1,1,1,1]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 9)),
    ],
    ids=["lists", "mappings", "list of itself", "mapping of itself", "merge of itself", "anchors of anchors"],
)
def test_no_manifest_is_so_deep_that_it_harms(text: str) -> None:
    with suppress(ConfigError):
        assert parsed(text).data


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00a", b"\x89PNG\r\n\x1a\n\0\0\0", b"\0" * 100, b"a: 1\n" * 300_000],
    ids=["no UTF-8", "a picture", "zeros", "huge"],
)
def test_a_file_that_is_no_text_is_told_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "case.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read_document(path, expand=put_in)

    assert caught.value.location.startswith(str(path))
    assert caught.value.cure


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_bytes(b"\xef\xbb\xbftitle: x\n")

    assert read_document(tmp_path / "case.yaml", expand=put_in).data == {"title": "x"}


def test_nothing_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        read_document(tmp_path / "case.yaml", expand=put_in)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_document(tmp_path, expand=put_in)


@given(st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@`<? \n\t,0${}~\x07\u00e9\ufeff")) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigError):
        assert isinstance(parsed(text).data, dict)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with suppress(ConfigError):
        assert isinstance(read_document(path, expand=put_in).data, dict)


def test_values_are_replaced_by_their_paths_and_say_where_they_come_from() -> None:
    document = parsed("source: {use: video}\nsinks:\n  - {use: jsonl, path: a}\n  - bus\nstages:\n")

    found = replaced(document, {"source.fps": 3, "sinks.0.path": "b", "sinks.1": "jsonl", "stages.analytics.a": "x"})

    assert found.data == {
        "source": {"use": "video", "fps": 3},
        "sinks": [{"use": "jsonl", "path": "b"}, "jsonl"],
        "stages": {"analytics": {"a": "x"}},
    }
    assert document.data["sinks"][0]["path"] == "a"
    assert found.location("sinks", 0, "path") == "--set sinks.0.path"
    assert found.location("source", "fps", "inner") == "--set source.fps"
    assert found.location("source", "use") == "case.yaml:1"


@pytest.mark.parametrize(
    "path", ["sinks.2", "sinks.x.path", "sinks.\u00b2", "title.a", "title.a.b", "a..b", ".a", "", "none.0.0"]
)
def test_a_path_that_leads_nowhere_is_an_error(path: str) -> None:
    document = parsed("title: x\nsinks: [jsonl, bus]\nnone: []\n")

    with pytest.raises(ConfigError, match="--set") as caught:
        replaced(document, {path: 1})

    assert caught.value.cure
