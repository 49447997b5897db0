"""The log of this process on stderr: lines for people on a terminal, else JSON with the names of ECS.

Everything goes through one form: Sightline's own lines and those of libraries that use `logging`. No line holds a
picture, a tensor, a key or a password: values that are no plain facts are told by their size, and what looks like a
secret in a text is hidden.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import UTC
from io import StringIO
from typing import Any, TextIO, TypeAlias

import orjson
import structlog

from sightline.core.access import RequestRow
from sightline.core.urls import redacted
from sightline.serve.log_tail import TAIL

log = structlog.get_logger()

Fields: TypeAlias = MutableMapping[str, Any]
MOST_LETTERS = 2000
"""Letters of one value; what is longer is cut."""
MOST_OF_TRACEBACK = 20_000
DATASET = "sightline.log"
ACCESS = "sightline.access"
"""`event.dataset` of the lines about requests."""

_ECS = {
    "event": "message",
    "level": "log.level",
    "timestamp": "@timestamp",
    "logger": "log.logger",
    "dataset": "event.dataset",
    "request": "http.request.id",
    "method": "http.request.method",
    "path": "url.path",
    "status": "http.response.status_code",
    "bytes_in": "http.request.body.bytes",
    "bytes_out": "http.response.body.bytes",
    "duration_ns": "event.duration",
    "caller": "user.id",
    "client": "client.address",
    "trace": "trace.id",
    "span": "span.id",
    "error": "error.message",
    "code": "error.code",
    "exception": "error.stack_trace",
}
"""Field of a log line -> its name in ECS; any other field becomes one of `labels`."""

_ADDRESS = re.compile(r"[^\s\"'<>(]+://[^\s\"'<>)]+")
_SECRET = re.compile(
    r"(?i)((?:[?&;\s]|^)[\w.-]*(?:pass|pwd|secret|token|api_?key|signature|credential)[\w.-]*=)[^&\s\"']+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_LOUD = ("uvicorn.access",)  # the doorway writes a line of its own for each request


def set_up_log(level: str, *, as_json: bool | None, service: str = "sightline") -> None:
    """Log to stderr: lines for people on a terminal, JSON lines elsewhere."""
    lines = not sys.stderr.isatty() if as_json is None else as_json
    threshold = logging.getLevelNamesMapping()[level.upper()]
    stamp = structlog.processors.TimeStamper(fmt="iso" if lines else "%H:%M:%S", utc=lines)
    shared: list[Any] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, stamp]
    ends: list[Any]
    ecs = _Ecs(service) if lines else None
    if ecs is not None:
        ends = [structlog.processors.format_exc_info, without_secrets, TAIL, _with_trace, ecs, _as_json]
    else:
        ends = [without_secrets, TAIL, _for_people()]
    _ACCESS_LOG.threshold, _ACCESS_LOG.ecs = threshold, ecs
    structlog.configure(
        processors=[*shared, *ends],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        # Asked for at each line: a progress display puts its own stream in the place of stderr.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _take_over_logging(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ends],
        ),
        threshold,
    )


def without_secrets(_: Any, __: str, fields: Fields) -> Fields:
    """Hide what looks like a secret, and tell arrays and bytes by their size."""
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = clean(value, MOST_OF_TRACEBACK if name == "exception" else MOST_LETTERS)
        elif value is not None and not isinstance(value, bool | int | float) and name not in _RAW:
            fields[name] = _shown(value)
    return fields


_RAW = ("exc_info", "stack_info", "_record", "_from_structlog")  # not values, but what the lines for people are made of


def clean(text: str, most: int = MOST_LETTERS) -> str:
    """Return a text of one log line without passwords, keys and tokens, cut where it is very long."""
    if len(text) > most:
        text = f"{text[:most]}... ({len(text)} letters)"
    if "://" in text:
        text = _ADDRESS.sub(lambda found: redacted(found[0]), text)
    if "=" in text:
        text = _SECRET.sub(r"\1***", text)
    if "earer" in text or "asic" in text or "EARER" in text:
        text = _BEARER.sub(r"\1 ***", text)
    return text


def _shown(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<array {tuple(value.shape)} {value.dtype}>"
    if isinstance(value, dict):
        return {str(key): _value(item) for key, item in list(value.items())[:50]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(item) for item in list(value)[:50]]
    return clean(str(value))


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return clean(value) if isinstance(value, str) else _shown(value)


def _with_trace(_: Any, __: str, fields: Fields) -> Fields:
    """Add the span that this line belongs to, where spans are used at all."""
    if "trace" not in fields and (traces := sys.modules.get("opentelemetry.trace")) is not None:
        span = traces.get_current_span().get_span_context()
        if span.is_valid:
            fields["trace"] = format(span.trace_id, "032x")
            fields["span"] = format(span.span_id, "016x")
    return fields


class _Ecs:
    """Gives fields the names of the Elastic Common Schema."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _: Any, __: str, fields: Fields) -> Fields:
        known: dict[str, Any] = {
            "@timestamp": fields.pop("timestamp", None),
            "log.level": fields.pop("level", None),
            "message": str(fields.pop("event", "")),
            "service.name": self._service,
            "event.dataset": fields.pop("dataset", DATASET),
            "ecs.version": "8.11",
        }
        labels: dict[str, Any] = {}
        for name, value in fields.items():
            if value is None or value == "":
                continue  # nothing was said
            if (ecs := _ECS.get(name)) is not None:
                known[ecs] = value
            else:
                labels[name] = value
        if labels:
            known["labels"] = labels
        return known


