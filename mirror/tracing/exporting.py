"""Spans on their way to a collector: by a thread of their own, so many at most, and without a word of each failure."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from mirror import __version__
from mirror.core.ports import Tracer
from mirror.tracing.spans import Spans

_log = structlog.get_logger(__name__)
_LIBRARY = "opentelemetry"
_WAITING = 2048  # spans; some megabytes
_EVERY = 1000  # milliseconds
_TIMEOUT = 5.0
_LAST = 3.0


@contextmanager
def exporting(endpoint: str, sample: float) -> Iterator[Tracer]:
    """Tell the collector at `endpoint` (a URL, without the path of OTLP) of this share of the traces that begin here.

    A trace that others began is told as they want it. On the way out, what is left is sent if that takes no longer than
    three seconds.
    """
    said = _Said()
    library = logging.getLogger(_LIBRARY)
    library.addHandler(said)
    library.propagate = False
    resource = Resource.create({"service.name": "registry-mirror", "service.version": __version__})
    provider = TracerProvider(ParentBased(TraceIdRatioBased(sample)), resource, shutdown_on_exit=False)
    exporter = Exporter(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT), endpoint, said)
    provider.add_span_processor(BatchSpanProcessor(exporter, _WAITING, _EVERY))
    try:
        yield Spans(provider)
    finally:
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST)
        library.removeHandler(said)
        library.propagate = True


class _Said(logging.Handler):
    """What the library says of why it fails: a line for each time that it tries, of which the first is enough."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self.first = self.first or record.getMessage()


class Exporter(SpanExporter):
    """Says once that the collector cannot be told, and once that it can be again."""

    def __init__(self, exporter: SpanExporter, endpoint: str, said: _Said) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._said = said
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`; the thread of the batches calls it."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                _log.warning("tracing.lost", endpoint=self._endpoint, reason=self._said.first)
            self._lost += len(spans)
            return result
        if self._lost:
            _log.info("tracing.resumed", endpoint=self._endpoint, spans=self._lost)
            self._lost = 0
        self._said.first = ""
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()
