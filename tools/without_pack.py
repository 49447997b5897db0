"""Run the tests on a copy of the checkout without one pack: python tools/without_pack.py medical [pytest arguments].

A pack is a plug-in that happens to ship with us: what is left must be green. With its folder go its tests, its entry
points, the shipped cases that use its plug-ins, the text of pages about those, and what imports any of that. Pages that
are generated are generated anew.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
GENERATORS = ("reference", "settings", "openapi")


def main() -> None:
    """Make the copy, take the pack away, and run pytest; its exit code is ours."""
    pack, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="sightline-without-") as folder:
        copy = Path(folder) / "checkout"
        copied(copy)
        names = without(copy, pack)
        print(f"without {pack}: {', '.join(names)}", flush=True)
        environment = dict(PYTHONPATH=f"{metadata(copy, Path(folder))}:{copy / 'src'}:{copy}", **kept())
        for name in GENERATORS:
            subprocess.run([sys.executable, f"tools/generate_{name}.py"], cwd=copy, env=environment, check=True)  # noqa: S603
        done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=copy, env=environment, check=False)  # noqa: S603
    raise SystemExit(done.returncode)


def kept() -> dict[str, str]:
    """Return the environment of this process, without another path to modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def copied(copy: Path) -> None:
    """Copy the files of the checkout as they are now, without what git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S603
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def without(copy: Path, pack: str) -> list[str]:
    """Take a pack out of a checkout; return the names of its plug-ins."""
    project = copy / "pyproject.toml"
    text = project.read_text("utf-8")
    line = re.compile(rf'^([\w-]+) = "sightline\.packs\.{pack}\..*"\n', re.MULTILINE)
    names = sorted(set(line.findall(text)))
    project.write_text(line.sub("", text), "utf-8")
    for path in (copy / "src/sightline/packs" / pack, copy / "tests/packs" / pack):
        shutil.rmtree(path)
    uses = re.compile(rf"\b(use: (['\"]?)({'|'.join(names)})\2\b|sightline\[{pack}\])")
    for case in (copy / "src/sightline/cases").iterdir():
        if uses.search((case / "case.yaml").read_text("utf-8")):
            shutil.rmtree(case)
            uses = re.compile(f"{uses.pattern}|\\b{case.name}\\b")
    uses = re.compile(f"{uses.pattern}|packs/{pack}/")
    for page in (page for folder in ("how-to", "reference") for page in (copy / "docs" / folder).glob("*.md")):
        if uses.search(page.read_text("utf-8")):
            page.write_text("# Gone with its pack\n", "utf-8")  # others link to it
    gone = [f"sightline.packs.{pack}", f"tests.packs.{pack}"]
    files = [path for top in ("tests", "benchmarks", "examples", "tools") for path in (copy / top).rglob("*.py")]
    while importing := [path for path in files if path.exists() and imports(path, gone)]:
        for path in importing:
            path.unlink()
            gone.append(".".join(path.relative_to(copy).with_suffix("").parts))
    return names


def imports(path: Path, gone: list[str]) -> bool:
    """Return whether a module imports what is gone."""
    named: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            named += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            named += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return any(name == each or name.startswith(f"{each}.") for name in named for each in gone)


def metadata(copy: Path, folder: Path) -> Path:
    """Write what an install of the copy would tell of itself; return the folder to be put before all others."""
    info = folder / "metadata" / "sightline-0.dist-info"
    info.mkdir(parents=True)
    own = distribution("sightline")
    (info / "METADATA").write_text(own.read_text("METADATA") or "", "utf-8")
    groups = tomllib.loads((copy / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    lines = [
        line for group, points in groups.items() for line in (f"[{group}]", *(f"{n} = {v}" for n, v in points.items()))
    ]
    scripts = ["[console_scripts]", "sightline = sightline.serve.cli:main"]
    (info / "entry_points.txt").write_text("\n".join([*scripts, *lines]) + "\n", "utf-8")
    return info.parent


if __name__ == "__main__":
    main()
