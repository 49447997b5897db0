"""Workers killed, frozen and cut off from their database, until enough steps were torn; judged from a journal outside.

`make chaos`. The workers are `sightline worker` and `sightline serve` as users start them. Each step writes a line to a
journal when it begins and when it ends, with fsync; what is judged is that journal, the files in the artifact store and
the rows of the database, not what the engine says of itself:

* every job that was accepted has completed, and told so once;
* every job has one visible result, that of the attempt whose keys were accepted, and it does not change afterwards;
* no step begins again whose checkpoint was committed. One exception, counted apart: a worker that is frozen between its
  look at the lease and the first line of the step, which no design can prevent, runs it once more in vain.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.job_worlds import ROOT, OwnPostgres, World, databases, wait_until
from sqlalchemy import select

from sightline.adapters.database.tables import checkpoints
from sightline.adapters.database.transactions import Transactions
from sightline.build import CaseBuildContext
from sightline.build.job_cases import JobCases
from sightline.core.errors import SightlineError, Unavailable
from sightline.core.run import Run, RunState
from sightline.engine.runs import Jobs
from sightline.settings import load_settings

LEASE_S = 1.5
_SETTINGS = {
    "SIGHTLINE_JOBS__LEASE_S": str(LEASE_S),
    "SIGHTLINE_JOBS__ATTEMPTS": "1000",
    "SIGHTLINE_JOBS__RETRY_S": "0.1",
    "SIGHTLINE_LOG__LEVEL": "warning",
}
_DOOR_S = 0.5  # what a process takes at most from going on to the first line of a step that it was about to do
_COMMIT_S = 0.05  # from when a checkpoint was written to its commit, which is what counts
_DONE_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Goals:
    """How much is to be broken."""

    torn: int = 100
    freezes: int = 10
    restarts: int = 5
    step_s: str = "0,0.3"  # those under 0.02 s are recorded with what follows them
    workers: int = 3
    concurrency: int = 4
    server: bool = True
    queue: int = 24  # jobs that wait or go on at any time


@dataclass
class Outcome:
    """What was broken, and what is wrong afterwards: nothing, it is hoped."""

    jobs: int = 0
    kills: int = 0
    torn: int = 0
    freezes: int = 0
    restarts: int = 0
    late: int = 0  # steps begun in vain by a worker that had been frozen at their very door
    twice: int = 0  # steps that were begun twice, none of them committed before
    seconds: float = 0.0
    slowest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Campaign:
    """Breaks the workers of one world."""

    def __init__(self, world: World, goals: Goals, server: OwnPostgres | None, seed: int) -> None:
        self._world = world
        self._goals = goals
        self._postgres = server
        self._random = random.Random(seed)  # noqa: S311 - which worker dies need not be secret
        self._journal = world.folder / "journal"
        world.settings = {**_SETTINGS, "JOURNAL": str(self._journal), "STEP_S": goals.step_s}
        self._context = CaseBuildContext(load_settings(environ=world.environment))
        self._jobs = Jobs(self._context, JobCases(self._context).case)
        self._accepted: dict[str, int] = {}
        self._alive: list[subprocess.Popen[bytes]] = []
        self._thaws: list[tuple[float, subprocess.Popen[bytes]]] = []
        self._thawed: list[tuple[int, float]] = []  # process, and when it went on
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Break until the goals are reached, let everything end, and judge."""
        begin_s = time.monotonic()
        with closing(self._context):
            try:
                for number in range(self._goals.workers):
                    self._begin_worker(is_server=self._goals.server and number == 0)
                wait_until(self._is_working, 60, "the first step")
                while not self._is_enough():
                    self._fill()
                    self._break()
                self._thaw(float("inf"))
                for process in self._alive:
                    process.send_signal(signal.SIGCONT)
                self._judge()
            finally:
                self._world.close()
        self.outcome.seconds = time.monotonic() - begin_s
        return self.outcome

    def _begin_worker(self, *, is_server: bool = False) -> None:
        wanted = str(self._goals.concurrency)
        if is_server:
            self._world.settings = {**self._world.settings, "SIGHTLINE_JOBS__WORKERS": wanted}
            process = self._world.begin("serve", "stepped", "--port", "0")
        else:
            process = self._world.worker("--concurrency", wanted)
        self._alive.append(process)

    def _fill(self) -> None:
        """Submit jobs, so that there always are some; one that could not be submitted for sure is submitted again."""
        with suppress(Unavailable):
            while self._num_open() < self._goals.queue:
                number = len(self._accepted)
                name = f"in/{number}.txt"
                self._context.artifacts.put(name, f"object {number} ".encode() * (1 + number % 7))
                run, _ = self._jobs.submit("stepped", name, output=f"results/{number}", key=f"job-{number}")
                self._accepted[run.id] = number

    def _num_open(self) -> int:
        runs = self._context.store.runs
        states = (RunState.SUBMITTED, RunState.RUNNING)
        return sum(len(runs.list(state=state, limit=self._goals.queue)) for state in states)

    def _break(self) -> None:
        """Do one bad thing, after a moment."""
        time.sleep(self._random.uniform(0.2, 0.7))
        self._thaw(time.monotonic())
        self._supervise()
        goals, outcome = self._goals, self.outcome
        kinds = ["kill"] * (outcome.torn < goals.torn)
        kinds += ["freeze"] * (outcome.freezes < goals.freezes and len(self._thaws) < len(self._alive) - 1)
        kinds += ["restart"] * (self._postgres is not None and outcome.restarts < goals.restarts)
        if not kinds:
            return
        weights = [{"kill": 6, "freeze": 2, "restart": 1}[kind] for kind in kinds]
        kind = self._random.choices(kinds, weights)[0]
        if kind == "restart" and self._postgres is not None:
            self._postgres.restart()
            outcome.restarts += 1
            return
        under_way = Counter(pid for pid, *_ in self._under_way())
        frozen = {process.pid for _, process in self._thaws}
        victims = [each for each in self._alive if under_way[each.pid] and each.pid not in frozen]
        if not victims:
            return
        victim = self._random.choice(victims)
        if kind == "kill":
            victim.kill()
            victim.wait()
            outcome.kills += 1
            outcome.torn += sum(pid == victim.pid for pid, *_ in self._under_way())
            is_server = "serve" in victim.args  # type: ignore[operator]
            self._alive.remove(victim)
            self._begin_worker(is_server=is_server)
        else:
            victim.send_signal(signal.SIGSTOP)
            if any(pid == victim.pid for pid, *_ in self._under_way()):
                outcome.freezes += 1
            self._thaws.append((time.monotonic() + self._random.uniform(1.5, 2.5) * LEASE_S, victim))

    def _supervise(self) -> None:
        """Begin again what ended by itself: a server that was begun while its database was away."""
        for process in [each for each in self._alive if each.poll() is not None]:
            self._alive.remove(process)
            self._begin_worker(is_server="serve" in process.args)  # type: ignore[operator]

    def _thaw(self, now_s: float) -> None:
        """Let those go on that were frozen for long enough."""
        for end_s, process in [each for each in self._thaws if each[0] <= now_s or now_s == float("inf")]:
            time.sleep(max(0.0, end_s - time.monotonic()) if now_s == float("inf") else 0.0)
            self._thawed.append((process.pid, time.time()))
            process.send_signal(signal.SIGCONT)
            self._thaws.remove((end_s, process))

    def _is_enough(self) -> bool:
        goals, outcome = self._goals, self.outcome
        restarts = outcome.restarts >= goals.restarts or self._postgres is None
        return outcome.torn >= goals.torn and outcome.freezes >= goals.freezes and restarts

    def _is_over(self) -> bool:
        self._supervise()
        return self._num_open() == 0

    def _is_working(self) -> bool:
        self._fill()
        return self._journal.exists() and "begin" in self._journal.read_text()

    def _lines(self) -> list[tuple[float, str, str, str, int, int]]:
        """Return time, what, run, step, token and process of each line of the journal."""
        found = []
        for line in self._journal.read_text().splitlines():
            when, what, run, step, token, pid = line.split()
            found.append((float(when), what, run, step, int(token), int(pid)))
        return found

    def _under_way(self) -> set[tuple[int, str, str, int]]:
        """Return the steps that have begun and not ended: process, run, step, token."""
        begun = {(pid, run, step, token) for _, what, run, step, token, pid in self._lines() if what == "begin"}
        ended = {(pid, run, step, token) for _, what, run, step, token, pid in self._lines() if what == "end"}
        return begun - ended

    def _judge(self) -> None:
        """Let all jobs end, and look whether anything is wrong."""
        wrong = self.outcome.wrong
        store = self._context.store
        try:
            wait_until(self._is_over, _DONE_S, "the end of all jobs")
        except TimeoutError as error:
            wrong.append(str(error))
        time.sleep(LEASE_S)  # whoever was frozen may do what harm he can
        runs = {run.id: run for run in self._all_runs()}
        self.outcome.jobs = len(self._accepted)
        wrong += [f"{run_id}: accepted and gone" for run_id in self._accepted if run_id not in runs]
        wrong += [f"{run_id}: nobody was told of it" for run_id in runs if run_id not in self._accepted]
        completed = Counter(
            event.data["run"] for _, event in store.events.list(types=["run.completed"], limit=1_000_000)
        )
        begun = [line for line in self._lines() if line[1] == "begin"]
        for run_id, run in runs.items():
            wrong += self._wrong(run, completed[run_id])
            committed = self._committed(run_id)
            for when, _, _, step, token, pid in (line for line in begun if line[2] == run_id):
                if step not in committed or when <= committed[step][0] or token == committed[step][1]:
                    continue
                if token < committed[step][1] and self._was_at_the_door(pid, when):
                    self.outcome.late += 1
                    continue
                done_s, by = committed[step]
                wrong.append(f"{run_id}: {step} begun by {pid} ({token}) at {when:.3f}, done ({by}) at {done_s:.3f}")
        counted = Counter((line[2], line[3]) for line in begun)
        self.outcome.twice = sum(num > 1 for num in counted.values())
        results = set(self._context.artifacts.list("results/"))
        wanted = {f"results/{number}.txt" for number in self._accepted.values()}
        wrong += [f"{key}: a result that nobody asked for, or none" for key in results ^ wanted]

    def _was_at_the_door(self, pid: int, when_s: float) -> bool:
        """Return whether a process had just been frozen when it began a step."""
        return any(pid == frozen and 0 <= when_s - thawed_s < _DOOR_S for frozen, thawed_s in self._thawed)

    def _wrong(self, run: Run, num_told: int) -> list[str]:
        """Return what is wrong with the end of one job."""
        if run.state is not RunState.COMPLETED or num_told != 1:
            return [f"{run.id}: {run.state.value} ({run.error}), told {num_told} times that it completed"]
        number = self._accepted.get(run.id)
        if run.finished is not None and run.created is not None:
            self.outcome.slowest_s = max(self.outcome.slowest_s, (run.finished - run.created).total_seconds())
        accepted = self._context.store.jobs.checkpoints(run.id)["publishing"]["made"]["report"]
        try:
            with self._context.artifacts.open(f"results/{number}.txt") as file:
                text = file.read().decode()
        except SightlineError as error:
            return [f"{run.id}: {error}"]
        if f"in/{number}.txt " not in text or accepted.removesuffix(".txt") not in text:
            return [f"{run.id}: its result is another one: {text}"]
        return []

    def _committed(self, run_id: str) -> Mapping[str, tuple[float, int]]:
        """Return when each step was committed, at the latest, and under which token."""
        when = select(checkpoints.c.step, checkpoints.c.recorded, checkpoints.c.token)
        with closing(Transactions(self._world.database)) as transactions, transactions.reading() as connection:
            rows = connection.execute(when.where(checkpoints.c.run_id == run_id)).all()
        return {row.step: (row.recorded.timestamp() + _COMMIT_S, row.token) for row in rows}

    def _all_runs(self) -> list[Run]:
        runs: list[Run] = []
        while page := self._context.store.runs.list(limit=500, after=runs[-1].id if runs else None):
            runs += page
        return runs


