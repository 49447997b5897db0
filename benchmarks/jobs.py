"""What the engine of jobs costs by itself: empty jobs a second with two workers, and the wait for an idle worker.

`make bench-jobs`. The workers are two processes `sightline worker` as users start them. An empty job reads an object of
three bytes and puts a result of some hundred: it is taken, its reading and its end are recorded. All are submitted
before the workers begin, and counted from when both work up to the last that ended, by the database's clock.
Latency is from the submission in one process to the taking up in another, by the database's clock; one job at a time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import psutil
from benchmarks.job_worlds import World, databases, wait_until
from benchmarks.page import RESULTS, page

from sightline.build import CaseBuildContext
from sightline.build.job_cases import JobCases
from sightline.core.run import Run, RunState
from sightline.engine.runs import Jobs
from sightline.settings import load_settings

LEAST_RATE, MOST_LATENCY_MS = 250, 60


def rate(world: World, jobs: Jobs, num: int, start_s: float) -> tuple[float, float]:
    """Return empty jobs a second by two workers, and the milliseconds of CPU that each cost them.

    Args:
        world: folder, database, processes.
        jobs: submits.
        num: how many.
        start_s: CPU that one worker takes to begin.
    """
    runs = [jobs.submit("empty", "in/a.txt", looked=False)[0] for _ in range(num)]
    workers = [world.worker() for _ in range(2)]
    ended = _ended(jobs, runs)
    cpu_s = sum(map(_cpu_s, workers)) - 2 * start_s
    world.close()
    # From the moment at which both work: the second process may begin a moment later.
    begins: dict[str, datetime] = {}
    for run in sorted(ended, key=_started):
        begins.setdefault(str(jobs.ports.store.jobs.checkpoints(run.id)["reading"]["worker"]), _started(run))
        if len(begins) == 2:
            break
    begin = max(begins.values())
    lasts = [run.finished for run in ended if run.finished is not None and run.finished > begin]
    return len(lasts) / (max(lasts) - begin).total_seconds(), 1000 * cpu_s / num


def begin_cpu_s(world: World, jobs: Jobs) -> float:
    """Return the CPU that a worker takes to begin and to do its first job."""
    worker = world.worker()
    jobs.wait(jobs.submit("empty", "in/a.txt")[0].id, 60)
    cpu_s = _cpu_s(worker)
    world.close()
    return cpu_s


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _started(run: Run) -> datetime:
    if run.started is None:
        raise RuntimeError(f"{run.id} was not taken")
    return run.started


def latencies_ms(world: World, jobs: Jobs, num: int) -> list[float]:
    """Return how long each of several jobs waited for an idle worker of another process, in milliseconds."""
    world.worker()
    jobs.wait(jobs.submit("empty", "in/a.txt")[0].id, 60)
    found: list[float] = []
    for number in range(num):
        time.sleep(0.03 + 0.05 * (number * 0.618 % 1))  # at any moment between two looks of the worker
        run = jobs.wait(jobs.submit("empty", "in/a.txt")[0].id, 60)
        found.append((_started(run) - (run.created or _started(run))) / timedelta(milliseconds=1))
    world.close()
    return found


def measured(num: int, num_latencies: int) -> list[tuple[str, str, str]]:
    """Return rows of a table."""
    rows: list[tuple[str, str, str]] = []
    with databases() as found:
        for name, server in found.items():
            with tempfile.TemporaryDirectory() as folder:
                url = f"sqlite:///{folder}/store.db" if server is None else server.url
                world = World(Path(folder), url)
                try:
                    rows += _rows(name, world, num, num_latencies)
                finally:
                    world.close()
    return rows


def _rows(name: str, world: World, num: int, num_latencies: int) -> list[tuple[str, str, str]]:
    loaded = load_settings(environ=world.environment)
    with closing(CaseBuildContext(loaded)) as context:
        context.artifacts.put("in/a.txt", b"abc")
        jobs = Jobs(context, JobCases(context).case)
        start_s = begin_cpu_s(world, jobs)
        found = [rate(world, jobs, num, start_s) for _ in range(3)]
        waits = sorted(latencies_ms(world, jobs, num_latencies))
    p50, p95 = statistics.median(waits), waits[int(0.95 * len(waits))]
    wait = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, longest {waits[-1]:.0f} ms"
    rates, costs = [each for each, _ in found], [each for _, each in found]
    spread = f"{min(rates):.0f} to {max(rates):.0f}; {statistics.median(costs):.1f} ms of CPU each"
    return [
        (f"empty jobs/s, two workers, {name}", f"at least {LEAST_RATE}", f"{statistics.median(rates):.0f} ({spread})"),
        (f"wait for an idle worker of another process, {name}", f"at most {MOST_LATENCY_MS} ms", wait),
    ]


def _ended(jobs: Jobs, runs: list[Run]) -> list[Run]:
    store = jobs.ports.store
    wanted = {run.id for run in runs}
    last = runs[-1]

    def is_over() -> bool:
        return not any(
            run.id in wanted
            for state in (RunState.SUBMITTED, RunState.RUNNING)
            for run in store.runs.list(state=state, limit=1)
        )

    wait_until(is_over, 300, f"{len(runs)} jobs, the last {last.id}")
    ended = [run for run in store.runs.list(limit=len(runs) + 10) if run.id in wanted]
    if failed := [run.error for run in ended if run.state is not RunState.COMPLETED]:
        raise RuntimeError(f"{len(failed)} jobs failed: {failed[:3]}")
    return ended


def main() -> None:
    """Measure, print the table, and keep it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num", type=int, default=1000, help="Jobs in each of three rounds.")
    parser.add_argument("--latencies", type=int, default=100, help="Jobs of which the waiting is measured.")
    given = parser.parse_args()
    rows = measured(given.num, given.latencies)
    note = "; PostgreSQL on the same cores, with fsync."
    text = page("Jobs", "make bench-jobs", note, ("figure", "target", "measured"), rows)
    print(text)
    (RESULTS / "jobs.md").write_text(text)


if __name__ == "__main__":
    main()
