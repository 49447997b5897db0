"""What the stores' errors mean. Knows their words; opens nothing."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from random import uniform
from typing import TypeVar

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from sightline.core.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    SightlineError,
    StorageFull,
    StoreRefused,
    Unavailable,
)

T = TypeVar("T")

# errno of a full disk, of a spent quota and of a file size limit, and what S3 servers say in their place
_FULL = re.compile(r"\(os error (28|122|27)\)|XMinioStorageFull|QuotaExceeded|507 Insufficient|EntityTooLarge")
_FULL_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = re.compile(r"\(os error (1|13|30)\)|40[13] (Forbidden|Unauthorized)")
_NO_BUCKET = re.compile(r"404 Not Found|NoSuchBucket")
_NO_FOLDER = re.compile(r"\(os error 20\)")
_IS_FOLDER = re.compile(r"\(os error (21|39)\)|is directory")
_TOO_LONG = re.compile(r"(os error|Errno) 36\b")

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0


def is_nesting(error: Exception) -> bool:
    """Return whether a local disk says that a key is the folder of another, or has another as its folder."""
    return bool(_NO_FOLDER.search(str(error)) or _IS_FOLDER.search(str(error)))


def translated(key: str, place: str, error: Exception) -> SightlineError:
    """Return our error for one of the store's at `place`."""
    text, first_line = str(error), str(error).partition("\n")[0][:300]
    full = _FULL.search(text) or (isinstance(error, OSError) and error.errno in _FULL_ERRNO)
    denied = isinstance(error, PermissionError | PermissionDeniedError | UnauthenticatedError)
    ours: SightlineError
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError) or _NO_FOLDER.search(text):
        ours = NotFound(f"Nothing is stored at {key!r}.")  # callers are told it: no folder of this machine
    elif full:
        ours = StorageFull(f"There is no room for {key!r} in {place}.", cure="Free some space there.")
    elif denied or _DENIED.search(text):
        ours = StoreRefused(f"{place} refuses {key!r}: {first_line}", cure="Check its keys and permissions.")
    elif _NO_BUCKET.search(text):
        ours = missing(place)
    elif isinstance(error, PreconditionError):
        ours = Unavailable(f"{key!r} in {place} was replaced while it was read.", cure="Open it again.")
    elif _TOO_LONG.search(text):
        ours = InvalidInput(f"Not a store key: {key!r} is too long.", cure="Use at most 200 bytes between slashes.")
    else:
        ours = Unavailable(f"{place} does not answer for {key!r}: {first_line}", cure="Try again later.")
    return ours


def missing(place: str) -> StoreRefused:
    """Return the error of a bucket or folder that is not there."""
    return StoreRefused(f"{place} does not exist.", cure="Make the bucket or folder first.")


def nested(key: str) -> Conflict:
    """Return the error of a key that another key stands in the way of."""
    return Conflict(f"{key!r} cannot be a key: no key may be the folder of another key.", cure="Choose another key.")


def tried(act: Callable[[], T], key: str, place: str, patience_s: float) -> T:
    """Return what `act` gives; what may pass is tried again, once at least and until `patience_s` are over.

    obstore tries requests again by itself, but neither one whose answer breaks off nor all of those that write. With
    a patience of 0 nothing is tried again.

    Raises:
        SightlineError: ours for what the store said last.
    """
    begin_s, wait_s, tries = time.monotonic(), _FIRST_WAIT_S, 0
    while True:
        tries += 1
        try:
            return act()
        except (BaseError, OSError) as error:
            ours = translated(key, place, error)
            passes = type(ours) is Unavailable and not isinstance(error, PreconditionError)
            is_over = tries > 1 and time.monotonic() + wait_s > begin_s + patience_s
            if not passes or not patience_s or is_over:
                raise ours from None
        time.sleep(wait_s * uniform(0.5, 1))  # noqa: S311 - so that many that failed together do not come together
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
