"""Operations on stored objects: put files there, list, fetch and delete them. Files of gigabytes are never held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from sightline.client.asking import json_object, known
from sightline.client.lists import API, pages, shaped
from sightline.client.parts import C, Listing, Operation, Part
from sightline.client.steps import Answer, Append, Items, Local, Look, Next, Pause, Rename, Request, Steps
from sightline.core.codec import decode_time
from sightline.core.errors import InvalidInput, Unavailable
from sightline.core.prediction import JsonObject

_LONGEST_S = 6 * 3600.0  # of one object, unless somebody says otherwise
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_RESUMED = 5  # how often a download that broke off goes on where it was


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """What is stored at a key.

    Attributes:
        media_type: as its name suggests.
        modified: when it was put, UTC; None where the store does not know.
    """

    key: str
    num_bytes: int
    media_type: str = ""
    modified: datetime | None = None


def upload(path: str | Path, key: str = "", *, timeout_s: float = _LONGEST_S) -> Steps[str]:
    """Put a file, or all files of a folder, into the object store of the server; return the key.

    Args:
        path: of the file; it is read while it is sent.
        key: below `uploads/` or `results/`, of a folder one that ends in `/`; empty: one that is made of the content,
            so that what is there already need not travel again.
        timeout_s: for each file, with all tries.

    Raises:
        FileMissing: there is no such file.
        InvalidInput: the key is not open to callers.
        TooLarge: the server takes no files of that size.
    """
    local: Local = yield Look(Path(path))
    made = key or f"uploads/{local.digest[:32]}/" + ("" if local.is_folder else local.files[0][0])
    if local.is_folder and not made.endswith("/"):
        raise InvalidInput(f"{str(path)!r} is a folder, {key!r} is no key of one.", cure="End it with a slash.")
    there: set[tuple[str, int]] = set()
    if not key:
        answer = yield Request(method="GET", path=f"{API}/objects", query={"prefix": made, "limit": "1000"})
        there = {(each["key"], each["num_bytes"]) for each in json_object(answer)["items"]}
    for name, file, num_bytes in local.files:
        target = made + name if local.is_folder else made
        if (target, num_bytes) not in there:
            yield Request(method="PUT", path=_path(target), headers=_BYTES, body=(file,), timeout_s=timeout_s)
    return made


def put(key: str, data: bytes, *, timeout_s: float | None = None) -> Steps[StoredObject]:
    """Store bytes; `upload` stores files.

    Args:
        key: below `uploads/` or `results/`.
        data: what is stored.
        timeout_s: for the answer, with all tries.
    """
    answer = yield Request(method="PUT", path=_path(key), headers=_BYTES, body=(data,), timeout_s=timeout_s)
    return shaped(_object_of, json_object(answer))


def every(prefix: str = "") -> Items[StoredObject]:
    """Yield what is stored at the keys that begin with `prefix`, in the order of the keys."""
    yield from pages("/objects", _object_of, known(prefix=prefix or None))


def get(key: str, *, timeout_s: float | None = None) -> Steps[bytes]:
    """Return the bytes at a key; `download` writes them into a file.

    Raises:
        NotFound: nothing is stored there.
    """
    answer: Answer = yield Request(method="GET", path=_path(key), timeout_s=timeout_s)
    return answer.body


def download(key: str, path: str | Path) -> Steps[Path]:
    """Write the bytes at a key into a file, whole or not at all; go on where it was when the connection breaks off.

    Raises:
        NotFound: nothing is stored there.
        Unavailable: the server was lost again and again.
    """
    return (yield from fetched(_path(key), Path(path)))


def delete(key: str) -> Steps[None]:
    """Delete what is stored at a key.

    Raises:
        NotFound: nothing is.
    """
    yield Request(method="DELETE", path=_path(key))


def fetched(address: str, path: Path) -> Steps[Path]:
    """Write an answer into a file beside its place, then put it there.

    Args:
        address: path on the server, quoted.
        path: where the file is to be.
    """
    part = path.with_name(f"{path.name}.part")
    done, version, breaks = 0, "", 0
    while True:
        more = {"Range": f"bytes={done}-", "If-Range": version} if done else {}
        try:
            answer: Answer = yield Request(method="GET", path=address, headers=more, listening=True)
            if answer.status != 206:
                done = 0  # from the beginning, or another version
            version = answer.headers.get("etag", "")
            yield Append(part, b"", anew=not done)
            while (piece := (yield Next())) is not None:
                yield Append(part, piece)
                done += len(piece)
        except httpx2.HTTPError as error:
            breaks += 1
            if breaks > _RESUMED:
                raise Unavailable(f"{address} broke off again and again: {error}.") from None
            if not version or version.startswith("W/"):
                done = 0
            yield Pause(min(_PAUSE_S * 2 ** (breaks - 1), _LONGEST_PAUSE_S))
            continue
        yield Rename(part, path)
        return path


class Objects(Part[C]):
    """The object store of a server, as far as it is open to callers."""

    list = Listing(every)
    put = Operation(put)
    get = Operation(get)
    upload = Operation(upload)
    download = Operation(download)
    delete = Operation(delete)


_BYTES: Mapping[str, str] = {"Content-Type": "application/octet-stream"}


def _object_of(wire: JsonObject) -> StoredObject:
    modified: Any = wire.get("modified")
    return StoredObject(
        key=wire["key"],
        num_bytes=wire["num_bytes"],
        media_type=wire.get("media_type", ""),
        modified=None if modified is None else decode_time(modified),
    )


def _path(key: str) -> str:
    return f"{API}/objects/{quote(key)}"
