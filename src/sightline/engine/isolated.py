"""The program of a process that runs one function on a file that nobody trusts; its other end is `isolation`.

Reads the job from standard input and leaves `answer.json` and raw arrays in its working directory. Ends when standard
input ends: then its parent is gone.
"""

from __future__ import annotations

import errno
import importlib
import json
import math
import mmap
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_CODES = {errno.ENOSPC: "storage_full", errno.EFBIG: "memory", errno.ENOMEM: "memory"}


class Arrays:
    """Makes arrays in files, so that the parent need not copy them; called as `NewArray`.

    Args:
        most_bytes: that all of them may take.
    """

    def __init__(self, most_bytes: int) -> None:
        self.made: dict[str, tuple[int, str, list[int]]] = {}
        self._most = most_bytes
        self._num = 0

    def __call__(self, name: str, shape: Sequence[int], dtype: str) -> Any:
        """Return zeros under `name`."""
        import numpy as np

        from sightline.core.errors import TooLarge

        kind, sides = np.dtype(dtype), [int(side) for side in shape]
        num_bytes = math.prod(sides) * kind.itemsize
        if kind.kind not in "biuf" or min(sides, default=0) < 0:
            raise ValueError(f"no array {dtype} {sides}")
        if num_bytes > self._most:
            raise TooLarge(
                f"It holds an array of {' x '.join(map(str, sides))}: {num_bytes >> 20} MB, where "
                f"{self._most >> 20} MB may be used.",
                cure="Send less, or allow more memory.",
            )
        self._num += 1
        with Path(f"{self._num}.array").open("w+b") as file:
            if num_bytes:
                _reserve(file.fileno(), num_bytes)
                array = np.frombuffer(mmap.mmap(file.fileno(), num_bytes), kind).reshape(sides)
            else:
                array = np.zeros(sides, kind)
        if name in self.made:
            Path(f"{self.made[name][0]}.array").unlink(missing_ok=True)
        self.made[name] = (self._num, kind.str, sides)
        return array


def main() -> None:
    """Do the job."""
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.path[:] = job["path"]
    try:
        function = getattr(importlib.import_module(job["module"]), job["function"])
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
        _leave(_told("broken_plugin", f"{job['module']} cannot be imported: {error}.", "Correct the plug-in."))
        return
    _limit(job["memory_bytes"], job["timeout_s"])
    arrays = Arrays(job["memory_bytes"])
    _leave(_outcome(function, arrays, job["args"]))


def _outcome(function: Any, arrays: Arrays, args: Sequence[Any]) -> Mapping[str, Any]:
    from sightline.core.errors import InvalidInput

    try:
        return {"value": function(arrays, *args), "arrays": arrays.made}
    except InvalidInput as error:
        return _told(error.code, error.message, error.cure)
    except RecursionError:
        return _told("invalid_media", "It cannot be read: it is nested too deeply.", "Check the file.")
    except Exception as error:  # noqa: BLE001 - a parser may raise anything when it is fed with anything
        number = errno.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None)
        if number in _CODES:
            return _told(_CODES[number])
        return _told("invalid_media", _sentence(error), "Check the file: it may be damaged.")


def _told(code: str, message: str = "", cure: str = "") -> Mapping[str, Any]:
    return {"error": {"code": code, "message": message, "cure": cure}}


def _sentence(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0][:200]
    return f"It cannot be read: {type(error).__name__}: {first}".rstrip(": ") + "."


def _leave(answer: Mapping[str, Any]) -> None:
    """Write the answer and end at once: nothing of a library that runs at the end is wanted."""
    try:
        Path("answer.json").write_text(json.dumps(answer), "utf-8")
    finally:
        os._exit(0)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(3)


def _reserve(file: int, num_bytes: int) -> None:
    """Give a file its size, and the room for it where the system can: a write to a map cannot fail with an error."""
    os.ftruncate(file, num_bytes)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, num_bytes)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot
                raise


def _limit(memory_bytes: int, timeout_s: float) -> None:
    """Limit this process from here on; memory beyond what it has now."""
    try:
        import resource  # there is none on Windows: time alone is limited there, by the parent
    except ImportError:
        return
    os.nice(5)
    _set(resource.RLIMIT_CPU, 2 * math.ceil(timeout_s) + 1)  # two threads may work; the parent watches the clock
    _set(resource.RLIMIT_FSIZE, memory_bytes)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NOFILE, 256)
    if sys.platform == "linux":  # elsewhere it is not obeyed
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        _set(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)


def _set(what: int, value: int) -> None:
    import resource

    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


if __name__ == "__main__":
    main()
