"""What was acknowledged outlives kill -9, and the next run tells of the dead one."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from tests.engine.conftest import OwnPorts

from sightline.adapters.database import SqlStore
from sightline.core.run import RunState
from sightline.engine.record import fail_dead_runs

ROOT = Path(__file__).parents[2]
RUNNER = """
import sys
from contextlib import closing
from pathlib import Path
from sightline.adapters.database import SqlStore
from sightline.core.case import Case
from sightline.core.plugins import Context
from sightline.core.run import Run
from sightline.engine.streams import StreamRun
from sightline.packs.basic.sinks import DatabaseSink, JsonlSink
from tests.engine.conftest import OwnPorts
from tests.engine.plugins import Alarm, Numbers

folder = Path(sys.argv[1])
case = Case(
    name="case",
    sources={"a": Numbers(num=10**9)},
    stages={"analytics": {"alarm": Alarm(every=5)}},
    sinks=(JsonlSink(path=str(folder / "lines.jsonl")), DatabaseSink()),
)
with closing(SqlStore(f"sqlite:///{folder}/store.db")) as store:
    context = Context(ports=OwnPorts(store), outputs=folder)
    watch = lambda sample: print(sample.seq, flush=True)  # shown only when every sink has it
    StreamRun(case, context, Run(case="case", id="killed"), watch=watch, report_s=0.05).execute()
"""


@pytest.mark.parametrize("num_acknowledged", [1, 120])
def test_a_killed_run_keeps_all_that_was_acknowledged_and_is_found_dead(tmp_path: Path, num_acknowledged: int) -> None:
    command = [sys.executable, "-c", RUNNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        last = -1
        for line in child.stdout:
            if line.strip().isdecimal():  # the log stands there too
                last = int(line)
            if last >= num_acknowledged:
                break
        child.kill()
        told = [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        last = max([last, *(int(line) for line in told if line.strip().isdecimal())])

    written = (tmp_path / "lines.jsonl").read_bytes().splitlines(keepends=True)
    whole = [json.loads(line)["seq"] for line in written if line.endswith(b"\n")]
    assert whole == list(range(len(whole)))
    assert len(whole) > last

    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
        rows = [row["seq"] for _, row in store.predictions.list(run_id="killed", limit=10**6)]
        assert rows == list(range(len(rows)))
        assert len(rows) > last
        alerts = [event.data["sample"] for _, event in store.events.list(types=["threshold.alert"], limit=10**6)]
        assert alerts == [f"a/1/{5 * number}" for number in range(len(alerts))]
        assert len(alerts) > last // 5

        ports = OwnPorts(store)
        fail_dead_runs(ports)
        dead = store.runs.get("killed")
        assert dead.state is RunState.RUNNING  # its lease holds: it could be alive
        store.runs.report("killed", dead.token, dead.status, lease=timedelta(0))
        fail_dead_runs(ports)
        assert store.runs.get("killed").state is RunState.FAILED
        assert [event.short_type for _, event in store.events.list(types=["run.failed"])] == ["run.failed"]
