"""How the results of a job become visible: one accepted set of keys, copied under their public names.

Each attempt writes below keys of its own, so a worker that was frozen past its lease disturbs nobody. Which attempt
counts is decided by one fenced write; whoever copies afterwards, however often, copies the accepted bytes.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping

from sightline.core.errors import NotFound
from sightline.core.ports import ArtifactStore
from sightline.core.prediction import JsonObject
from sightline.core.stores import RunStore

_TYPES = {
    ".nii.gz": "application/gzip",
    ".nii": "application/octet-stream",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".dcm": "application/dicom",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def run_folder(run_id: str) -> str:
    """Return below which keys everything lies that a run puts aside."""
    return f"runs/{run_id}/"


def attempt_folder(run_id: str, token: int) -> str:
    """Return below which keys one attempt writes."""
    return f"{run_folder(run_id)}{token}/"


def results_stem(run_id: str, token: int) -> str:
    """Return the stem under which the sinks of an attempt write."""
    return f"{attempt_folder(run_id, token)}result"


def public_names(made: Mapping[str, str], output: str | None, run_id: str) -> dict[str, str]:
    """Return where what was made is to be seen: word -> key.

    Keys of an attempt get the stem `output` in the place of their own; without one they stay. What a sink put
    elsewhere (a file, an address) stays too.
    """
    return {word: _public(key, output, run_id) for word, key in made.items()}


def published(
    artifacts: ArtifactStore, made: Mapping[str, str], output: str | None, run_id: str
) -> dict[str, JsonObject]:
    """Copy accepted keys to their public names, and return what is there: word -> `key num_bytes media_type`.

    Raises:
        NotFound: an accepted key is gone.
        Unavailable: the store is down.
    """
    files: dict[str, JsonObject] = {}
    for word, name in public_names(made, output, run_id).items():
        key = made[word]
        if not is_of_attempt(key, run_id):
            continue
        if name == key:
            num_bytes = artifacts.size(key)
        else:
            with artifacts.open(key) as file:
                num_bytes = artifacts.put(name, file)
        files[word] = {"key": name, "num_bytes": num_bytes, "media_type": media_type_of(name)}
    return files


def remove_orphans(artifacts: ArtifactStore, runs: RunStore) -> int:
    """Delete what lies in the folders of runs that are recorded no more; return how many objects went.

    Results under names that were wanted (`output`) do not lie there, and stay.
    """
    known: dict[str, bool] = {}
    num = 0
    for key in list(artifacts.list("runs/")):
        run_id = key.split("/")[1]
        if run_id not in known:
            try:
                runs.get(run_id)
                known[run_id] = True
            except NotFound:
                known[run_id] = False
        if not known[run_id]:
            artifacts.delete(key)
            num += 1
    return num


def is_of_attempt(key: str, run_id: str) -> bool:
    """Return whether a key is one under which an attempt of the run wrote a result."""
    return key.startswith(run_folder(run_id))


def media_type_of(key: str) -> str:
    """Return the media type that a key suggests."""
    name = key.lower()
    known = next((kind for suffix, kind in _TYPES.items() if name.endswith(suffix)), None)
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _public(key: str, output: str | None, run_id: str) -> str:
    if output is None or not is_of_attempt(key, run_id):
        return key
    own = key.removeprefix(run_folder(run_id)).partition("/")[2]  # behind the token: result.nii.gz, result/a.png
    return output + own.removeprefix("result")
