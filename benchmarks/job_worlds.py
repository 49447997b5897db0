"""Worlds for measuring and breaking jobs: cases whose steps keep a journal outside, a PostgreSQL of one's own, workers.

Knows the command line and the address of a database, nothing of the engine.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]

PLUGINS = """
import os
import random
import time
from dataclasses import dataclass

from sightline.core.plugins import Predictor, Sink, Source
from sightline.core.prediction import Scalar
from sightline.core.sample import Clocks, Sample, Text


def note(context, step, what):
    path = os.environ.get("JOURNAL")
    if not path:
        return
    token = context.results.split("/")[2]
    line = f"{time.time():.6f} {what} {context.run} {step} {token} {os.getpid()}\\n".encode()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, line)
    os.fsync(file)
    os.close(file)


def work(context, step):
    note(context, step, "begin")
    least, most = (float(each) for each in os.environ.get("STEP_S", "0,0").split(","))
    if most:
        time.sleep(random.uniform(least, most))
    note(context, step, "end")


@dataclass(kw_only=True)
class Whole(Source):
    \"\"\"A text as one sample.\"\"\"

    def load(self, file, name, media_type):
        work(self.context, "reading")
        clocks = Clocks(pts_s=None, monotonic_s=0.0, wall=self.context.now())
        yield Sample(payload=Text(file.read().decode()), source="", seq=0, clocks=clocks)


@dataclass(kw_only=True)
class Length(Predictor):
    \"\"\"Length of a text.\"\"\"

    step: str = "one"

    def predict(self, samples):
        work(self.context, self.step)
        return [Scalar(name=self.step, value=len(sample.payload.text)) for sample in samples]


@dataclass(kw_only=True)
class Report(Sink):
    \"\"\"The lengths as a text, and who wrote it.\"\"\"

    def write(self, samples):
        work(self.context, "report")
        values = {key: each.value for key, each in samples[0].predictions.items()}
        self._key = self.context.results + ".txt"
        text = f"{self.context.object} {values} {self.context.results} {os.getpid()}"
        self.context.ports.artifacts.put(self._key, text.encode())

    @property
    def made(self):
        return {"report": self._key}
"""
STEPPED = """
sources: {whole: {use: Whole}}
input: whole
stages: {analytics: {one: {use: Length, step: one}, two: {use: Length, step: two}}}
sinks: [{use: Report}]
"""
EMPTY = """
sources: {whole: {use: Whole}}
input: whole
stages: {analytics: {}}
"""


@dataclass
class World:
    """A folder with two cases, `stepped` and `empty`, a database, and processes on it."""

    folder: Path
    database: str
    settings: Mapping[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, manifest in (("stepped", STEPPED), ("empty", EMPTY)):
            case = self.folder / "cases" / name
            case.mkdir(parents=True, exist_ok=True)
            (case / "case.yaml").write_text(manifest)
            (case / "plugins.py").write_text(PLUGINS)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the commands, without settings of whoever runs this."""
        ours = ("SIGHTLINE_", "MMLA_", "APP_", "MINIO_", "ML_", "MODEL_", "BACKEND_", "BLUEPRINT_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        own = {
            "SIGHTLINE_DATA_ROOT": str(self.folder / "data"),
            "SIGHTLINE_CASES_ROOT": str(self.folder / "cases"),
            "SIGHTLINE_DATABASE__URL": self.database,
            "NO_COLOR": "1",
        }
        return {**kept, **own, **self.settings}

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Begin `sightline worker`."""
        return self.begin("worker", *options)

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Begin a command; what it says is in a log of its own."""
        log = (self.folder / f"process-{len(self.processes):03}.log").open("wb")
        command = [sys.executable, "-m", "sightline", *arguments]
        with log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """End all processes that were begun here."""
        for process in self.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


class OwnPostgres:
    """A PostgreSQL server of this run alone, which may be killed and begun again.

    Raises:
        FileNotFoundError: Debian's PostgreSQL is not installed.
    """

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            raise FileNotFoundError("no PostgreSQL: apt-get install postgresql")
        self._bin = found[-1].parent
        self._user = _plain_user()
        self._folder = Path(tempfile.mkdtemp(prefix="sl-pg-"))
        self.port = _free_port()
        self._data = self._folder / "data"
        if self._user:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._folder.chmod(0o755)
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C")
        self.start()

    @property
    def url(self) -> str:
        """The address of its database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Begin it, and wait until it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-o", options, "-l", log, "-w", "-t", "60", "start")

    def restart(self) -> None:
        """End it at once, as a crash does, and begin it again."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")
        self.start()

    def close(self) -> None:
        """End it and throw its data away."""
        with suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        as_user = ["setpriv", "--reuid", self._user, "--regid", self._user, "--clear-groups"] if self._user else []
        subprocess.run(
            [*as_user, str(self._bin / program), *arguments],
            check=True,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )


@contextmanager
def databases() -> Iterator[Mapping[str, OwnPostgres | None]]:
    """Give the kinds of databases that there are here: SQLite, and a PostgreSQL of one's own."""
    server: OwnPostgres | None = None
    try:
        server = OwnPostgres()
    except FileNotFoundError as error:
        print(f"without PostgreSQL: {error}", file=sys.stderr)
    try:
        yield {"SQLite": None} | ({} if server is None else {"PostgreSQL": server})
    finally:
        if server is not None:
            server.close()


def wait_until(holds: Callable[[], object], timeout_s: float, what: str) -> None:
    """Wait until a function says yes.

    Raises:
        TimeoutError: it did not in time.
    """
    end_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end_s:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.02)


def _plain_user() -> str:
    """Return the user as whom PostgreSQL runs: it refuses to be root; empty: as we are."""
    if os.getuid() != 0:
        return ""
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise FileNotFoundError("no user as whom PostgreSQL could run")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
