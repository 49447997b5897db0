"""One large object through a real S3 server: speed, memory, and what the checksum costs. `make bench-store`.

The server (SeaweedFS) is on the same cores and disk as the client, so the figures say what the client costs, not what a
network gives. Memory is what the process grew by, beyond an object of 9 MiB that went the same way before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.page import RESULTS, page
from tests.seaweed import make_bucket, seaweed

MOST_MIB = 64
_CLIENT = """
import json, resource, sys, time
from sightline.adapters.artifacts import ObjectStore
endpoint, user, secret, num_MiB = sys.argv[1:]
store = ObjectStore("s3://bench", endpoint=endpoint, access_key=user, secret_key=secret, allow_http=True)

class Stream:
    def __init__(self, num_MiB):
        self.left = num_MiB << 20
    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

def rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def read(key):
    got = 0
    with store.open(key) as file:
        while data := file.read(1 << 20):
            got += len(data)
    return got

store.put("warm", Stream(9)), read("warm")
told = {}
for name, act in (("put", lambda: store.put("large", Stream(int(num_MiB)))), ("read", lambda: read("large"))):
    before, begin, cpu_s = rss(), time.perf_counter(), cpu()
    assert act() == int(num_MiB) << 20
    told[name] = [time.perf_counter() - begin, cpu() - cpu_s, rss() - before]
assert store.checksum("large")
print(json.dumps(told))
"""


def main() -> None:
    """Measure, write the table, and fail where memory grew."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, seaweed(Path(folder)) as server:
        make_bucket(server, "bench")
        for num_mib in (64, 1024):
            command = [sys.executable, "-c", _CLIENT, server.endpoint, server.access_key, server.secret_key]
            done = subprocess.run([*command, str(num_mib)], capture_output=True, text=True, check=True)
            for name, (wall_s, cpu_s, grown_mib) in json.loads(done.stdout).items():
                rows.append((name, num_mib, wall_s, cpu_s, grown_mib))
    columns = ("", "MiB", "MiB/s", "CPU of the client, s/GiB", "memory grew by, MiB")
    cells = [
        (name, f"{num}", f"{num / wall_s:.0f}", f"{cpu_s * 1024 / num:.1f}", f"{grown}")
        for name, num, wall_s, cpu_s, grown in rows
    ]
    note = "; the server on the same cores."
    text = page("One large object through S3", "make bench-store", note, columns, cells)
    (RESULTS / "object_store.md").write_text(text)
    print(text)
    if any(grown > MOST_MIB for *_, grown in rows):
        sys.exit("memory grows with the object")


if __name__ == "__main__":
    main()
