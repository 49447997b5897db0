"""What was computed before, by what it was computed of: arrays in the artifact store.

A key is a digest of everything that the answer depends on, so that an entry is never wrong, only unused; entries go
when they are old or when there are too many. A damaged entry counts as absent.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from importlib.metadata import version
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
import structlog

from sightline.core.errors import NotFound, SightlineError
from sightline.core.ports import ArtifactStore
from sightline.packs.medical.rooms import pieces, room

log = structlog.get_logger()
REVISION = 2
"""Raised when the code gives another answer for the same key."""

PREFIX = "cache/medical/"
_DTYPES = ("uint8", "float16")
_MAX_HEAD = 1 << 16
_MAX_VOXELS = 1 << 33
_BROKEN = (OSError, EOFError, ValueError, KeyError, TypeError)


def content_digest(voxels_IJK: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> str:
    """Return a digest of voxels and their place: of equal pixels in other containers it is the same."""
    total = blake2b(digest_size=32)
    total.update(f"{list(voxels_IJK.shape)} {voxels_IJK.dtype.newbyteorder('<').str}".encode())
    total.update(np.ascontiguousarray(affine, "<f8").tobytes())
    for part in pieces(voxels_IJK.shape):
        piece = np.ascontiguousarray(voxels_IJK[part])
        total.update(piece.astype(piece.dtype.newbyteorder("<"), copy=False).data)
    return total.hexdigest()


def cache_key(kind: str, **facts: Any) -> str:
    """Return the key of what `facts` (as JSON) and this version of the code lead to."""
    facts |= {"revision": REVISION, "code": version("sightline")}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return f"{PREFIX}{kind}/{blake2b(text.encode(), digest_size=20).hexdigest()}"


class ContentCache:
    """Arrays under keys of `cache_key`.

    Args:
        artifacts: where they are kept.
        max_bytes: of all entries together; 0 keeps none.
        max_age: older entries go.
        now: the time in UTC.
    """

    def __init__(self, artifacts: ArtifactStore, *, max_bytes: int, max_age: timedelta, now: Any = None) -> None:
        self._artifacts = artifacts
        self._max_bytes, self._max_age = max_bytes, max_age
        self._now = now or (lambda: datetime.now(UTC))

    def get(self, key: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays that were put under `key`, or None."""
        if not self._max_bytes:
            return None
        try:
            with self._artifacts.open(key) as file:
                return _read(file)
        except NotFound:
            return None
        except (SightlineError, *_BROKEN) as error:
            log.warning("cache entry is passed over", key=key, error=type(error).__name__)
            return None

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep arrays (uint8 or float16), then make room; a store that is full or away keeps nothing."""
        if not self._max_bytes:
            return
        try:
            with tempfile.TemporaryFile(prefix="sightline-") as file:
                _write(cast("BinaryIO", file), arrays)
                if file.tell() > self._max_bytes:
                    return
                file.seek(0)
                self._artifacts.put(key, cast("BinaryIO", file))
            self.prune()
        except (SightlineError, OSError) as error:
            log.warning("cache entry was not kept", key=key, error=str(error))

    def prune(self) -> int:
        """Remove entries that are too old, then the oldest above the limit; return how many went."""
        entries = sorted(
            self._artifacts.entries(PREFIX), key=lambda entry: entry.modified or datetime.min.replace(tzinfo=UTC)
        )
        total, oldest, gone = sum(entry.num_bytes for entry in entries), self._now() - self._max_age, 0
        for entry in entries:
            too_old = entry.modified is not None and entry.modified < oldest
            if not too_old and total <= self._max_bytes:
                continue
            with suppress(NotFound):
                self._artifacts.delete(entry.key)
            total -= entry.num_bytes
            gone += 1
        return gone


def _write(file: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a line of JSON and the arrays behind it, compressed piece by piece."""
    from isal import igzip  # of the extra; 5 times as fast as the stdlib's

    head = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()}
    with cast("Any", igzip).IGzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
        packed.write(json.dumps(head).encode() + b"\n")
        for array in arrays.values():
            for volume in array if array.ndim == 4 else [array]:
                for part in pieces(volume.shape):
                    packed.write(np.ascontiguousarray(volume[part]).astype(volume.dtype.newbyteorder("<")).data)


def _read(file: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    from isal import igzip  # of the extra

    arrays: dict[str, npt.NDArray[Any]] = {}
    with cast("Any", igzip).IGzipFile(fileobj=file, mode="rb") as packed:
        for name, (dtype, shape) in json.loads(packed.readline(_MAX_HEAD)).items():
            sides = tuple(int(side) for side in shape)
            if dtype not in _DTYPES or len(sides) not in (3, 4) or not 0 < math.prod(sides) <= _MAX_VOXELS:
                raise ValueError(f"an array {dtype} {list(sides)}")
            array = room(sides, np.dtype(dtype).newbyteorder("<"))
            for volume in array if array.ndim == 4 else [array]:
                for part in pieces(volume.shape):
                    target = cast("memoryview", volume[part].data).cast("B")
                    if packed.readinto(target) != len(target):
                        raise EOFError(name)
            arrays[name] = array.astype(dtype, copy=False)
    return arrays
