"""Runs a function in a fresh process with limits, for files that nobody trusts.

The process is started anew (never forked from ours), so that it has none of our sockets, threads, files and secrets.
What it says is not trusted either: JSON and raw arrays, whose shapes are checked against the files that hold them; no
pickle. The other end is `isolated`.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event as Flag
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import structlog

from sightline.core.errors import (
    BrokenPlugin,
    Cancelled,
    ConfigError,
    InvalidInput,
    InvalidMedia,
    StorageFull,
    error_types,
)
from sightline.core.prediction import JsonObject

_POLL_S = 0.02
_WATCH_S = 0.2
_LIBRARIES_MB = 384  # of interpreter and libraries, where only the parent watches the memory
_MAX_ANSWER = 64 << 20
_PROGRAM = Path(__file__).with_name("isolated.py")
_POSIX = os.name == "posix"
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",  # each arena would reserve 64 MB of the memory that is limited
}
_REFUSALS: Mapping[str, type[InvalidInput]] = {
    kind.code: kind for kind in error_types() if issubclass(kind, InvalidInput)
}

_log = structlog.get_logger()


def run_isolated(
    function: Callable[..., JsonObject],
    args: Sequence[Any],
    *,
    memory_mb: int,
    timeout_s: float,
    stopping: Flag | None = None,
) -> tuple[JsonObject, Mapping[str, npt.NDArray[Any]]]:
    """Run `function(new_array, *args)` in a process of its own; see `Context.isolated`.

    The arrays are memory-mapped and read-only; their files are gone already. Memory is limited by the kernel on Linux
    and watched elsewhere; the other limits (processor time, size of a file, open files) hold where there is `resource`.

    Raises:
        InvalidMedia: it failed, crashed, or took too much memory or time; its own InvalidInput comes through.
        Cancelled: `stopping` was set.
        StorageFull: there is no room for what it makes.
        BrokenPlugin: the function cannot be imported there.
    """
    if function.__module__ == "__main__" or "." in function.__qualname__:
        raise ConfigError(
            f"{function.__qualname__} cannot run in a process of its own: it must be a function of a module.",
            cure="Move it to the top of a module that can be imported.",
        )
    job = {
        "path": [str(Path(each).absolute()) for each in sys.path],  # "" is where we are, not where it will be
        "module": function.__module__,
        "function": function.__qualname__,
        "args": [str(each) if isinstance(each, Path) else each for each in args],
        "memory_bytes": memory_mb << 20,
        "timeout_s": timeout_s,
    }
    # A file that is mapped cannot be deleted on Windows; there arrays are read, not mapped.
    with TemporaryDirectory(prefix="sightline-isolated-") as name:
        folder = Path(name)
        begin = time.monotonic()
        how = _Child(folder, json.dumps(job).encode()).wait(memory_mb, timeout_s, stopping or Flag())
        _log.debug("isolated function ended", function=job["function"], how=how, seconds=time.monotonic() - begin)
        return _answer(folder, how, memory_mb, timeout_s)


class _Child:
    """A process that runs one job; it ends with its parent, for it watches its standard input."""

    def __init__(self, folder: Path, job: bytes) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-X", "utf8", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=_ENVIRONMENT | {"TMPDIR": str(folder)} if _POSIX else None,
            start_new_session=_POSIX,
        )
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it ended already; its return code tells
                self._process.stdin.write(job + b"\n")
                self._process.stdin.flush()

    def wait(self, memory_mb: int, timeout_s: float, stopping: Flag) -> str:
        """Return how it ended: `done`, `time`, `memory`, or the name of a signal.

        Raises:
            Cancelled: `stopping` was set.
        """
        deadline = time.monotonic() + timeout_s
        look = time.monotonic() + _WATCH_S
        try:
            while True:
                try:
                    code = self._process.wait(_POLL_S)
                except subprocess.TimeoutExpired:
                    now = time.monotonic()
                    if stopping.is_set():
                        raise Cancelled("The work was stopped.") from None
                    if now > deadline:
                        return "time"
                    if now > look:
                        look = now + _WATCH_S
                        if self._used_mb() > memory_mb + _LIBRARIES_MB:
                            return "memory"
                    continue
                return _how(code)
        finally:
            self._end()

    def _used_mb(self) -> float:
        try:
            return float(psutil.Process(self._process.pid).memory_info().rss) / 2**20
        except psutil.Error:
            return 0.0

    def _end(self) -> None:
        """Kill it with its children, unless it has ended."""
        if self._process.poll() is None:
            if _POSIX:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    child.kill()
                self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


def _how(code: int) -> str:
    if code >= 0:
        return "done" if code == 0 else f"exit code {code}"
    name = signal.Signals(-code).name
    return {"SIGKILL": "memory", "SIGXCPU": "time"}.get(
        name, name
    )  # what kills but is not we is the kernel, for memory


def _answer(
    folder: Path, how: str, memory_mb: int, timeout_s: float
) -> tuple[JsonObject, Mapping[str, npt.NDArray[Any]]]:
    """Return what the child left, or raise what happened to it."""
    if how == "time":
        raise InvalidMedia(f"It took more than {timeout_s:g} s to read.", cure="Send less, or allow more time.")
    if how == "memory":
        raise _too_much(memory_mb)
    try:
        with (folder / "answer.json").open("rb") as file:
            answer = json.loads(file.read(_MAX_ANSWER))
        if (error := answer.get("error")) is not None:
            raise _raised(error, memory_mb)
        return dict(answer["value"]), {name: _array(folder, *told) for name, told in dict(answer["arrays"]).items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        _log.warning("isolated function gave no answer", how=how, reason=type(error).__name__)
        raise InvalidMedia(
            f"The process that read it ended without an answer ({how}).", cure="Check the file: it may be damaged."
        ) from None


def _raised(error: Mapping[str, Any], memory_mb: int) -> Exception:
    code, message, cure = (str(error.get(name, "")) for name in ("code", "message", "cure"))
    if code == "memory":
        return _too_much(memory_mb)
    if code == "storage_full":
        return StorageFull(
            "There is no room for what is read from it.", cure="Free space in the folder for temporary files."
        )
    if code == "broken_plugin":
        return BrokenPlugin(message, cure=cure)
    return _REFUSALS.get(code, InvalidMedia)(message, cure=cure)


def _too_much(memory_mb: int) -> InvalidMedia:
    return InvalidMedia(
        f"It takes more than {memory_mb} MB of memory to read.", cure="Send less, or allow more memory."
    )


def _array(folder: Path, index: int, dtype: str, shape: Sequence[int]) -> npt.NDArray[Any]:
    """Return an array that the child made.

    Raises:
        ValueError: its file is not what was said of it.
    """
    kind = np.dtype(dtype)
    sides = tuple(int(side) for side in shape)
    path = folder / f"{int(index)}.array"
    if kind.kind not in "biuf" or min(sides, default=0) < 0 or path.is_symlink() or not path.is_file():
        raise ValueError("no array")
    if path.stat().st_size != math.prod(sides) * kind.itemsize:
        raise ValueError("an array of another size")
    if not math.prod(sides) or not _POSIX:
        return np.fromfile(path, kind).reshape(sides)
    return np.memmap(path, kind, "r", shape=sides)
