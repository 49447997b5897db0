"""Every error that Sightline raises on purpose.

Each branch asks for a different reaction, and every door (CLI, HTTP, gRPC) maps branches, not leaves.

SightlineError
    ConfigError            fix the settings or the case, then start again
        UnknownPlugin      no plug-in of that kind has that name
        MissingExtra       the plug-in is known, its optional dependency is not installed
        BrokenPlugin       the plug-in or blueprint could not be imported or built
    InvalidInput           fix the data that was sent
        InvalidMedia       a video or picture that cannot be decoded
        InvalidModel       a file that is no usable ONNX model
        OutOfSequence      a predictor gave another number of predictions than samples
    NotFound               the named thing does not exist
        CaseNotFound
        ModelNotFound
        FileMissing
    Conflict               it exists already, or somebody changed it first
    Overloaded             too much work waits: slow down, then retry
    DeadlineExceeded       the answer would come too late
    Cancelled              the caller no longer wants the answer
    Unauthenticated        who are you?
    Forbidden              you may not
    Unavailable            something outside is down: the same call may work later
        SourceUnreachable  a camera or stream does not answer
        StorageFull        the disk or bucket takes no more bytes
"""

from __future__ import annotations

from typing import ClassVar


class SightlineError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what is wrong, and with which thing; one line.
        cure: what to do about it; one line, may be empty.
        location: where, for instance `case.yaml:12`.

    `code` is stable and safe to match on.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, cure: str = "", location: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.location = location

    def __str__(self) -> str:
        return f"{self.location}: {self.message}" if self.location else self.message


class ConfigError(SightlineError):
    """The settings or a case are wrong."""

    code = "config"


class UnknownPlugin(ConfigError):
    """No plug-in of that kind has that name."""

    code = "unknown_plugin"


class MissingExtra(ConfigError):
    """The plug-in is known, but its optional dependency is not installed."""

    code = "missing_extra"


class BrokenPlugin(ConfigError):
    """A plug-in, a case's blueprint or its plugins.py raised while it was imported or built."""

    code = "broken_plugin"


class InvalidInput(SightlineError):
    """The caller sent data that cannot be used."""

    code = "invalid_input"


class InvalidMedia(InvalidInput):
    """A video or picture that cannot be decoded: empty, cut off, or not of a known format."""

    code = "invalid_media"


class InvalidModel(InvalidInput):
    """A file that is no usable ONNX model: damaged, a pickle, or without the metadata that is needed."""

    code = "invalid_model"


class OutOfSequence(InvalidInput):
    """A predictor gave another number of predictions than it was given samples."""

    code = "out_of_sequence"


class NotFound(SightlineError):
    """The named thing does not exist."""

    code = "not_found"


class CaseNotFound(NotFound):
    """No case folder or module has that name."""

    code = "case_not_found"


class ModelNotFound(NotFound):
    """No model, version or alias has that name."""

    code = "model_not_found"


class FileMissing(NotFound):
    """No file or folder is at that path."""

    code = "file_missing"


class Conflict(SightlineError):
    """The thing exists already, is in the wrong state, or was changed by somebody else first."""

    code = "conflict"


class Overloaded(SightlineError):
    """Too much work is waiting; retry after a pause."""

    code = "overloaded"


class DeadlineExceeded(SightlineError):
    """The caller's deadline passed before the answer was ready."""

    code = "deadline_exceeded"


class Cancelled(SightlineError):
    """The caller no longer wants the answer."""

    code = "cancelled"


class Unauthenticated(SightlineError):
    """The caller did not prove who it is."""

    code = "unauthenticated"


class Forbidden(SightlineError):
    """The caller may not do this."""

    code = "forbidden"


class Unavailable(SightlineError):
    """Something outside is down; the same call may work later."""

    code = "unavailable"


class SourceUnreachable(Unavailable):
    """A camera or stream does not answer."""

    code = "source_unreachable"


class StorageFull(Unavailable):
    """The disk or bucket takes no more bytes."""

    code = "storage_full"


def error_types() -> list[type[SightlineError]]:
    """Return every error type in tree order, the base first."""

    def walk(kind: type[SightlineError]) -> list[type[SightlineError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in walk(child))]

    return walk(SightlineError)
