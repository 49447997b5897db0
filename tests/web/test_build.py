"""What is committed of the interface is what its source builds, and the first page stays small."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.web.conftest import BUILT, UI

LIMIT = 80_000
"""Bytes, gzipped, of all that a browser loads before Live can be seen."""


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def node() -> str:
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node on this machine")
    if not (UI / "node_modules/vite").is_dir():
        pytest.skip("ui/node_modules is not there: cd ui && npm ci")
    return program


def vite(*arguments: str) -> None:
    command = [node(), str(UI / "node_modules/vite/bin/vite.js"), "build", *arguments]
    answer = subprocess.run(command, cwd=UI, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_the_committed_files_are_what_the_source_builds(tmp_path: Path) -> None:
    vite("--outDir", str(tmp_path / "app"), "--logLevel", "error")
    made, committed = files(tmp_path / "app"), files(BUILT)
    assert sorted(made) == sorted(committed), "run: cd ui && npm run build"
    assert [name for name in made if made[name] != committed[name]] == []


def test_the_types_of_the_api_are_those_of_its_document(tmp_path: Path) -> None:
    program = UI / "node_modules/openapi-typescript/bin/cli.js"
    document, made = "../docs/reference/openapi.json", tmp_path / "api.gen.ts"
    command = [node(), str(program), document, "-o", str(made)]
    answer = subprocess.run(command, cwd=UI, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert made.read_text("utf-8") == (UI / "src/lib/api.gen.ts").read_text("utf-8"), "run: cd ui && npm run api"


def first_page() -> set[str]:
    """Return the files that are loaded before Live can be seen."""
    manifest = json.loads((BUILT / "manifest.json").read_text("utf-8"))
    found = {"index.html", "theme.js", "favicon.svg"}
    todo = ["index.html", "src/pages/Live.svelte", "texts:ru/first"]  # the longer one of the languages
    while todo:
        entry = manifest[todo.pop()]
        if entry["file"] not in found:
            found |= {entry["file"], *entry.get("css", ())}
            todo += entry.get("imports", ())
    return found


def test_the_first_page_is_small() -> None:
    sizes = {name: len(gzip.compress((BUILT / name).read_bytes(), 9)) for name in first_page()}
    assert sum(sizes.values()) <= LIMIT, sizes


def test_what_draws_volumes_is_loaded_where_a_study_is_shown_alone() -> None:
    manifest = json.loads((BUILT / "manifest.json").read_text("utf-8"))
    (planes,) = [entry for name, entry in manifest.items() if name.endswith("study/planes.ts")]
    assert planes["isDynamicEntry"]
    loaders = [
        name for name, entry in manifest.items() if "src/pages/study/planes.ts" in entry.get("dynamicImports", ())
    ]
    assert loaders == ["src/pages/Study.svelte"]
    assert planes["file"] not in first_page()


def test_the_terms_of_every_package_that_was_built_in_are_told() -> None:
    terms = (BUILT / "licences.txt").read_text("utf-8").split("-" * 80 + "\n")
    names = {each.split("\n", 1)[0].rsplit(" ", 2)[0].strip() for each in terms}
    assert {"svelte", "yaml", "@niivue/niivue", "nifti-reader-js", "gl-matrix", "fflate"} <= names
    assert all("copyright" in each.lower() for each in terms)


def test_no_file_names_another_host() -> None:
    """Names of XML and the addresses that Svelte's messages point to are no requests."""
    allowed = ("http://www.w3.org/", "https://svelte.dev/e/")
    for name, body in files(BUILT).items():
        found = re.findall(r"""(?:https?|wss?):\\?/\\?/[a-z0-9][^\s"'`)<]+""", body.decode("utf-8", "replace"))
        assert [address for address in found if not address.startswith(allowed)] == [], name


def test_no_markup_holds_what_the_policy_forbids() -> None:
    """A `style` in markup is refused by the browser; a class, or `style:width={...}`, is not."""
    for path in (UI / "src").rglob("*.svelte"):
        markup = re.sub(r"<script.*?</script>", "", path.read_text("utf-8"), flags=re.DOTALL)
        assert not re.search(r"""\sstyle=|\son\w+=["'](?!\{)""", markup), path


def test_the_lock_carries_no_address() -> None:
    lock = (UI / "package-lock.json").read_text("utf-8")
    assert re.findall(r'"resolved"|https?://', lock) == [], "run: cd ui && npm run lock"


def test_no_page_dresses_what_another_page_calls_by_the_same_word() -> None:
    """The styles of a page stay when it is left: a class that two pages name alone looks as the last one wants it."""
    shared = {"tokens.css", "components.css", "app.css"}
    owners: dict[str, set[str]] = {}
    for sheet in (UI / "src/styles").glob("*.css"):
        rules = re.sub(r"/\*.*?\*/", "", sheet.read_text("utf-8"), flags=re.DOTALL)
        selectors = {each.strip() for group in re.findall(r"[^{}]+(?=\{)", rules) for each in group.split(",")}
        for name in {each[1:] for each in selectors if re.fullmatch(r"\.[\w-]+", each)}:
            owners.setdefault(name, set()).add("all pages" if sheet.name in shared else sheet.name)
    twice = {name: sorted(sheets) for name, sheets in owners.items() if len(sheets) > 1}
    assert twice == {}
