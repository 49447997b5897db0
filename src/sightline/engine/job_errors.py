"""What an error means for a job: which kind it is told as, whether it is worth another attempt, and after how long."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Literal, TypeAlias

from sightline.core.errors import (
    CaseNotFound,
    ConfigError,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    InvalidModel,
    ModelNotFound,
    NotFound,
    OutOfSequence,
    Overloaded,
    SightlineError,
    StoreRefused,
    Unavailable,
)

ErrorKind: TypeAlias = Literal["storage", "model", "validation", "timeout", "internal"]

_LONGEST_S = 300.0


class UsedUp(SightlineError):
    """All attempts ended with the death of their process."""

    code = "internal"


def error_kind(error: BaseException, *, predicting: bool = False) -> ErrorKind:
    """Return the kind of an error, in the words that clients know.

    Args:
        error: what was raised.
        predicting: a predictor raised it, so that what is down is a model.
    """
    if isinstance(error, DeadlineExceeded):
        return "timeout"
    if isinstance(error, InvalidModel | ModelNotFound | OutOfSequence):
        return "model"
    if isinstance(error, InvalidInput | Forbidden):  # what was asked for cannot be, or must not be
        return "validation"
    if isinstance(error, Overloaded | Unavailable | StoreRefused | OSError):
        return "model" if predicting else "storage"
    if isinstance(error, NotFound) and not isinstance(error, CaseNotFound):
        return "storage"  # the object, or what a step had put aside
    return "model" if predicting and isinstance(error, SightlineError) else "internal"


def is_worth_another(error: BaseException) -> bool:
    """Return whether the same job may succeed later: bad input and wrong settings never do.

    A store that refuses this worker may take another one, whose keys are right.
    """
    if isinstance(error, Overloaded | Unavailable | StoreRefused):
        return True
    if isinstance(error, InvalidInput | ConfigError | NotFound | DeadlineExceeded):
        return False
    return not isinstance(error, SightlineError)  # a lack of memory, a disk error, a mistake in a plug-in


def pause_after(error: BaseException, attempt: int, first_s: float) -> timedelta:
    """Return how long a job waits after its attempt of that number (from 1) failed.

    It doubles with each attempt, is half as long where a model has too much to do, and differs by a fifth, so that jobs
    that failed together do not come back together.
    """
    base_s = first_s / 2 if isinstance(error, Overloaded) else first_s
    pause_s = min(base_s * 2 ** min(attempt - 1, 16), _LONGEST_S)
    return timedelta(seconds=pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - nobody guesses it to do harm
