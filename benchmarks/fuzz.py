"""Studies that were damaged by chance, read as jobs read them: each is a volume, or a refusal that says why.

`make fuzz`. The same reader as in jobs, in processes with the same limits on memory and time:

* most are read one after the other in a process that lives on, where nothing hides an error that the reader did not
  foresee: any exception but a refusal counts as wrong, and so does a death, more memory than allowed, and a read that
  takes longer than it may;
* some, and all that were wrong, are read in a process of their own, as in production (`Context.isolated`).

A volume that comes out is looked at: its size, its place, and that each number in it is one.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
from benchmarks.fuzz_cases import Study, study

from sightline.core.errors import InvalidInput, TooLarge
from sightline.engine.isolation import run_isolated
from sightline.packs.medical.reading.studies import read_study

ROOT = Path(__file__).parents[1]
MEMORY_MB = 512
SLOWEST_S = 10.0
POLICIES = ("repair", "accept", "refuse")
READER = ("-m", "benchmarks.fuzz")
UNFORESEEN = "cannot be read: "  # how the guarded process tells an exception that the reader did not foresee


@dataclass
class Outcome:
    """What became of the studies.

    Attributes:
        kinds: kind of study -> what became of it -> how many.
        guarded: studies that were read in processes of their own.
        wrong: what should not be, a sentence each.
        slowest_s: the longest that one took.
    """

    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    guarded: int = 0
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    seconds: float = 0.0

    @property
    def num(self) -> int:
        """How many studies were read."""
        return sum(counts.total() for counts in self.kinds.values())

    def count(self, kind: str, what: str) -> None:
        """Note what became of a study."""
        self.kinds.setdefault(kind, Counter())[what] += 1


def campaign(seed: int, num: int, guarded: int, *, kind: str = "") -> Outcome:
    """Read `num` damaged studies, `guarded` of them in processes of their own too."""
    outcome, begin = Outcome(), time.monotonic()
    for number, told in _told(seed, num, kind):
        where = f"--seed {seed} --one {number}"
        outcome.count(told["kind"], told["what"])
        outcome.slowest_s = max(outcome.slowest_s, told["seconds"])
        if told["wrong"]:
            outcome.wrong.append(f"{told['kind']}: {told['wrong']} ({where})")
        if told["wrong"] or number < guarded:
            outcome.guarded += 1
            if problem := judged_guarded(study(seed, number, kind)[1], POLICIES[number % len(POLICIES)]):
                outcome.wrong.append(f"{told['kind']}, guarded: {problem} ({where})")
    outcome.seconds = time.monotonic() - begin
    return outcome


def _told(seed: int, num: int, kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what the readers say of each number; one that dies or hangs is told as that, and another one goes on."""
    number = 0
    while number < num:
        command = [sys.executable, *READER, "--reader", str(number), "--num", str(num)]
        command += ["--seed", str(seed), "--kind", kind]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as reader:
            assert reader.stdout is not None  # noqa: S101 - a pipe was asked for
            wait = selectors.DefaultSelector()
            wait.register(reader.stdout, selectors.EVENT_READ)
            while number < num:
                line = reader.stdout.readline() if wait.select(SLOWEST_S + 20) else b""
                if not line:
                    how = "hangs" if wait.select(0) == [] else f"ends its process ({reader.wait(SLOWEST_S)})"
                    reader.kill()
                    named = kind or study(seed, number)[0]
                    yield number, {"kind": named, "what": "died", "wrong": how, "seconds": 0.0}
                    number += 1
                    break
                yield number, json.loads(line)
                number += 1


def read_all(seed: int, first: int, num: int, kind: str) -> None:
    """Read the studies from one number on in this process, and say a line of each."""
    warnings.simplefilter("ignore")
    logging.disable()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + (MEMORY_MB << 20) + (256 << 20)  # libraries come later here
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(first, num):
        named, files = study(seed, number, kind)
        begin = time.monotonic()
        what, wrong = judged(files, POLICIES[number % len(POLICIES)])
        seconds = time.monotonic() - begin
        if not wrong and seconds > SLOWEST_S:
            wrong = f"takes {seconds:.1f} s"
        print(json.dumps({"kind": named, "what": what, "wrong": wrong, "seconds": seconds}), flush=True)


