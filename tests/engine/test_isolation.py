"""A function on a file that nobody trusts: whatever happens to its process is an error about the file."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Timer
from typing import Any

import numpy as np
import psutil
import pytest
from tests.engine import isolated_functions as functions

from sightline.core.errors import Cancelled, ConfigError, InvalidMedia, StorageFull, TooLarge
from sightline.testing import make_context

posix = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


def isolated(function: Any, *args: Any, **limits: Any) -> Any:
    return make_context().isolated(function, *args, **limits)


def test_json_and_arrays_come_back_from_another_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcd")

    value, arrays = isolated(functions.double, path, 3)

    assert value["text"] == "abcd"
    assert value["pid"] != psutil.Process().pid
    assert set(arrays) == {"doubled", "empty"}
    assert arrays["empty"].shape == (0, 3)
    np.testing.assert_array_equal(arrays["doubled"], np.array([[291, 294], [297, 300]], np.int16))
    assert arrays["doubled"].dtype == np.int16


@linux
def test_it_has_nothing_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_S3__SECRET_KEY", "hush")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.set_inheritable(True)
        value, _ = isolated(functions.surroundings)

    assert not [name for name in value["environment"] if "SIGHTLINE" in name]
    assert not [name for name in value["open"] if "socket" in name]
    assert value["nice"] > 0


def test_its_refusal_is_raised_as_it_is() -> None:
    with pytest.raises(TooLarge, match="It is too long") as caught:
        isolated(functions.refuse)
    assert caught.value.cure == "Cut it."


def test_what_a_parser_raises_is_an_error_about_the_file() -> None:
    with pytest.raises(InvalidMedia, match=r"It cannot be read: IndexError: list index out of range\."):
        isolated(functions.break_down)
    with pytest.raises(InvalidMedia, match="nested too deeply"):
        isolated(functions.recurse)


@posix
def test_a_crash_is_an_error_about_the_file() -> None:
    with pytest.raises(InvalidMedia, match=r"ended without an answer \(SIGSEGV\)"):
        isolated(functions.crash)


@posix
def test_who_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    for timeout_s in (1.5, 6, 24):  # the more, the longer a busy machine takes to begin
        with pytest.raises(InvalidMedia, match=rf"more than {timeout_s:g} s"):
            isolated(functions.sleep, str(tmp_path / "pids"), timeout_s=timeout_s)
        if (tmp_path / "pids").exists():
            break

    pids = [int(pid) for pid in (tmp_path / "pids").read_text("ascii").split()]
    until = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    assert not [pid for pid in pids if is_alive(pid)]


@posix
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "from tests.engine import isolated_functions as f; from sightline.engine.isolation import run_isolated\n"
        f"run_isolated(f.sleep, [{str(tmp_path / 'pids')!r}], memory_mb=500, timeout_s=60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    until = time.monotonic() + 60
    while not (tmp_path / "pids").exists() and time.monotonic() < until:
        time.sleep(0.02)
    grandchild, child = (int(pid) for pid in (tmp_path / "pids").read_text("ascii").split())
    parent.kill()
    parent.wait()

    while is_alive(child) and time.monotonic() < until:
        time.sleep(0.02)
    psutil.Process(grandchild).kill()  # what a function starts is its own; a reader starts nothing
    assert not is_alive(child)


def test_who_shall_stop_stops() -> None:
    stopping = Event()
    Timer(0.5, stopping.set).start()
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        make_context(stopping=stopping).isolated(functions.sleep)
    assert time.monotonic() - begin < 20


def test_who_takes_too_much_memory_is_refused() -> None:
    with pytest.raises(InvalidMedia, match="more than 200 MB of memory"):
        isolated(functions.devour, memory_mb=200, timeout_s=30)
    with pytest.raises(TooLarge, match="1048576 x 1048576: 4194304 MB, where 200 MB may be used"):
        isolated(functions.devour_arrays, memory_mb=200)


def test_a_disk_that_is_full_is_no_fault_of_the_file() -> None:
    with pytest.raises(StorageFull, match="no room for what is read"):
        isolated(functions.fill_up)


@posix
def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(InvalidMedia, match="more than 64 MB"):
        isolated(functions.fill, memory_mb=64, timeout_s=30)


@posix
@pytest.mark.parametrize("how", ["longer", "negative", "objects", "link", "elsewhere", "pickle", "nothing"])
def test_what_the_process_says_is_not_trusted(how: str) -> None:
    with pytest.raises(InvalidMedia, match="ended without an answer"):
        isolated(functions.lie, how)


def test_only_a_function_of_a_module_can_be_isolated() -> None:
    with pytest.raises(ConfigError, match="must be a function of a module"):
        isolated(lambda _: {})


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
