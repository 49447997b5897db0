"""How every branch of the error tree looks from outside: the exit code of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sightline.core.errors import (
    Cancelled,
    ConfigError,
    FileMissing,
    NotFound,
    SightlineError,
    SourceUnreachable,
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


def exit_code(error: SightlineError) -> int:
    """Return the exit code for an error."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)
