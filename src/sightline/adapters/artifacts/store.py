"""The store itself. Knows what each kind of place can do; nothing of what the bytes mean.

An S3 object carries the SHA-256 of what was put: a small one as `sha256` of its metadata, one that was put in parts,
whose sum is known when it is there, beside it under `.sha256/`, together with the tag of the object that it is of.
A folder keeps none: disks have checks of their own.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from sightline.adapters.artifacts.failures import is_nesting, missing, nested, translated, tried
from sightline.adapters.artifacts.pieces import PIECE_BYTES, Sent, pieces_of
from sightline.adapters.artifacts.reading import Ranges
from sightline.core.codec import from_json, to_json
from sightline.core.errors import ConfigError, InvalidInput, NotFound, SightlineError, Unavailable
from sightline.core.ports import ArtifactStore, Stored, checked_key
from sightline.core.urls import redacted

MAX_PIECES_IN_FLIGHT = 3  # together about 32 MiB of memory for one `put`
_BUFFER_BYTES = 64 << 10
_MAX_FOLDERS = 4096
_RETRIES = 5  # of one request, by obstore
_BACKOFF = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2)}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SUMS = ".sha256/"  # hidden, for no key begins with a dot
_TIMEOUT = timedelta(seconds=60)  # three parts at once by a line of 3.4 Mbit/s
_PATIENCE = timedelta(seconds=10)

_UNKEPT = re.compile(r"[\x00-\x1f\x7f]|#\d+$")  # obstore names its unfinished local files `key#1`


T = TypeVar("T")


class ObjectStore(ArtifactStore):
    """Keys are files below a folder, or objects below a prefix of a bucket.

    Args:
        url: a folder (`/srv/artifacts` or `file:///srv/artifacts`), `memory://`, or `s3://bucket/prefix`.
        endpoint: address of an S3 server that is not Amazon's; plain `http://` only with `allow_http`.
        access_key: user name at the S3 server; without one the ways of the AWS tools are tried.
        secret_key: the password to it.
        region: region of the bucket.
        allow_http: talk to `endpoint` without TLS.
        timeout: how long a server may take for one request of at most 8 MiB.
        patience: how long an S3 server that does not answer, or answers with an error of its own, is asked again
            before it is Unavailable.

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
        timeout: timedelta = _TIMEOUT,
        patience: timedelta = _PATIENCE,
    ) -> None:
        self._name = redacted(url)
        self._patience_s = 0.0
        self._is_seen = False  # has the bucket answered yet?
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
            given = {key: value for key, value in options.items() if value}
            self._store = _s3_store(url, given, allow_http, timeout, patience)
            self._patience_s = patience.total_seconds()
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

        An S3 server that fails is asked again. Only a stream that cannot be set back, and of which a part did not
        arrive in spite of that, has to be put again by the caller.

        Raises:
            Conflict: the key is the folder of another key, or another key is its folder.
            ConfigError: the store refuses us.
        """
        path = _path(key)
        self._ask(key, partial(self._refuse_nesting, path))
        stream = io.BytesIO(data) if isinstance(data, bytes) else data
        start = stream.tell() if self._is_remote and getattr(stream, "seekable", bool)() else None
        pieces = pieces_of(stream)
        first, second = next(pieces, b""), next(pieces, None)
        if second is None:
            self._ask(key, partial(self._put_whole, path, first))
            return len(first)
        sent = Sent(chain((first, second), pieces), hashed=self._is_remote)
        for is_last in (start is None, start is None, True):
            try:
                tag = self._ask(key, partial(self._put_parts, path, sent))
                break
            except Unavailable as error:
                if is_last or type(error) is not Unavailable:
                    raise
            stream.seek(start or 0)
            sent = Sent(pieces_of(stream), hashed=True)
        if self._is_remote:
            kept = to_json({"sha256": sent.digest, "e_tag": tag})
            self._ask(key, lambda: obstore.put(self._store, _SUMS + path, kept, use_multipart=False))
        return sent.num_bytes

    def open(self, key: str) -> BinaryIO:
        """Return a stream that reads by range, 1 to 8 MiB ahead.

        A remote object that is replaced meanwhile gives Unavailable, one that is deleted NotFound, never a mixture
        of old and new bytes. One that is read from end to end is compared with the checksum of what was put, where
        the store has it; Unavailable, before the last bytes are given, where it is damaged.
        """
        path = _path(key)
        if self._root is not None:
            # The file itself: no copy between, and the old bytes stay readable when the key is replaced.
            try:
                return (self._root / path).open("rb")
            except OSError as error:
                raise translated(key, self._name, error) from None
        head = self._head(key)

        def check(found: str) -> None:
            if self._kept(key, head) not in {None, found}:
                raise Unavailable(
                    f"{key!r} in {self._name} is damaged: its checksum is not that of what was put.",
                    cure="Put it there again.",
                )

        raw = Ranges(partial(self._range, key, head.meta["e_tag"]), head.meta["size"], PIECE_BYTES, check)
        return io.BufferedReader(raw, _BUFFER_BYTES)

    def size(self, key: str) -> int:
        """Return the number of bytes."""
        return int(self._head(key).meta["size"])

    def checksum(self, key: str) -> str | None:
        """Return the SHA-256 of what was put; None in a folder, and for what another program has put."""
        return self._kept(key, self._head(key))

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys in the order of their code points; all names are held in memory, as servers order otherwise.

        Raises:
            InvalidInput: the folder in `prefix` is no key.
        """
        yield from (entry.key for entry in self.entries(prefix))

    def entries(self, prefix: str = "") -> Iterator[Stored]:
        """Yield what is stored, in the order of `list`; one question for all."""
        folder = prefix.rpartition("/")[0]
        if folder:
            _path(folder)

        def found() -> Iterator[Stored]:
            for entries in obstore.list(self._store, folder or None):
                for entry in entries:
                    if entry["path"].startswith(prefix) and not _is_hidden(entry["path"]):
                        size = int(entry["size"])
                        yield Stored(key=entry["path"], num_bytes=size, modified=entry["last_modified"])

        try:
            yield from self._ask(prefix, lambda: sorted(found(), key=attrgetter("key")))
        except NotFound:
            return

    def delete(self, key: str) -> None:
        """Remove the bytes at the key, and folders that are empty then."""
        path = _path(key)

        def act() -> None:
            try:
                obstore.delete(self._store, [path, _SUMS + path] if self._is_remote else path)
            except FileNotFoundError:
                return
            except (BaseError, OSError) as error:
                if not is_nesting(error):
                    raise

        self._ask(key, act)

    @property
    def _is_remote(self) -> bool:
        return isinstance(self._store, S3Store)

    def _ask(self, key: str, act: Callable[[], T]) -> T:
        """Return what `act` gives, tried again where that may help; its errors become ours."""
        done = tried(act, key, self._name, self._patience_s)
        self._is_seen = True
        return done

    def _put_whole(self, path: str, data: bytes) -> None:
        carried = {"sha256": hashlib.sha256(data).hexdigest()} if self._is_remote else None
        try:
            obstore.put(self._store, path, data, use_multipart=False, attributes=carried)
        except (BaseError, OSError) as error:
            self._refuse(path, error)
            raise

    def _put_parts(self, path: str, sent: Sent) -> str | None:
        """Put in parts and return the tag; an error of obstore means that no piece is gone yet."""
        try:
            done = obstore.put(self._store, path, sent, chunk_size=PIECE_BYTES, max_concurrency=MAX_PIECES_IN_FLIGHT)
        except (BaseError, OSError) as error:
            self._refuse(path, error)
            if not sent.num_bytes:
                raise
            if self._is_remote and sent.is_whole and (tag := self._arrived(path, sent)):
                return tag
            raise translated(path, self._name, error) from None
        return done["e_tag"]

    def _arrived(self, path: str, sent: Sent) -> str | None:
        """Return the tag where all has arrived, and only the answer to the last request has not."""
        try:
            head = self._head(path)
            if head.meta["size"] != sent.num_bytes:
                return None
            digest = hashlib.sha256()
            for start in range(0, sent.num_bytes, PIECE_BYTES):
                digest.update(self._range(path, head.meta["e_tag"], start, min(start + PIECE_BYTES, sent.num_bytes)))
        except SightlineError:
            return None
        return head.meta["e_tag"] if digest.hexdigest() == sent.digest else None

    def _refuse(self, path: str, error: Exception) -> None:
        """Say in our words what only happens to those who write."""
        if is_nesting(error):
            raise nested(path) from None
        if isinstance(error, FileNotFoundError):
            raise missing(self._name) from None

    def _head(self, key: str) -> Any:
        """Return what is told of the object: `meta` and `attributes`."""
        path = _path(key)

        def act() -> Any:
            try:
                return obstore.get(self._store, path, options={"head": True})
            except FileNotFoundError:
                if (
                    self._is_remote and not self._is_seen
                ):  # a HEAD does not tell whether it is the bucket that is absent
                    next(iter(obstore.list(self._store, path, chunk_size=1)), None)
                raise

        return self._ask(key, act)

    def _range(self, key: str, tag: str | None, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end` of the object that has this tag."""
        options: Any = {"range": (start, end), "if_match": tag}
        try:
            return self._ask(key, lambda: bytes(obstore.get(self._store, key, options=options).bytes()))
        except NotFound:
            raise NotFound(
                f"{key!r} in {self._name} was deleted while it was read.", cure="Put it there again."
            ) from None

    def _kept(self, key: str, head: Any) -> str | None:
        """Return the checksum that is kept of the object."""
        if not self._is_remote:
            return None
        found = head.attributes.get("sha256")
        if found is None:
            try:
                kept = from_json(self._ask(key, lambda: bytes(obstore.get(self._store, _SUMS + key).bytes())))
                found = kept["sha256"] if kept["e_tag"] == head.meta["e_tag"] else None
            except (NotFound, InvalidInput, KeyError, TypeError):
                return None
        return found if isinstance(found, str) and _SHA256.fullmatch(found) else None

    def _refuse_nesting(self, path: str) -> None:
        """Keep the rule of folders where the store has none; a local disk keeps it by itself, but says so badly."""
        if self._root is not None:
            if (self._root / path).is_dir():
                raise nested(path)
            return
        if len(self._folders) > _MAX_FOLDERS:
            self._folders.clear()
        self._folders.discard(path)
        if any(entries for entries in obstore.list(self._store, path, chunk_size=1)):
            raise nested(path)
        for end in (found.start() for found in re.finditer("/", path)):
            folder = path[:end]
            if folder not in self._folders:
                try:
                    obstore.head(self._store, folder)
                except FileNotFoundError:
                    self._folders.add(folder)
                else:
                    raise nested(path)


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


def _s3_store(url: str, options: Any, allow_http: bool, timeout: timedelta, patience: timedelta) -> Any:
    parts = urlsplit(url)
    if not parts.hostname or parts.username:
        raise ConfigError(f"No bucket can be read from {redacted(url)}.", cure="Write s3://bucket/prefix")
    endpoint = options.get("endpoint", "")
    if endpoint.startswith("http://") and not allow_http:
        raise ConfigError(f"The S3 server {endpoint} has no TLS.", cure="Use https://, or allow plain HTTP.")
    retries: Any = {"max_retries": _RETRIES, "retry_timeout": max(3 * timeout, patience), "backoff": _BACKOFF}
    try:
        return S3Store(
            parts.hostname,
            prefix=parts.path.strip("/") or None,
            config=options,
            # Without these a dead server is asked for three minutes; what they give up, `tried` asks again.
            client_options={"connect_timeout": "5s", "timeout": timeout, "allow_http": allow_http},
            retry_config=retries,
        )
    except (BaseError, OSError, ValueError) as error:
        raise ConfigError(f"{redacted(url)} cannot be used: {str(error).partition(chr(10))[0]}") from None
