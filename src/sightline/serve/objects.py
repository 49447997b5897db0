"""Objects of callers in the artifact store: which keys are theirs, and how a body of gigabytes gets there.

The store also holds what the platform keeps for itself: models, what runs put aside, pictures of events. Callers name
keys below a few folders alone, so no key that is made up leads to those.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Condition, Lock
from typing import BinaryIO

from sightline.core.errors import Cancelled, InvalidInput, Overloaded
from sightline.core.ports import ArtifactStore, checked_key
from sightline.serve.exchange import Exchange

OWN = frozenset({"cache", "captures", "deliveries", "events", "models", "runs", "webhooks"})
"""Folders of the platform; no setting opens them."""

_MOST_LETTERS = 512
_MOST_BYTES = 900  # S3 takes 1024, of which some are the prefix
_WAITING_BYTES = 4 << 20  # of one upload, between the loop and the thread that stores them
_UPLOADS = 8  # at a time; each has a thread and some 32 MiB of the store's


def checked_object(key: str, folders: Sequence[str]) -> str:
    """Return the key of an object of a caller.

    Args:
        key: what he named.
        folders: what his keys may begin with, as `server.object_folders` has them.

    Raises:
        InvalidInput: it is no key, or not below one of the folders.
    """
    checked_key(key)
    if len(key) > _MOST_LETTERS or len(key.encode("utf-8", "replace")) > _MOST_BYTES:
        raise InvalidInput(f"A key has at most {_MOST_LETTERS} letters.", cure="Choose a shorter one.")
    if not key.isprintable() or "\ufffd" in key or any(part != part.strip() for part in key.split("/")):
        raise InvalidInput(
            f"Not a key for objects: {key[:80]!r}.", cure="Leave out control characters, and blanks beside a slash."
        )
    if key.partition("/")[0] in OWN or not any(key.startswith(folder) for folder in open_folders(folders)):
        raise InvalidInput(
            f"{key[:80]!r} is not below {_named(folders)}.", cure="Keys of callers begin so; see server.object_folders."
        )
    return key


def open_folders(folders: Sequence[str]) -> list[str]:
    """Return the folders that are open to callers, each with a slash at its end."""
    found = dict.fromkeys(f"{each.strip('/')}/" for each in folders if each.strip("/"))
    return [each for each in found if each.partition("/")[0] not in OWN]


def version_of(file: BinaryIO, artifacts: ArtifactStore, key: str) -> str:
    """Return the ETag of an open object: another one whenever it was put anew; a weak one where nobody knows."""
    num_bytes = file.seek(0, 2)
    with suppress(OSError, AttributeError, io.UnsupportedOperation):
        seen = os.fstat(file.fileno())
        return f'"{seen.st_mtime_ns:x}-{seen.st_ino:x}-{seen.st_size:x}"'
    checksum = artifacts.checksum(key)
    return f'W/"{num_bytes:x}"' if checksum is None else f'"{checksum[:32]}"'


class Uploads:
    """Puts bodies into the artifact store while they arrive; belongs to one event loop.

    Args:
        artifacts: gives the store.
        most: bytes of one object.
    """

    def __init__(self, artifacts: Callable[[], ArtifactStore], *, most: int) -> None:
        self._artifacts = artifacts
        self._most = most
        self._num = 0
        self._threads = ThreadPoolExecutor(_UPLOADS, thread_name_prefix="upload")

    async def put(self, key: str, exchange: Exchange) -> tuple[int, str]:
        """Store the body of a request, whole or not at all; return its bytes and their SHA-256, hexadecimal.

        Raises:
            TooLarge: it is longer than an object may be.
            Overloaded: others are being stored.
            Cancelled: the caller left.
            StorageFull: there is no room.
        """
        if self._num >= _UPLOADS:
            raise Overloaded(f"{self._num} objects are being uploaded already.", cure="Retry in a moment.")
        self._num += 1
        try:
            return await self._put(key, exchange)
        finally:
            self._num -= 1

    async def _put(self, key: str, exchange: Exchange) -> tuple[int, str]:
        pipe = _Pipe(asyncio.get_running_loop())
        storing: Future[int] = self._threads.submit(self._stored, key, pipe)
        try:
            async for piece in exchange.pieces(self._most, "server.max_upload_mb"):
                if not await pipe.give(piece):
                    break  # it could not be stored: the future says why
            pipe.end()
        except BaseException as error:
            pipe.end(error if isinstance(error, Exception) else Cancelled("The server is being stopped."))
            with suppress(Exception):  # it failed because of this one
                await _settled(storing)
            raise
        return await asyncio.wrap_future(storing), pipe.digest

    def _stored(self, key: str, pipe: _Pipe) -> int:
        try:
            return self._artifacts().put(key, pipe)  # type: ignore[arg-type]  # it is read, and nothing else
        finally:
            pipe.leave()


def _settled(storing: Future[int]) -> Awaitable[int]:
    return asyncio.shield(asyncio.wrap_future(storing))


class _Pipe:
    """What the loop gives and a thread reads; a few MiB between them, so that a slow store slows the sender down.

    Attributes:
        digest: SHA-256 of what was read, hexadecimal.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._error: Exception | None = None
        self._is_ended = self._is_left = False
        self._changed = Condition(Lock())
        self._room = asyncio.Event()
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    async def give(self, piece: bytes) -> bool:
        """Hand a piece over, when there is room; return False where nobody reads any more."""
        with self._changed:
            self._pieces.append(piece)
            self._size += len(piece)
            self._changed.notify()
        while True:
            self._room.clear()
            with self._changed:
                if self._is_left or self._size <= _WAITING_BYTES:
                    return not self._is_left
            await self._room.wait()

    def end(self, error: Exception | None = None) -> None:
        """Say that nothing more comes; with an error, that what came is not whole."""
        with self._changed:
            self._error, self._is_ended = error, True
            self._changed.notify()

    def leave(self) -> None:
        """Read no more."""
        with self._changed:
            self._is_left = True
            self._pieces.clear()
        self._wake()

    def seekable(self) -> bool:
        """What was read is gone."""
        return False

    def read(self, size: int = -1) -> bytes:
        """Return what is there, at most `size` bytes; wait where nothing is; empty at the end.

        Raises:
            Exception: the one with which the loop ended it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._is_ended)
            if self._error is not None:
                raise self._error
            piece = self._pieces.popleft() if self._pieces else b""
            if 0 <= size < len(piece):
                self._pieces.appendleft(piece[size:])
                piece = piece[:size]
            self._size -= len(piece)
        self._hash.update(piece)
        self._wake()
        return piece

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody gives any more
            self._loop.call_soon_threadsafe(self._room.set)


def _named(folders: Sequence[str]) -> str:
    return " or ".join(open_folders(folders)) or "any folder, for none is open to callers"
