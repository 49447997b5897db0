import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.core.codec import decode_sample
from sightline.core.errors import ConfigError, StorageFull
from sightline.core.events import Event
from sightline.core.ports import Gap
from sightline.core.prediction import Finding, Findings, Rejected, Scalar
from sightline.core.sample import Sample
from sightline.packs.basic.sinks import BusSink, DatabaseSink, JsonlSink
from sightline.testing import FakePorts, make_context, make_frame, make_reading


def _finished(seq: int) -> Sample[Any]:
    alert = Finding(name="brightness", value=96.1, event="threshold.alert", data={"state": "start"})
    sample = make_frame(seq=seq, source="door", metadata={"location": "lab"})
    sample = sample.with_prediction("usable", Scalar(name="brightness", value=96.1))
    return sample.with_prediction("alert", Findings(items=(alert,)))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_bus_carries_each_sample_in_its_wire_form() -> None:
    ports = FakePorts()
    subscription = ports.bus.subscribe()
    sink = BusSink()
    sink.open(make_context(ports=ports, case="street"))
    refused = make_frame(seq=8, source="door").with_rejection(Rejected(reason="too dark", kind="dark", by="usable"))

    sink.write([_finished(7), refused])

    told, rejected = subscription.get(1), subscription.get(1)
    assert isinstance(told, Event)
    assert isinstance(rejected, Event)
    assert (told.short_type, told.source, told.subject) == ("prediction", "/cases/street/sources/door", "door/1/7")
    assert told.time == _finished(7).time
    assert told.data["metadata"] == {"location": "lab"}
    assert decode_sample(told.data).prediction("usable", Scalar).value == 96.1
    assert (rejected.short_type, rejected.data["rejected"]["kind"]) == ("sample.rejected", "dark")
    assert not isinstance(subscription.get(0), Gap)


def test_the_file_holds_a_line_for_each_sample(tmp_path: Path) -> None:
    sink = JsonlSink()
    sink.open(make_context(case="street", outputs=tmp_path / "runs" / "1"))
    sink.write([_finished(0), _finished(1)])
    sink.write([])
    sink.write([_finished(2)])

    path = tmp_path / "runs" / "1" / "predictions.jsonl"
    lines = _lines(path)  # before close: what was taken is there

    assert dict(sink.made) == {"predictions": str(path)}
    assert [line["id"] for line in lines] == ["door/1/0", "door/1/1", "door/1/2"]
    assert {line["case"] for line in lines} == {"street"}
    assert decode_sample(lines[0]).prediction("usable", Scalar).value == 96.1
    sink.close()
    sink.close()


def test_events_among_the_findings_go_to_a_file_of_their_own(tmp_path: Path) -> None:
    sink = JsonlSink(path="a.jsonl", events="events.jsonl")
    sink.open(make_context(case="street", outputs=tmp_path))
    sink.write([_finished(0), make_reading(1.0)])
    sink.close()

    [event] = _lines(tmp_path / "events.jsonl")
    assert event["type"] == "io.sightline.threshold.alert.v1"
    assert event["data"]["state"] == "start"
    assert sink.made["events"] == str(tmp_path / "events.jsonl")
    assert len(_lines(tmp_path / "a.jsonl")) == 2