def campaign(goals: Goals, kind: str, server: OwnPostgres | None, seed: int) -> Outcome:
    """Break jobs on one kind of database."""
    with tempfile.TemporaryDirectory(prefix="sl-chaos-") as folder:
        url = f"sqlite:///{folder}/store.db" if server is None else server.url
        world = World(Path(folder), url)
        try:
            return Campaign(world, goals, server, seed).run()
        except BaseException:
            for log in sorted(Path(folder).glob("*.log"))[-3:]:
                print(f"{kind} {log.name}:\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
            raise


def row(kind: str, outcome: Outcome) -> str:
    """Return a row of the table."""
    wrong = "nothing" if not outcome.wrong else f"**{len(outcome.wrong)}**"
    cells = (
        kind, outcome.jobs, outcome.kills, outcome.torn, outcome.freezes, outcome.restarts, outcome.twice, outcome.late,
        f"{outcome.slowest_s:.1f} s", f"{outcome.seconds:.0f} s", wrong,
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


HEAD = (
    "| database | jobs | processes killed -9 | steps torn | frozen past the lease | restarts of the database "
    "| steps begun more than once | of them in vain, by one frozen at their door | slowest job | time | wrong |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def main() -> None:
    """Break, print the table, and keep it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--torn", type=int, default=100)
    parser.add_argument("--freezes", type=int, default=10)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    goals = Goals(torn=given.torn, freezes=given.freezes, restarts=given.restarts)
    rows: list[str] = []
    wrong: list[str] = []
    with databases() as found:
        for kind, server in found.items():
            outcome = campaign(goals, kind, server, given.seed)
            rows.append(row(kind, outcome))
            wrong += [f"{kind}: {each}" for each in outcome.wrong]
            print(HEAD + "\n".join(rows), flush=True)
    for each in wrong[:50]:
        print(each, file=sys.stderr)
    text = (
        f"# Chaos\n\n`make chaos`, {datetime.now(UTC):%Y-%m-%d}, seed {given.seed}: {os.cpu_count()} cores, "
        f"lease {LEASE_S} s, {goals.workers} processes, one of them `sightline serve`, of {goals.concurrency} jobs.\n\n"
        f"{HEAD}" + "\n".join(rows) + "\n"
    )
    (ROOT / "benchmarks/results/chaos.md").write_text(text)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
