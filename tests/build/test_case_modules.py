"""Python of case folders, loaded while other threads import modules of theirs."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event, Thread
from types import ModuleType

from sightline.build.case_modules import local_plugins
from sightline.build.folders import CasePlace


def test_two_folders_of_one_name_are_told_apart_while_others_import(tmp_path: Path) -> None:
    places = []
    for parent in ("a", "b"):
        folder = tmp_path / parent / "yard"
        folder.mkdir(parents=True)
        (folder / "plugins.py").write_text(
            "from sightline.core.plugins import Sink\n\n\n"
            f"class {parent.upper()}(Sink):\n    def write(self, samples):\n        pass\n"
        )
        places.append(CasePlace(name="yard", origin="here", folder=folder))
    over = Event()

    def import_on() -> None:
        while not over.is_set():
            for number in range(200):
                sys.modules[f"of_another_thread_{number}"] = ModuleType("of_another_thread")
            for number in range(200):
                del sys.modules[f"of_another_thread_{number}"]

    other, interval = Thread(target=import_on), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    other.start()
    try:
        for _ in range(100):
            assert [sorted(local_plugins(place)) for place in places] == [["A", "a"], ["B", "b"]]
    finally:
        over.set()
        other.join()
        sys.setswitchinterval(interval)
