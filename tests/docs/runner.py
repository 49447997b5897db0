"""Runs the fenced blocks of a page in order, in one folder: what a page shows is what happens.

```bash                      is run; it must end well, except where the block says `exits=4`
```bash server               is started, and serves the blocks behind it until the next such block or the page's end
```python                    is run as a script
```yaml title="path"         is written to the file, as is python, toml or text with a title
```text output               is what the command before printed; `...` stands for anything
```text output loose         the same, and a number with a point stands for any such number

Other blocks (`sh`, `mermaid`, ...) are shown only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.docs.servers import Servers

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
RUN = [
    "README.md",
    "docs/CASE_EXAMPLE.md",
    *sorted(str(path.relative_to(ROOT)) for part in ("tutorials", "how-to") for path in ROOT.glob(f"docs/{part}/*.md")),
]
"""The pages that are run."""
_BLOCK = re.compile(r"^( *)```(\w+)([^\n`]*)\n(.*?)^\1```\s*$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_EXITS = re.compile(r"exits=(\d+)")
_TIMEOUT_S = 200


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: where it begins, for messages.
        info: what stands behind the language.
    """

    language: str
    info: str
    text: str
    line: int


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [
        Block(
            language=match[2],
            info=match[3].strip(),
            text=re.sub(rf"^{match[1]}", "", match[4], flags=re.MULTILINE),
            line=text.count("\n", 0, match.start()) + 1,
        )
        for match in _BLOCK.finditer(text)
    ]


def has_server(page: str) -> bool:
    """Return whether a page starts a server."""
    return any("sightline serve" in block.text for block in blocks_of((ROOT / page).read_text("utf-8")))


def run_page(page: Path, folder: Path) -> int:
    """Run a page in `folder`; return the number of blocks that were run, written or compared."""
    printed, num = "", 0
    with Servers(folder) as servers:
        for block in blocks_of(page.read_text("utf-8")):
            where = f"{page.relative_to(ROOT)}:{block.line}"
            text = servers.shown(block.text)
            if title := _TITLE.search(block.info):
                path = folder / title[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
            elif block.language == "bash" and block.info == "server":
                servers.start(text, folder, environment(folder), where)
            elif block.language == "bash":
                printed = _ran(["bash", "-euc", text], folder, where, block.info, servers)
            elif block.language == "python":
                printed = _ran([sys.executable, "-c", text], folder, where, block.info, servers)
            elif block.language == "text" and block.info.startswith("output"):
                pattern = pattern_of(text, loose="loose" in block.info)
                assert re.search(pattern, printed), f"{where}: the output is\n{printed}\nand not\n{text}"
            else:
                continue
            num += 1
    return num


def pattern_of(text: str, *, loose: bool) -> str:
    """Return the pattern that output must hold: whole lines in order, blanks at their ends and runs of blanks aside."""
    lines = []
    for line in text.strip("\n").splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
            continue
        parts = [re.escape(part) for part in re.split(r"\.\.\.", line.strip())]
        pattern = ".*?".join(parts)
        pattern = re.sub(r"(?:\\ )+", r"\\s+", pattern)
        if loose:
            pattern = re.sub(r"\d+\\\.\d+", r"\\d+\\.\\d+", pattern)
        lines.append(rf"[ \t]*{pattern}[ \t]*(?:\n|\Z)" if line.strip() else r"[ \t]*\n")
    return r"(?m)^" + "".join(lines)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of somebody who has only just installed Sightline: nothing of this user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "MMLA_", "APP_"))}
    home = folder / ".home"
    home.mkdir(exist_ok=True)
    kept |= {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120"}
    return kept | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONWARNINGS": "error::DeprecationWarning:__main__",
    }


def _ran(command: list[str], folder: Path, where: str, info: str, servers: Servers) -> str:
    expected = int(match[1]) if (match := _EXITS.search(info)) else 0
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == expected, f"{where} ended with {done.returncode}:\n{done.stdout}\n{servers.log}"
    return done.stdout
