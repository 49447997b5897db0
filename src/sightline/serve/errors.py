"""How every branch of the error tree looks from outside: the exit code of the command line, and what to do about it."""

from __future__ import annotations

import re
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


_REMOTE = tuple(
    (re.compile(words), instead)
    for words, instead in (
        (r"Run (?:again )?with --debug\b.*", "Report the request id."),
        (r"; sightline list and sightline models list show what there is", ""),
        (r"sightline models show (\S+)", r"GET /api/v1/models/\1"),
        (r"sightline models list\b", "GET /api/v1/models"),
        (r"sightline models add\b[^,;.]*(?:\.onnx)?[^,;.]*(?:\.\.\.)?", "POST /api/v1/models"),
        (r"sightline list(?: --check)?", "GET /api/v1/cases"),
        (r"sightline probe URL", "POST /api/v1/sources/probe"),
        (r"sightline keys list", "GET /api/v1/keys"),
        (r"sightline serve CASE --run", "POST /api/v1/runs"),
        (r"--source (\S+)=URL", r"source: \1=URL"),
        (r"--source\b", "source"),
        (r"--preprocess\b", "preprocessing"),
        (r"--postprocess\b", "postprocessing"),
    )
)
"""Words of the command line in cures -> those of whoever asks by HTTP."""


def remote_cure(error: SightlineError) -> str:
    """Return one line that tells somebody who asks from outside what to do; he has no command line here."""
    text = cure(error)
    if "--" in text or "sightline " in text:
        for words, instead in _REMOTE:
            text = words.sub(instead, text)
    return text


def told_problem(error: SightlineError) -> dict[str, str]:
    """Return what a list of problems says of one: its code, what is wrong, and what to do about it."""
    return {"code": error.code, "message": str(error), "cure": remote_cure(error)}


def cure(error: SightlineError) -> str:
    """Return one line that tells what to do about an error."""
    return error.cure or next(_CURES[kind] for kind in type(error).__mro__ if kind in _CURES)


def exit_code(error: SightlineError) -> int:
    """Return the exit code for an error."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)
