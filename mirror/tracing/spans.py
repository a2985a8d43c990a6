"""The `Tracer` port on OpenTelemetry."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from mirror import __version__
from mirror.core.ports import NOTHING, Attributes, Role, Span
from mirror.core.trace import Trace
from mirror.runtime.telemetry import masked

_NONE: Attributes = {}
_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_W3C = TraceContextTextMapPropagator()


class Spans:
    """Makes spans, and names their trace in every line of the log that is written within."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("registry-mirror", __version__)

    @contextmanager
    def joined(
        self, name: str, trace: Trace | None, attributes: Attributes = _NONE, role: Role = "internal"
    ) -> Iterator[Span]:
        """See `Tracer`; what is not a traceparent of W3C's counts as none."""
        context = _W3C.extract(trace.headers, Context()) if trace else Context()
        with self._begun(name, context, attributes, role) as span:
            yield span

    @contextmanager
    def span(self, name: str, attributes: Attributes = _NONE, role: Role = "internal") -> Iterator[Span]:
        """See `Tracer`."""
        if not trace.get_current_span().get_span_context().is_valid:
            yield NOTHING
            return
        with self._begun(name, None, attributes, role) as span:
            yield span

    def current(self) -> Trace | None:
        """See `Tracer`; of what is not sampled too, so that others do not sample it either."""
        headers: dict[str, str] = {}
        _W3C.inject(headers)
        return Trace(headers["traceparent"], headers.get("tracestate", "")) if headers else None

    @contextmanager
    def _begun(self, name: str, context: Context | None, attributes: Attributes, role: Role) -> Iterator[Span]:
        started = self._tracer.start_as_current_span(
            name, context, _KINDS[role], attributes, record_exception=False, set_status_on_exception=False
        )
        with started as span, bound_contextvars(trace=format_trace_id(span.get_span_context().trace_id)):
            told = _Span(span)
            try:
                yield told
            except Exception as error:
                told.fail(str(error) or type(error).__name__)
                raise


class _Span:
    """See `Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, reason: str) -> None:
        """See `Span`; what others say may have secrets in it, as in the log."""
        self._span.set_status(StatusCode.ERROR, masked(reason))