def _as_json(_: Any, __: str, fields: Fields) -> str:
    return orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _for_people() -> Any:
    """Return what makes a log line for a terminal; without the values of variables in tracebacks: pixels, passwords."""
    from rich.console import Console

    console = Console(stderr=True)
    return structlog.dev.ConsoleRenderer(
        colors=console.is_terminal and not console.no_color, exception_formatter=_plain_traceback
    )


def _plain_traceback(to: TextIO, exc_info: Any) -> None:
    """Write a traceback without the passwords that the error's text may name."""
    text = StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    to.write(clean(text.getvalue(), MOST_OF_TRACEBACK))


class _ToStderr(logging.Handler):
    """Writes what libraries log to the stderr of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # noqa: BLE001 - a line that cannot be written must not end what it tells of
            self.handleError(record)


def _take_over_logging(formatter: logging.Formatter, threshold: int) -> None:
    """Send the lines of all libraries through `formatter`, whatever they had set up for themselves."""
    ours = _ToStderr()
    ours.setFormatter(formatter)
    root = logging.getLogger()
    # Those of others stay: a test or a program around us may listen too.
    root.handlers = [ours, *(each for each in root.handlers if not _writes_to_stderr(each))]
    root.setLevel(max(threshold, logging.WARNING))  # what libraries tell of their own work is theirs
    for name in ("uvicorn", "uvicorn.error", *_LOUD):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = name not in _LOUD
        logger.setLevel(logging.NOTSET)


def _writes_to_stderr(handler: logging.Handler) -> bool:
    return isinstance(handler, _ToStderr) or (
        type(handler) is logging.StreamHandler and handler.stream in (sys.stderr, sys.__stderr__)
    )


def log_request(row: RequestRow, path: str, *, code: str = "") -> None:
    """Write the access line of a request that was answered; `code` is that of the problem that was told.

    Every request has one, so as JSON it takes the straight way: one dictionary, one write.
    """
    level = logging.ERROR if row.status >= 500 else logging.INFO
    if level < _ACCESS_LOG.threshold:
        return
    fields: Fields = {
        "timestamp": row.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "level": "error" if level == logging.ERROR else "info",
        "event": "request answered",
        "dataset": ACCESS,
        "request": row.id,
        "method": row.method,
        "path": clean(path.partition("?")[0]),
        "route": row.route,
        "status": row.status,
        "duration_ns": int(1_000_000 * row.latency_ms),
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "caller": row.caller,
        "model": row.model,
        "case": row.case,
        "code": code,
    }
    if _ACCESS_LOG.ecs is None:
        said = {name: value for name, value in fields.items() if name not in _OF_JSON and value != ""}
        log.log(level, said.pop("event"), ms=round(row.latency_ms, 1), **said)
        return
    TAIL.keep(fields)
    _with_trace(None, "", fields)
    line = _as_json(None, "", _ACCESS_LOG.ecs(None, "", fields))
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads the log any more; requests are answered all the same
        return


_OF_JSON = ("timestamp", "level", "dataset", "duration_ns")  # a line for people has its own form of these


@dataclass
class _AccessLog:
    """How access lines are written, as `set_up_log` wanted it; `ecs` is None where lines are for people."""

    threshold: int = logging.INFO
    ecs: _Ecs | None = None


_ACCESS_LOG = _AccessLog()
