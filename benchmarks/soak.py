"""A server under load for a while, with alias swaps and evictions going on: `make soak`.

Starts `sightline serve` with four models of which two fit into `models.memory_mb`, asks it from many connections by
tensors and by photographs, moves an alias all the time, and prints what became of the requests and how memory went.
Ends with 1 when a request failed that the server had accepted. A 503 is a request that it did not accept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx2
import numpy as np
import psutil

MODELS = ("swapped", "first", "second", "third")
MEMORY_MB = 150  # two of the nets, which take about 60 MB each
PHOTOS = Path(__file__).parents[1] / "tests/data/photos"
_URL = re.compile(r"serving (http://\S+) ")


@dataclass
class Tally:
    """What became of the requests.

    Attributes:
        statuses: answers by status.
        failures: what went wrong with requests that were accepted.
        versions: answers of the swapped model by version.
        memory: seconds since the start, and MB that the server held then.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    num_swaps: int = 0
    num_opened: int = 0
    seconds: float = 0.0

    @property
    def slope_mb_min(self) -> float:
        """Growth of memory, MB a minute, by least squares over the second half, when all has been opened once."""
        half = self.memory[len(self.memory) // 2 :]
        times, held = np.array(half).T
        return float(np.polyfit(times / 60, held, 1)[0]) if len(half) > 2 else 0.0

    def report(self) -> str:
        """Return the figures in a few lines."""
        p50, p99 = np.percentile(self.latencies_ms or [0.0], (50, 99))
        total = sum(self.statuses.values())
        held = [each for _, each in self.memory] or [0.0]
        lines = [
            f"{total} requests, {total / self.seconds:.0f}/s for {self.seconds:.0f} s, p50 {p50:.0f} p99 {p99:.0f} ms",
            f"answers: {dict(sorted(self.statuses.items()))}; failed: {len(self.failures)}",
            f"alias moved {self.num_swaps} times; answers by version: {dict(self.versions)}",
            f"models opened {self.num_opened} times",
            f"memory {held[0]:.0f} -> {held[-1]:.0f} MB, at most {max(held):.0f}; {self.slope_mb_min:+.1f} MB/min",
        ]
        return "\n".join([*lines, *self.failures[:10]])


def soak(folder: Path, *, seconds: float, concurrency: int) -> Tally:
    """Run a server with its data in `folder` under load."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "APP_"))},
        "SIGHTLINE_DATA_ROOT": str(folder / "data"),
        "SIGHTLINE_MODELS__MEMORY_MB": str(MEMORY_MB),
        "SIGHTLINE_LOG__LEVEL": "info",
        "NO_COLOR": "1",
    }
    said = folder / "stderr.txt"
    with said.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "sightline", "serve", "--port", "0"],
            cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=err, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        while (found := _URL.search(said.read_text())) is None:
            if process.poll() is not None:
                raise RuntimeError(said.read_text())
            time.sleep(0.02)
        tally = asyncio.run(_load(found[1], process.pid, seconds=seconds, concurrency=concurrency))
        process.terminate()
        if (code := process.wait(60)) != 0:
            tally.failures.append(f"the server ended with {code}")
    finally:
        process.kill()
        process.wait()
    log = said.read_text()
    tally.num_opened = log.count("model opened")
    if "Traceback" in log or "mistake of ours" in log:
        tally.failures.append("the log tells of a mistake of ours: " + log[log.index("mistake of ours") - 100 :][:600])
    return tally


async def _load(url: str, pid: int, *, seconds: float, concurrency: int) -> Tally:
    tally = Tally()
    limits = httpx2.Limits(max_connections=concurrency + 4, max_keepalive_connections=concurrency + 4)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        for name in MODELS:
            config = {"name": name, "file": {"model": "efficientnet-lite0"}, "aliases": ["production"]}
            (await client.post("/api/v1/models", json=config)).raise_for_status()
        config = {"name": "swapped", "file": {"model": "efficientnet-lite0"}, "title": "The second"}
        (await client.post("/api/v1/models", json=config)).raise_for_status()
        begin = time.monotonic()
        end_s = begin + seconds
        numbers = count()
        async with asyncio.TaskGroup() as group:
            group.create_task(_swap(client, tally, end_s))
            group.create_task(_measure(pid, tally, begin, end_s))
            for _ in range(concurrency):
                group.create_task(_ask(client, tally, numbers, end_s))
        tally.seconds = time.monotonic() - begin
    return tally


async def _ask(client: httpx2.AsyncClient, tally: Tally, numbers: count[int], end_s: float) -> None:
    """Ask one thing after the other: mostly the swapped model, sometimes one that has to come back into memory."""
    raw = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32).tobytes()
    photo = (PHOTOS / "goldfish.jpg").read_bytes()
    while time.monotonic() < end_s:
        number = next(numbers)
        model = MODELS[0] if number % 10 else MODELS[1 + number // 10 % 3]
        begin = time.monotonic()
        try:
            if number % 2:
                answer = await client.post(f"/predict?model={model}", content=photo)
            else:
                answer = await _infer(client, model, raw)
        except httpx2.HTTPError as error:
            tally.failures.append(f"{model}: {type(error).__name__}: {error}")
            continue
        tally.latencies_ms.append(1000 * (time.monotonic() - begin))
        tally.statuses[answer.status_code] += 1
        if answer.status_code == 503 and answer.json()["code"] == "overloaded":
            await asyncio.sleep(0.05)
        elif answer.status_code != 200:
            tally.failures.append(f"{model}: {answer.status_code}: {answer.text[:300]}")
        elif model == MODELS[0]:
            version = answer.json()["predictions"]["model"]["model"] if number % 2 else answer.json()["model_version"]
            tally.versions[version.rpartition("@")[2]] += 1


async def _infer(client: httpx2.AsyncClient, model: str, raw: bytes) -> httpx2.Response:
    name = "input"
    described = await client.get(f"/v2/models/{model}") if model not in _INPUTS else None
    if described is not None and described.status_code == 200:
        _INPUTS[model] = described.json()["inputs"][0]["name"]
    name = _INPUTS.get(model, name)
    parameters = {"binary_data_size": len(raw)}
    tensor = {"name": name, "shape": [1, 3, 224, 224], "datatype": "FP32", "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    return await client.post(
        f"/v2/models/{model}/infer",
        content=head + raw,
        headers={"Inference-Header-Content-Length": str(len(head))},
    )


_INPUTS: dict[str, str] = {}


async def _swap(client: httpx2.AsyncClient, tally: Tally, end_s: float) -> None:
    """Move the alias to and fro, as somebody who cannot decide."""
    version = 1
    while time.monotonic() < end_s:
        await asyncio.sleep(1.0)
        version = 3 - version
        answer = await client.post("/api/v1/models/swapped/aliases/production", json={"version": str(version)})
        if answer.status_code != 200:
            tally.failures.append(f"alias: {answer.status_code}: {answer.text[:300]}")
        tally.num_swaps += 1


async def _measure(pid: int, tally: Tally, begin: float, end_s: float) -> None:
    process = psutil.Process(pid)
    while time.monotonic() < end_s:
        tally.memory.append((time.monotonic() - begin, process.memory_info().rss / 1e6))
        await asyncio.sleep(0.25)


def main() -> int:
    """Run, and print the figures."""
    parser = argparse.ArgumentParser(description="Put a server under load for a while.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--concurrency", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = soak(Path(folder), seconds=given.seconds, concurrency=given.concurrency)
    sys.stdout.write(tally.report() + "\n")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
