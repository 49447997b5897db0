"""Bytes by key in a local folder, in memory or in an S3 bucket: one class over obstore.

Knows how each of them fails; knows nothing of what the bytes mean.
"""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import LocalStore, MemoryStore, S3Store

from sightline.core.errors import (
    ConfigError,
    Conflict,
    InvalidInput,
    NotFound,
    SightlineError,
    StorageFull,
    Unavailable,
)
from sightline.core.ports import ArtifactStore, checked_key
from sightline.core.urls import redacted

PIECE_BYTES = 8 << 20  # S3 takes parts of at least 5 MiB and at most 10,000 of them: up to 80 GB an object
MAX_PIECES_IN_FLIGHT = 3  # together about 32 MiB of memory for one `put`
_READ_AHEAD_BYTES = 1 << 20
_MAX_FOLDERS = 4096

# errno of a full disk, of a spent quota and of a file size limit, and what S3 servers say in their place
_FULL = re.compile(r"\(os error (28|122|27)\)|XMinioStorageFull|QuotaExceeded|507 Insufficient|EntityTooLarge")
_FULL_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = re.compile(r"\(os error (1|13|30)\)|40[13] (Forbidden|Unauthorized)")
_NO_BUCKET = re.compile(r"404 Not Found|NoSuchBucket")
_NO_FOLDER = re.compile(r"\(os error 20\)")
_IS_FOLDER = re.compile(r"\(os error (21|39)\)|is directory")
_TOO_LONG = re.compile(r"(os error|Errno) 36\b")
_UNKEPT = re.compile(r"[\x00-\x1f\x7f]|#\d+$")  # obstore names its unfinished local files `key#1`


class ObjectStore(ArtifactStore):
    """Keys are files below a folder, or objects below a prefix of a bucket.

    Args:
        url: a folder (`/srv/artifacts` or `file:///srv/artifacts`), `memory://`, or `s3://bucket/prefix`.
        endpoint: address of an S3 server that is not Amazon's; plain `http://` only with `allow_http`.
        access_key: user name at the S3 server; without one the ways of the AWS tools are tried.
        secret_key: the password to it.
        region: region of the bucket.
        allow_http: talk to `endpoint` without TLS.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str | None = None,
        allow_http: bool = False,
    ) -> None:
        self._name = redacted(url)
        self._root: Path | None = None
        self._folders: set[str] = set()
        scheme = urlsplit(url).scheme if "://" in url else "file"
        if scheme == "memory":
            self._store: Any = MemoryStore()
        elif scheme == "s3":
            options = {
                "endpoint": endpoint,
                "access_key_id": access_key,
                "secret_access_key": secret_key,
                "region": region or ("us-east-1" if endpoint else None),
            }
            self._store = _s3_store(url, {key: value for key, value in options.items() if value}, allow_http)
        elif scheme == "file":
            self._root = Path(url2pathname(urlsplit(url).path) if "://" in url else url).absolute()
            try:
                # Empty folders go with their last file, so that their name is free again for a key.
                self._store = LocalStore(self._root, mkdir=True, automatic_cleanup=True)
            except (BaseError, OSError) as error:
                raise ConfigError(
                    f"The artifacts cannot be kept in {self._root}: {error}",
                    cure="Name a folder that this user may write.",
                ) from None
        else:
            raise ConfigError(
                f"Artifacts cannot be kept at {self._name}.", cure="Use a folder, memory:// or s3://bucket/prefix"
            )

    def put(self, key: str, data: BinaryIO | bytes) -> int:
        """Write in pieces; a failure leaves what was there.

        Raises:
            Conflict: the key is the folder of another key, or another key is its folder.
            ConfigError: the store refuses us.
        """
        path = _path(key)
        pieces = _pieces(io.BytesIO(data) if isinstance(data, bytes) else data)
        first, second = next(pieces, b""), next(pieces, None)
        try:
            self._refuse_nesting(path)
            if second is None:
                obstore.put(self._store, path, first, use_multipart=False)
                return len(first)
            counted = _Counted(chain((first, second), pieces))
            obstore.put(self._store, path, counted, chunk_size=PIECE_BYTES, max_concurrency=MAX_PIECES_IN_FLIGHT)
        except (BaseError, OSError) as error:
            if _NO_FOLDER.search(str(error)) or _IS_FOLDER.search(str(error)):
                raise _nested(path) from None
            if isinstance(error, FileNotFoundError):
                raise self._missing() from None
            raise self._translated(key, error) from None
        return counted.num_bytes

    def open(self, key: str) -> BinaryIO:
        """Return a stream that reads by range, 1 MiB ahead.

        A remote object that is replaced meanwhile gives Unavailable, never a mixture of old and new bytes.
        """
        path = _path(key)
        if self._root is not None:
            # The file itself: no copy between, and the old bytes stay readable when the key is replaced.
            try:
                return (self._root / path).open("rb")
            except OSError as error:
                raise self._translated(key, error) from None
        head = self._head(key)
        raw = _Ranges(self, key, head["size"], head["e_tag"])
        return io.BufferedReader(raw, _READ_AHEAD_BYTES)

    def size(self, key: str) -> int:
        """Return the number of bytes."""
        return int(self._head(key)["size"])

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys in the order of their code points; all names are held in memory, as servers order otherwise.

        Raises:
            InvalidInput: the folder in `prefix` is no key.
        """
        folder = prefix.rpartition("/")[0]
        if folder:
            _path(folder)
        try:
            found = [
                entry["path"]
                for entries in obstore.list(self._store, folder or None)
                for entry in entries
                if entry["path"].startswith(prefix) and not _is_hidden(entry["path"])
            ]
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._translated(prefix, error) from None
        yield from sorted(found)

    def delete(self, key: str) -> None:
        """Remove the bytes at the key, and folders that are empty then."""
        path = _path(key)
        try:
            obstore.delete(self._store, path)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            if not (_NO_FOLDER.search(str(error)) or _IS_FOLDER.search(str(error))):
                raise self._translated(key, error) from None

    def read_range(self, key: str, start: int, end: int, e_tag: str | None) -> bytes:
        """Return the bytes from `start` to before `end` of the object that has this tag.

        Raises:
            Unavailable: the object was replaced.
        """
        try:
            return bytes(obstore.get(self._store, key, options={"range": (start, end), "if_match": e_tag}).bytes())
        except (BaseError, OSError) as error:
            raise self._translated(key, error) from None

    def _head(self, key: str) -> Any:
        path = _path(key)
        try:
            return obstore.head(self._store, path)
        except (BaseError, OSError) as error:
            raise self._translated(key, error) from None

    def _refuse_nesting(self, path: str) -> None:
        """Keep the rule of folders where the store has none; a local disk keeps it by itself, but says so badly."""
        if self._root is not None:
            if (self._root / path).is_dir():
                raise _nested(path)
            return
        if len(self._folders) > _MAX_FOLDERS:
            self._folders.clear()
        self._folders.discard(path)
        if any(entries for entries in obstore.list(self._store, path, chunk_size=1)):
            raise _nested(path)
        for end in (found.start() for found in re.finditer("/", path)):
            folder = path[:end]
            if folder not in self._folders:
                try:
                    obstore.head(self._store, folder)
                except FileNotFoundError:
                    self._folders.add(folder)
                else:
                    raise _nested(path)

    def _translated(self, key: str, error: Exception) -> SightlineError:
        """Return our error for one of the store's."""
        text, first_line = str(error), str(error).partition("\n")[0][:300]
        full = _FULL.search(text) or (isinstance(error, OSError) and error.errno in _FULL_ERRNO)
        denied = isinstance(error, PermissionError | PermissionDeniedError | UnauthenticatedError)
        ours: SightlineError
        if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError) or _NO_FOLDER.search(text):
            ours = NotFound(f"Nothing is stored at {key!r} in {self._name}.")
        elif full:
            ours = StorageFull(f"There is no room for {key!r} in {self._name}.", cure="Free some space there.")
        elif denied or _DENIED.search(text):
            ours = ConfigError(f"{self._name} refuses {key!r}: {first_line}", cure="Check its keys and permissions.")
        elif _NO_BUCKET.search(text):
            ours = self._missing()
        elif isinstance(error, PreconditionError):
            ours = Unavailable(f"{key!r} in {self._name} was replaced while it was read.", cure="Open it again.")
        elif _TOO_LONG.search(text):
            ours = InvalidInput(f"Not a store key: {key!r} is too long.", cure="Use at most 200 bytes between slashes.")
        else:
            ours = Unavailable(f"{self._name} does not answer for {key!r}: {first_line}", cure="Try again later.")
        return ours

    def _missing(self) -> ConfigError:
        return ConfigError(f"{self._name} does not exist.", cure="Make the bucket or folder first.")


