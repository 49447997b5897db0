"""English and Russian say the same things, and every text that the interface asks for is there."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from tests.web.conftest import UI

PLURALS = {"en": {"one", "other"}, "ru": {"one", "few", "other"}}
SUFFIX = re.compile(r"\.(one|few|many|other)$")
CALL = re.compile(r"""\b(?P<how>[tn])\(\s*(?:"(?P<key>[^"]+)"|`(?P<prefix>[^`$]+)\$\{)""")
WORD = re.compile(r"""["'`](?P<word>[a-z][\w]*(?:\.[\w]+)+)["'`$]""")


@cache
def texts(lang: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((UI / f"src/i18n/{lang}.json").read_text("utf-8"))
    return found


def counted(lang: str) -> set[str]:
    """Return the keys that have a form for each number."""
    keys = texts(lang)
    families = {key.removesuffix(".other") for key in keys if key.endswith(".other")}
    return {family for family in families if f"{family}.one" in keys}


def plain(key: str) -> str:
    """Return the key by which the interface asks for a text."""
    family = SUFFIX.sub("", key)
    return family if family in counted("en") else key


def sources() -> list[Path]:
    found = [path for kind in ("*.svelte", "*.ts") for path in (UI / "src").rglob(kind)]
    return [path for path in found if path.name != "api.gen.ts"]


def test_both_languages_have_the_same_keys() -> None:
    assert {plain(key) for key in texts("en")} == {plain(key) for key in texts("ru")}


@pytest.mark.parametrize("lang", PLURALS)
def test_what_is_counted_has_the_forms_of_its_language(lang: str) -> None:
    keys = texts(lang)
    assert counted("en") == counted("ru")
    missing = [f"{key}.{form}" for key in counted(lang) for form in PLURALS[lang] if f"{key}.{form}" not in keys]
    assert missing == []


def test_a_text_has_the_same_values_in_both_languages() -> None:
    def values(lang: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for key, text in texts(lang).items():
            found.setdefault(plain(key), set()).update(re.findall(r"\{(\w+)\}", text))
        return found

    en, ru = values("en"), values("ru")
    assert {key: (en[key], ru[key]) for key in en if en[key] != ru[key]} == {}


def test_no_text_is_empty_or_says_what_the_reference_forbids() -> None:
    forbidden = re.compile(r"!|\bplease\b|\boops\b|\bsuccessfully\b|пожалуйста|\.\.\.", re.IGNORECASE)
    for lang in PLURALS:
        wrong = {key: text for key, text in texts(lang).items() if not text.strip() or forbidden.search(text)}
        assert wrong == {}, lang


def test_every_text_that_is_asked_for_is_there() -> None:
    keys = texts("en")
    missing: list[str] = []
    for path in sources():
        for call in CALL.finditer(path.read_text("utf-8")):
            key, prefix, is_counted = call["key"], call["prefix"], call["how"] == "n"
            if key is not None and (f"{key}.other" if is_counted else key) not in keys:
                missing.append(f"{path.relative_to(UI)}: {key}")
            if prefix is not None and not any(each.startswith(prefix) for each in keys):
                missing.append(f"{path.relative_to(UI)}: {prefix}…")
    assert missing == []


def test_every_text_is_asked_for_somewhere() -> None:
    """A key is used where it stands in quotes, or where its beginning is followed by a value."""
    code = "\n".join(path.read_text("utf-8") for path in sources())
    words = {found["word"] for found in WORD.finditer(code)}
    prefixes = tuple(set(re.findall(r"`([a-z][\w.]*\.)\$\{", code)))
    unused = [key for key in texts("en") if plain(key) not in words | {key} & words and not key.startswith(prefixes)]
    assert unused == []
