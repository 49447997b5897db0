"""What the tests of isolation run in another process."""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core.errors import TooLarge
from sightline.core.plugins import NewArray


def double(new_array: NewArray, path: str, times: int) -> dict[str, Any]:
    """Return what a file says, and its bytes times a number."""
    data = Path(path).read_bytes()
    new_array("doubled", (2, len(data) // 2), "uint8")[:] = 7  # taken back
    new_array("doubled", (2, len(data) // 2), "int16")[:] = (
        np.frombuffer(data, np.uint8).reshape(2, -1).astype(int) * times
    )
    new_array("empty", (0, 3), "float32")
    return {"text": data.decode("ascii"), "pid": os.getpid()}


def surroundings(_: NewArray) -> dict[str, Any]:
    """Return what the process has of its parent."""
    opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    return {"environment": sorted(os.environ), "open": opened, "nice": os.nice(0), "threads": threading.active_count()}


def refuse(_: NewArray) -> dict[str, Any]:
    raise TooLarge("It is too long.", cure="Cut it.")


def break_down(_: NewArray) -> dict[str, Any]:
    raise IndexError("list index out of range\nsecond line")


def fill_up(_: NewArray) -> dict[str, Any]:
    raise OSError(errno.ENOSPC, "No space left on device")


def recurse(new_array: NewArray) -> dict[str, Any]:
    return recurse(new_array)


def sleep(_: NewArray, children: str = "") -> dict[str, Any]:
    """Sleep for long, with a child of its own whose number stands in a file."""
    if children:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        part = Path(f"{children}.part")
        part.write_text(f"{child.pid} {os.getpid()}", "ascii")
        part.rename(children)
    time.sleep(60)
    return {}


def crash(_: NewArray) -> dict[str, Any]:
    ctypes.string_at(0)
    return {}


def devour(_: NewArray) -> dict[str, Any]:
    """Take memory without end."""
    taken = []
    while True:
        taken.append(bytearray(b"\1") * (16 << 20))


def devour_arrays(new_array: NewArray) -> dict[str, Any]:
    new_array("huge", (1 << 20, 1 << 20), "float32")
    return {}


def fill(_: NewArray) -> dict[str, Any]:
    """Write a file without end."""
    with Path("endless").open("wb") as file:
        while True:
            file.write(b"\1" * (16 << 20))


def lie(new_array: NewArray, how: str) -> dict[str, Any]:
    """Leave an answer as one would who has taken over the process."""
    new_array("pixels", (4,), "uint8")
    shape, kind = [4], "|u1"
    index: int | str = 1
    if how == "longer":
        shape = [400]
    elif how == "negative":
        shape = [-4]
    elif how == "objects":
        kind = "|O"
    elif how == "link":
        Path("1.array").unlink()
        Path("1.array").symlink_to("/etc/hostname")
        shape = [Path("/etc/hostname").stat().st_size]
    elif how == "elsewhere":
        index = "../../etc/hostname"
    elif how == "pickle":
        Path("answer.json").write_bytes(pickle.dumps({"value": {}, "arrays": {}}))
        os._exit(0)
    elif how == "nothing":
        os._exit(0)
    import json

    Path("answer.json").write_text(json.dumps({"value": {}, "arrays": {"pixels": [index, kind, shape]}}))
    os._exit(0)