def judged(files: Study, policy: str) -> tuple[str, str]:
    """Return what became of a study that is read in this process, and what is wrong with that."""
    arrays: dict[str, npt.NDArray[Any]] = {}

    def new_array(name: str, shape: Any, dtype: str) -> npt.NDArray[Any]:
        if math.prod(shape) * np.dtype(dtype).itemsize > MEMORY_MB << 20:
            raise TooLarge("It holds a larger array than may be.")
        arrays[name] = np.zeros(shape, dtype)
        return arrays[name]

    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="sl-fuzz-") as folder:
        os.chdir(folder)
        try:
            told = read_study(new_array, _written(files, Path(folder)), policy)
            return "volume", odd(told, arrays)
        except InvalidInput as error:
            return "refused", "" if error.message and error.cure else f"is refused without a word or a cure: {error}"
        except MemoryError:
            return "refused", f"takes more than {MEMORY_MB} MB"
        except Exception as error:  # noqa: BLE001 - what the reader did not foresee is what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            return "unforeseen", f"raises {type(error).__name__}: {error} at {Path(place.filename).name}:{place.lineno}"
        finally:
            os.chdir(before)


def judged_guarded(files: Study, policy: str) -> str:
    """Return what is wrong with how a study is read in a process of its own; empty: nothing."""
    with tempfile.TemporaryDirectory(prefix="sl-fuzz-") as folder:
        given = _written(files, Path(folder))
        try:
            told, arrays = run_isolated(read_study, [given, policy], memory_mb=MEMORY_MB, timeout_s=SLOWEST_S)
        except InvalidInput as error:
            return f"is refused by chance: {error.message}" if UNFORESEEN in error.message else ""
        except Exception as error:  # noqa: BLE001 - as above
            return f"raises {type(error).__name__}: {error}"
        return odd(told, arrays)


def odd(told: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return what is wrong with a volume that was read; empty: nothing."""
    voxels, affine = arrays["voxels"], np.array(told["affine"], np.float64)
    if list(voxels.shape[::-1]) != told["dimensions"]:
        return f"is {voxels.shape[::-1]}, and says {told['dimensions']}"
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > 0:
        return f"has no place: {affine.tolist()}"
    if not np.isfinite(voxels).all():
        return "has voxels that are no numbers"
    if min(told["spacing"]) <= 0:
        return f"has the spacing {told['spacing']}"
    try:
        json.dumps(told, allow_nan=False)
    except ValueError:
        return f"tells what is no number: {json.dumps(told)[:300]}"
    return ""


def _written(files: Study, folder: Path) -> list[list[str]]:
    given = []
    (folder / "given").mkdir()
    for number, (name, data) in enumerate(files.items()):
        path = folder / "given" / f"{number:05}"
        path.write_bytes(data)
        given.append([name, str(path)])
    return given


HEAD = "| kind | studies | a volume | refused | unforeseen | died |\n| --- | --- | --- | --- | --- | --- |\n"


def table(outcome: Outcome) -> str:
    """Return the table of an outcome."""
    rows = []
    for kind, counts in sorted(outcome.kinds.items()):
        cells = [kind, counts.total(), *(counts[what] for what in ("volume", "refused", "unforeseen", "died"))]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return HEAD + "\n".join(rows)


def main() -> None:
    """Read, print the table, and keep it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num", type=int, default=20_000)
    parser.add_argument("--guarded", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kind", default="")
    parser.add_argument("--one", type=int, help="read this one alone, with its traceback")
    parser.add_argument("--reader", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.reader is not None:
        read_all(given.seed, given.reader, given.num, given.kind)
        return
    if given.one is not None:
        kind, files = study(given.seed, given.one, given.kind)
        print(kind, {name: len(data) for name, data in files.items()})
        print(judged(files, POLICIES[given.one % len(POLICIES)]), judged_guarded(files, POLICIES[given.one % 3]))
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    outcome = campaign(given.seed, given.num, given.guarded, kind=given.kind)
    text = table(outcome)
    print(text)
    for each in outcome.wrong[:100]:
        print(each, file=sys.stderr)
    wrong = "nothing was wrong" if not outcome.wrong else f"**{len(outcome.wrong)} were wrong**"
    (ROOT / "benchmarks/results/fuzz.md").write_text(
        f"# Damaged studies\n\n`make fuzz`, {datetime.now(UTC):%Y-%m-%d}, seed {given.seed}: {outcome.num} studies in "
        f"{outcome.seconds:.0f} s, {outcome.guarded} of them in a process of their own too; at most {MEMORY_MB} MB and "
        f"{SLOWEST_S:g} s for each, the slowest took {outcome.slowest_s:.1f} s. Of all, {wrong}.\n\n{text}\n"
    )
    raise SystemExit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
