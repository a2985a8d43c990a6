"""A collector of traces: takes OTLP over HTTP, as the OpenTelemetry Collector does, and keeps the spans."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Told:
    """A span, with the attributes of the process that told it; ids are in hexadecimal."""

    trace: str
    id: str
    parent: str
    state: str
    name: str
    kind: str
    failure: str | None
    attributes: dict[str, str | int]
    process: dict[str, str | int]
    began: int
    ended: int


@dataclass
class Collector:
    """What was told so far, in the order in which it came; `url` is its endpoint."""

    url: str = ""
    spans: list[Told] = field(default_factory=list)

    def trace(self, trace: str) -> "Tree":
        """What was told of one trace."""
        return Tree([span for span in self.spans if span.trace == trace])


@dataclass(frozen=True)
class Tree:
    """The spans of one trace."""

    spans: list[Told]

    def named(self, name: str) -> list[Told]:
        """Those of a name, as they began."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.began)

    def below(self, parent: str) -> list[Told]:
        """The children of a span, as they began."""
        return sorted((span for span in self.spans if span.parent == parent), key=lambda span: span.began)

    def under(self, parent: Told) -> list[Told]:
        """All that is below a span."""
        return [each for child in self.below(parent.id) for each in (child, *self.under(child))]

    def text(self, parent: str, depth: int = 0) -> str:
        """For people, and for what a failing test prints."""
        lines = [
            f"{'  ' * depth}{span.name} {span.failure or ''}\n{self.text(span.id, depth + 1)}"
            for span in self.below(parent)
        ]
        return "".join(lines)


@contextmanager
def collector(port: int = 0) -> Iterator[Collector]:
    """One at a port, for the length of the body."""
    told = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_ours = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
            if is_ours:
                told.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self.send_response(200 if is_ours else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """It keeps no log."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Told]:
    for process in request.resource_spans:
        whose = {each.key: _value(each.value) for each in process.resource.attributes}
        for scope in process.scope_spans:
            for span in scope.spans:
                yield _told(span, whose)


def _told(span: trace_pb2.Span, whose: dict[str, str | int]) -> Told:
    return Told(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        state=span.trace_state,
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        failure=span.status.message if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else None,
        attributes={each.key: _value(each.value) for each in span.attributes},
        process=whose,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
    )


def _value(value: AnyValue) -> str | int:
    found: str | int = getattr(value, value.WhichOneof("value") or "string_value")
    return found
