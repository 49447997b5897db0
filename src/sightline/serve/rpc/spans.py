"""Spans of calls for OpenTelemetry, beside those that `serve.tracing` makes of HTTP's requests."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sightline.serve.tracing import Tracer, parent

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from sightline.serve.rpc.asked import Asked

_NOTHING: AbstractContextManager[None] = nullcontext()


class CallTracer(Tracer):
    """Makes the spans of calls; they go where those of HTTP go, by the provider of the process."""

    def call(self, asked: Asked) -> AbstractContextManager[None]:
        """Return the server span of a call, or of one message in a stream, to be held while it is answered.

        It continues the trace of `traceparent`; its status, models and times are read when it ends.
        """
        if self._tracer is None:
            return _NOTHING
        return _CallSpan(self._tracer, asked)


class _CallSpan(AbstractContextManager[None]):
    """The span of one call, with the names of the conventions: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/."""

    def __init__(self, tracer: Any, asked: Asked) -> None:
        from opentelemetry.trace import SpanKind, use_span

        method = asked.method.removeprefix("/")
        self._asked = asked
        self._span: Span = tracer.start_span(
            method,
            context=parent(asked.shown.get("traceparent", ""), asked.shown.get("tracestate", "")),
            kind=SpanKind.SERVER,
            attributes={"rpc.system.name": "grpc", "rpc.method": method},
        )
        self._current = use_span(self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    def __enter__(self) -> None:
        self._current.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish()
        finally:
            self._current.__exit__(None, None, None)
            self._span.end()

    def _finish(self) -> None:
        """Write down what is known now; how the call ended stands in `asked`, not in what goes through here."""
        asked, span = self._asked, self._span
        if not span.is_recording():
            return
        from sightline.serve.rpc.status import code_of

        status = "OK" if asked.error is None else code_of(asked.error).name
        attributes: dict[str, Any] = {"rpc.response.status_code": status, "sightline.request.id": asked.id}
        if asked.call.versions:
            attributes["sightline.model"] = ",".join(asked.call.versions)
        for name, seconds in asked.call.spans.items():
            attributes[f"sightline.{name}_s"] = round(seconds, 6)
        if asked.status >= 500:
            from opentelemetry.trace import StatusCode

            attributes["error.type"] = status
            span.set_status(StatusCode.ERROR)
        span.set_attributes(attributes)
