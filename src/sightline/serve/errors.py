"""How every branch of the error tree looks from outside: the exit code of the command line, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sightline.core.errors import (
    Cancelled,
    ConfigError,
    Conflict,
    FileMissing,
    InvalidInput,
    InvalidMedia,
    InvalidModel,
    NotFound,
    SightlineError,
    SourceUnreachable,
    StorageFull,
    Unavailable,
)

USAGE, INTERRUPTED = 2, 130

EXIT_CODES: Mapping[type[SightlineError], int] = MappingProxyType(
    {
        SightlineError: 1,
        ConfigError: 4,
        NotFound: 3,
        FileMissing: 3,
        SourceUnreachable: 5,
        Cancelled: INTERRUPTED,
    }
)
"""Error type -> exit code; a type that is not here has that of its nearest parent."""

_CURES: Mapping[type[SightlineError], str] = MappingProxyType(
    {
        SightlineError: "Run again with --debug for the traceback.",
        ConfigError: "Correct what is named there, then start again.",
        InvalidInput: "Correct the data, then try again.",
        InvalidMedia: "Check that the file opens in a player or a picture viewer.",
        InvalidModel: "Export the model to ONNX again.",
        NotFound: "Check the name; sightline list and sightline models list show what there is.",
        FileMissing: "Check the path; a relative one counts from the working folder.",
        Conflict: "Look what has changed, then try again.",
        Cancelled: "Start it again.",
        Unavailable: "Try again later.",
        SourceUnreachable: "Check that it is on: sightline probe URL",
        StorageFull: "Free some space, then start again.",
    }
)
"""Error type -> what to do, where the error itself does not say."""


def cure(error: SightlineError) -> str:
    """Return one line that tells what to do about an error."""
    return error.cure or next(_CURES[kind] for kind in type(error).__mro__ if kind in _CURES)


def exit_code(error: SightlineError) -> int:
    """Return the exit code for an error."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)