def test_ends_of_what_was_cut_off_go_to_the_events_alone(tmp_path: Path) -> None:
    sink = JsonlSink(path="a.jsonl", events="events.jsonl")
    sink.open(make_context(case="street", outputs=tmp_path))
    sink.write([_finished(0)])
    sink.cut_off(_finished(0))
    sink.close()

    begun, ended = _lines(tmp_path / "events.jsonl")
    assert begun["id"] != ended["id"]
    assert len(_lines(tmp_path / "a.jsonl")) == 1


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    sink = JsonlSink(path=str(tmp_path / "here.jsonl"))
    sink.open(make_context(outputs=tmp_path / "elsewhere"))
    sink.write([_finished(0)])
    sink.close()

    assert len(_lines(tmp_path / "here.jsonl")) == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_is_there_is_continued_and_its_half_line_cut_away(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    long_half_line = b'{"half": "' + b"x" * 200_000
    path.write_bytes(b'{"id": "old/1/0"}\n' + long_half_line)
    sink = JsonlSink()
    sink.open(make_context(outputs=tmp_path))
    sink.write([_finished(1)])
    sink.close()

    assert [line["id"] for line in _lines(path)] == ["old/1/0", "door/1/1"]


def test_a_file_of_nothing_but_half_a_line_becomes_empty(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_bytes(b'{"half')
    sink = JsonlSink()
    sink.open(make_context(outputs=tmp_path))
    sink.close()

    assert (tmp_path / "predictions.jsonl").read_bytes() == b""


@pytest.mark.parametrize("path", [".", "file/below.jsonl"])
def test_a_path_that_cannot_be_written_is_a_matter_of_settings(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be written") as caught:
        JsonlSink(path=path).open(make_context(outputs=tmp_path))
    assert caught.value.cure


_WRITE_UNTIL_FULL = """
import resource, sys
from pathlib import Path
from sightline.core.errors import StorageFull
from sightline.packs.basic.sinks import JsonlSink
from sightline.testing import make_context, make_frame
sink = JsonlSink()
sink.open(make_context(outputs=Path(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
taken = 0
try:
    while True:
        sink.write([make_frame(seq=taken), make_frame(seq=taken + 1)])
        taken += 2
except StorageFull as error:
    print(taken, error.message, "|", error.cure)
"""


def test_a_spent_limit_loses_no_line_that_was_taken(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WRITE_UNTIL_FULL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    taken, words = done.stdout.split(" ", 1)
    assert "predictions.jsonl" in words
    assert words.split("|")[1].strip()
    assert [line["seq"] for line in _lines(tmp_path / "predictions.jsonl")] == list(range(int(taken)))
    assert int(taken) > 4


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; needs the right to mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_named_and_the_sink_goes_on_when_there_is_room(tiny_disk: Path) -> None:
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(16 << 10))
    sink = JsonlSink()
    sink.open(make_context(outputs=tiny_disk))
    taken = 0
    with pytest.raises(StorageFull, match=r"predictions\.jsonl") as caught:  # noqa: PT012  it must fail at some time
        while taken < 100_000:
            sink.write([_finished(taken)])
            taken += 1
    assert "space" in caught.value.cure
    assert [line["seq"] for line in _lines(tiny_disk / "predictions.jsonl")] == list(range(taken))

    ballast.unlink()
    sink.write([_finished(taken)])
    sink.close()
    assert _lines(tiny_disk / "predictions.jsonl")[-1]["seq"] == taken


_WRITE_FOR_EVER = """
import sys
from pathlib import Path
from sightline.packs.basic.sinks import JsonlSink
from sightline.testing import make_context, make_frame
sink = JsonlSink()
sink.open(make_context(outputs=Path(sys.argv[1])))
number = 0
while True:
    sink.write([make_frame(seq=number)])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


def test_a_killed_process_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        told = [int(line) for line in process.stdout.read().splitlines() if line]
    sink = JsonlSink()
    sink.open(make_context(outputs=tmp_path))
    sink.close()

    seqs = [line["seq"] for line in _lines(tmp_path / "predictions.jsonl")]
    assert told
    assert seqs[: told[-1] + 1] == list(range(told[-1] + 1))
    assert len(seqs) <= told[-1] + 2


def test_the_database_records_each_sample() -> None:
    ports = FakePorts()
    sink = DatabaseSink()
    sink.open(make_context(ports=ports, case="street", run="run-1"))
    sink.write([_finished(0), _finished(1)])

    rows = ports.store.predictions.list(run_id="run-1")
    assert [row["id"] for _, row in rows] == ["door/1/0", "door/1/1"]
    assert rows[0][1]["metadata"] == {"location": "lab"}
    ports.store.close()
