"""Answers that were given, by what was asked: for callers who ask the same thing again.

Knows bytes only. A key must hold everything that the answer depends on: the input, which models answer, and how they
were asked.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from threading import Lock
from typing import Any

_OVERHEAD = 200  # bytes that an entry costs beside its value


class AnswerCache:
    """The answers of the last requests, the longest unused forgotten first. May be used by several threads.

    Args:
        max_bytes: most memory for keys and answers; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def __bool__(self) -> bool:
        """Return whether answers are kept at all."""
        return self._max_bytes > 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def num_bytes(self) -> int:
        """Memory that is in use."""
        return self._bytes

    @staticmethod
    def key(*parts: bytes | memoryview | str) -> bytes:
        """Return a key for what was asked: the input, the models with their digests, the parameters."""
        digest = blake2b(digest_size=32)
        for part in parts:
            data = part.encode() if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "big"))  # so that "ab", "c" is not "a", "bc"
            digest.update(data)
        return digest.digest()

    def get(self, key: bytes) -> Any | None:
        """Return the answer that was put under `key`, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: bytes, value: Any, size: int) -> None:
        """Keep an answer of `size` bytes; one that is larger than all the memory is not kept."""
        size += len(key) + _OVERHEAD
        with self._lock:
            _, before = self._kept.pop(key, (None, 0))
            self._bytes -= before
            if size > self._max_bytes:
                return
            self._kept[key] = value, size
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
