"""Every error that Sightline raises on purpose.

Each branch asks for a different reaction, and every door (CLI, HTTP, gRPC) maps branches, not leaves.

SightlineError
    ConfigError            fix the settings or the case, then start again
        UnknownPlugin      no plug-in of that kind has that name
        MissingExtra       the plug-in is known, its optional dependency is not installed
        BrokenPlugin       the plug-in or blueprint could not be imported or built
        StoreRefused       the artifact store refuses our keys, or has no such bucket
    InvalidInput           fix the data that was sent
        InvalidMedia       a video or picture that cannot be decoded
        InvalidModel       a file that is no usable ONNX model
        OutOfSequence      a predictor gave another number of predictions than samples
        TooLarge           more bytes than are taken
            HeadTooLarge   of the head of a request
        WrongMediaType     bytes of a kind that is not taken here
        UpgradeRequired    the address speaks another protocol: WebSocket
        WrongRange         of a file was asked for what is not in it
        NotProcessed       well formed, but the model cannot work with it
        SampleRejected     the case's stage validation refused it
    NotFound               the named thing does not exist
        CaseNotFound
        ModelNotFound
        FileMissing
        MethodNotAllowed   the address exists, and does not take this method
    Conflict               it exists already, or somebody changed it first
        Stale              changed since it was read
        Unseen             the caller did not say which state he has seen
    Overloaded             too much work waits: slow down, then retry
        RateLimited        this caller asks too often
    DeadlineExceeded       the answer would come too late
        RequestTimeout     the request did not arrive in time
    Cancelled              the caller no longer wants the answer
    JobFailed              a job ended without a result: mend the cause, then submit it anew
    Unauthenticated        who are you?
    Forbidden              you may not
    Unavailable            something outside is down: the same call may work later
        SourceUnreachable  a camera or stream does not answer
        StorageFull        the disk or bucket takes no more bytes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class SightlineError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what is wrong, and with which thing; one line.
        cure: what to do about it; one line, may be empty.
        location: where, for instance `case.yaml:12`.

    Attributes:
        request_id: of the request that a server refused with it; empty for an error of this process.

    `code` is stable and safe to match on.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, cure: str = "", location: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.location = location
        self.request_id = ""

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


class TooLarge(InvalidInput):
    """More bytes were sent than are taken."""

    code = "too_large"


class HeadTooLarge(TooLarge):
    """The head of a request is longer than is taken."""

    code = "head_too_large"


class WrongMediaType(InvalidInput):
    """The body is of a kind that is not taken here."""

    code = "wrong_media_type"


class UpgradeRequired(InvalidInput):
    """The address speaks WebSocket, and was asked by plain HTTP."""

    code = "upgrade_required"


class WrongRange(InvalidInput):
    """A part of a file was asked for that begins behind its end.

    Args:
        message, cure, location: see `SightlineError`.
        num_bytes: how long the file is.
    """

    code = "wrong_range"

    def __init__(self, message: str, *, num_bytes: int = 0, cure: str = "", location: str = "") -> None:
        super().__init__(message, cure=cure, location=location)
        self.num_bytes = num_bytes


class NotProcessed(InvalidInput):
    """The request is well formed, but the model cannot work with what is in it."""

    code = "not_processed"


class SampleRejected(InvalidInput):
    """The stage `validation` of a case refused the sample."""

    code = "rejected"


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


class MethodNotAllowed(NotFound):
    """The address exists, and does not take this method.

    Attributes:
        allow: the methods that it takes.
    """

    code = "method_not_allowed"

    def __init__(self, message: str, *, cure: str = "", location: str = "", allow: Sequence[str] = ()) -> None:
        super().__init__(message, cure=cure or (f"Use {', '.join(allow)}." if allow else ""), location=location)
        self.allow = tuple(allow)


class Conflict(SightlineError):
    """The thing exists already, is in the wrong state, or was changed by somebody else first."""

    code = "conflict"


class Stale(Conflict):
    """Somebody changed the thing since the caller read it, so that `If-Match` does not fit."""

    code = "stale"


class Unseen(Conflict):
    """The caller wants to change a thing and did not say which state of it he has seen: `If-Match` is missing."""

    code = "unseen"


class Overloaded(SightlineError):
    """Too much work is waiting; retry after a pause."""

    code = "overloaded"


class RateLimited(Overloaded):
    """This caller asks more often than its key may.

    Attributes:
        retry_after_s: seconds after which the next request is taken.
    """

    code = "rate_limited"

    def __init__(self, message: str, *, cure: str = "", location: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, cure=cure, location=location)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(SightlineError):
    """The caller's deadline passed before the answer was ready."""

    code = "deadline_exceeded"


class RequestTimeout(DeadlineExceeded):
    """The caller took too long to send the request."""

    code = "request_timeout"


class Cancelled(SightlineError):
    """The caller no longer wants the answer."""

    code = "cancelled"


class JobFailed(SightlineError):
    """A job ended without a result; who is told so learns of which kind the cause was.

    Attributes:
        kind: storage, model, validation, timeout, cancelled or internal; empty where nobody said.
    """

    code = "job_failed"
    kind = ""


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


class StoreRefused(ConfigError):
    """A store of artifacts or pictures refuses our keys, or has no such bucket or folder."""

    code = "store_refused"


class StorageFull(Unavailable):
    """The disk or bucket takes no more bytes."""

    code = "storage_full"


def error_types() -> list[type[SightlineError]]:
    """Return every error type of this tree in its order, the base first; a package may have finer ones of its own."""

    def walk(kind: type[SightlineError]) -> list[type[SightlineError]]:
        own = [child for child in kind.__subclasses__() if child.__module__ == __name__]
        return [kind, *(found for child in own for found in walk(child))]

    return walk(SightlineError)