class _Ranges(io.RawIOBase):
    """The bytes of an object, asked for range by range."""

    def __init__(self, store: ObjectStore, key: str, size: int, e_tag: str | None) -> None:
        super().__init__()
        self._store, self._key, self._size, self._e_tag = store, key, size, e_tag
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._read(min(len(view), self._size - self._position))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self._read(self._size - self._position)

    def _read(self, num_bytes: int) -> bytes:
        if num_bytes <= 0:
            return b""
        data = self._store.read_range(self._key, self._position, self._position + num_bytes, self._e_tag)
        self._position += len(data)
        return data


class _Counted:
    """Pieces on their way, and how many bytes they were."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.num_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.num_bytes += len(piece)
            yield piece


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield pieces of PIECE_BYTES, the last one shorter; a stream may give less than was asked for."""
    piece = bytearray()
    while data := file.read(PIECE_BYTES - len(piece)):
        piece += data
        if len(piece) == PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _path(key: str) -> str:
    """Return the key as the store's path.

    Raises:
        InvalidInput: it is no key, or one that not every kind of store can keep.
    """
    if _UNKEPT.search(checked_key(key)):
        raise InvalidInput(f"Not a store key: {key!r}.", cure="Leave out control characters, and '#1' at the end.")
    return key


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _nested(key: str) -> Conflict:
    return Conflict(f"{key!r} cannot be a key: no key may be the folder of another key.", cure="Choose another key.")


def _s3_store(url: str, options: Any, allow_http: bool) -> Any:
    parts = urlsplit(url)
    if not parts.hostname or parts.username:
        raise ConfigError(f"No bucket can be read from {redacted(url)}.", cure="Write s3://bucket/prefix")
    endpoint = options.get("endpoint", "")
    if endpoint.startswith("http://") and not allow_http:
        raise ConfigError(f"The S3 server {endpoint} has no TLS.", cure="Use https://, or allow plain HTTP.")
    try:
        return S3Store(
            parts.hostname,
            prefix=parts.path.strip("/") or None,
            config=options,
            # Without these a dead server is asked for three minutes.
            client_options={"connect_timeout": "5s", "timeout": "120s", "allow_http": allow_http},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
        )
    except (BaseError, OSError, ValueError) as error:
        raise ConfigError(f"{redacted(url)} cannot be used: {str(error).partition(chr(10))[0]}") from None
