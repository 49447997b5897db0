"""Spans of requests for OpenTelemetry, where somebody collects them; next to no cost where nobody does.

The API is always there; spans are recorded once the program, `opentelemetry-instrument` or `Tracer(export=True)` has
put a provider of the SDK behind it. Where to send them the SDK reads from its own variables, `OTEL_EXPORTER_OTLP_*`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sightline.core.errors import MissingExtra
from sightline.serve.auth import shown_path

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

    from sightline.serve.exchange import Exchange

_NOTHING: AbstractContextManager[None] = nullcontext()
_LAST_S = 3.0  # for the last spans at the end of the process


class Tracer:
    """Makes the spans of this process.

    Args:
        provider: where spans go; None takes the one of the whole process, where one was set.
        export: set up a provider that sends spans by OTLP over HTTP.
        service: name of this program, where `OTEL_SERVICE_NAME` does not tell another.

    Attributes:
        is_active: True when spans are recorded.

    Raises:
        MissingExtra: `export` needs `sightline[otel]`.
    """

    def __init__(
        self, provider: TracerProvider | None = None, *, export: bool = False, service: str = "sightline"
    ) -> None:
        self._own: Any = None
        provider = provider or _of_process()
        if provider is None and export:
            provider = self._own = _exporting(service)
        self.is_active = provider is not None
        self._tracer = None if provider is None else provider.get_tracer("sightline")

    def request(self, exchange: Exchange) -> AbstractContextManager[None]:
        """Return the server span of a request, to be held while it is answered.

        It continues the trace of `traceparent`; its route, status, models and times are read when it ends.
        """
        if self._tracer is None:
            return _NOTHING
        return _RequestSpan(self._tracer, exchange)

    def span(self, name: str, attributes: Mapping[str, Any] | None = None) -> AbstractContextManager[Any]:
        """Return a span of a part of the work, to be held while that is done."""
        if self._tracer is None:
            return _NOTHING
        return self._tracer.start_as_current_span(name, attributes=attributes)

    def close(self) -> None:
        """Send the last spans, for some seconds at most, when the provider is our own; a second call does nothing."""
        own, self._own = self._own, None
        if own is not None:
            # A collector that does not answer must not hold up the end of the process.
            last = Thread(target=own.shutdown, name="last-spans", daemon=True)
            last.start()
            last.join(_LAST_S)


class _RequestSpan(AbstractContextManager[None]):
    """The span of one request."""

    def __init__(self, tracer: Any, exchange: Exchange) -> None:
        from opentelemetry.trace import SpanKind, use_span

        self._exchange = exchange
        self._span: Span = tracer.start_span(
            exchange.method,
            context=parent(exchange.text_header(b"traceparent"), exchange.text_header(b"tracestate")),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": exchange.method, "url.path": shown_path(exchange.path)},
        )
        self._current = use_span(self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    def __enter__(self) -> None:
        self._current.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish(error)
        finally:
            self._current.__exit__(None, None, None)
            self._span.end()

    def _finish(self, error: BaseException | None) -> None:
        exchange, span = self._exchange, self._span
        if not span.is_recording():
            return
        status = exchange.status or 499  # as the access log says of a caller who left
        span.update_name(f"{exchange.method} {exchange.route}")
        attributes: dict[str, Any] = {
            "http.route": exchange.route,
            "http.response.status_code": status,
            "sightline.request.id": exchange.id,
        }
        if exchange.call.versions:
            attributes["sightline.model"] = ",".join(exchange.call.versions)
        if exchange.case:
            attributes["sightline.case"] = exchange.case
        for name, seconds in exchange.call.spans.items():
            attributes[f"sightline.{name}_s"] = round(seconds, 6)
        if error is not None:
            attributes["error.type"] = type(error).__name__
        elif status >= 500:
            attributes["error.type"] = str(status)
        span.set_attributes(attributes)
        if error is not None or status >= 500:
            from opentelemetry.trace import StatusCode

            span.set_status(StatusCode.ERROR)


def parent(traceparent: str, tracestate: str) -> Any:
    """Return the caller's trace, from its headers; None, a new trace, where it sent none or a wrong one."""
    if not traceparent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": traceparent, "tracestate": tracestate[:512]}
    return TraceContextTextMapPropagator().extract(carrier)


def _of_process() -> TracerProvider | None:
    """Return the provider that somebody has set for the whole process."""
    traces = sys.modules.get("opentelemetry.trace")  # nobody can have set one without importing it
    if traces is None:
        return None
    provider: TracerProvider = traces.get_tracer_provider()
    return None if isinstance(provider, traces.ProxyTracerProvider) else provider


def _exporting(service: str) -> Any:
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider as SdkProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtra(
            f"Spans cannot be exported: {error.name} is not installed.", cure="pip install 'sightline[otel]'"
        ) from None
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    provider = SdkProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)  # so that other libraries' spans join ours
    return provider
