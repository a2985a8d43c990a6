"""A push is one trace, from the builder's span to the upstream, also over a restart of the daemon."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.collector import Collector, Told, Tree, collector
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layout, build_image, busybox
from tests.rig.ports import free_port
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire

ROOT = Path(__file__).parents[2]
NAME = f"{UPSTREAM}/team/app:v1"
TRACE, BUILDER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = {"traceparent": f"00-{TRACE}-{BUILDER}-01", "tracestate": "vendor=value"}
_ROW = re.compile(r"^\| (`.*`) \| .* \| (.*)\|$", re.MULTILINE)
_QUOTED = re.compile("`([^`]+)`")


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run, of two layers."""
    return build_image(directory / "layout", [busybox(directory.name), busybox(directory.name[::-1])])


@pytest.fixture
def told() -> Iterator[Collector]:
    """Whom the daemon tells."""
    with collector() as told:
        yield told


def traced(directory: Path, containerd: Containerd, registry: Registry, **tracing: object) -> Daemon:
    """A daemon with these settings; what is pushed has no head start, so that all is sent by its job."""
    settings: dict[str, dict[str, object]] = {"tracing": tracing, "replication": {"eager": False}}
    return Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings)


def test_a_push(directory: Path, containerd: Containerd, registry: Registry, layout: Layout, told: Collector) -> None:
    """The builder's span has all below it, each where it belongs, although another process did the half of it."""
    registry.kill()
    with traced(directory, containerd, registry, endpoint=told.url) as daemon:
        Wire(daemon.url, headers=GIVEN).push("team/app", "v1", layout)
        daemon.wait(NAME, "unpacked")
        until(lambda: told.trace(TRACE).named("task.replicate"), "an attempt that fails")
        assert daemon.stop() == 0
        before = len(told.spans)
        registry.start()
        daemon.start()
        daemon.wait(NAME, "replicated")
        tree = until(
            lambda: [t for t in [told.trace(TRACE)] if t.named("task.replicate")[-1].failure is None], "all is told"
        )[0]
        lines = daemon.log_lines()
        assert not daemon.complaints()
    print(tree.text(BUILDER))  # noqa: T201 - for whoever looks at why this fails
    requests = tree.below(BUILDER)
    assert {span.id for span in tree.spans} == {s.id for r in requests for s in (r, *tree.under(r))}  # none is astray
    assert {span.kind for span in requests} == {"SERVER"}
    assert {span.state for span in tree.spans} == {GIVEN["tracestate"]}
    uploads = [span for span in requests if tree.below(span.id) and "uploads" in span.name]
    committed = [span for upload in uploads for span in tree.below(upload.id) if span.name == "blob.commit"]
    assert {span.attributes["registry_mirror.blob.digest"] for span in committed} == digests(layout)
    (put,) = [span for span in requests if span.name == "PUT /v2/{name}/manifests/{reference}"]
    assert put.attributes["http.response.status_code"] == 201
    (acknowledged,) = [span for span in tree.below(put.id) if span.name == "manifest.acknowledge"]
    assert acknowledged.attributes["container.image.name"] == NAME
    assert {"Leases/Create", "Images/Create"} <= {span.name for span in tree.below(acknowledged.id)}
    _unpacked(told, acknowledged, layout)
    _replicated(told, acknowledged, layout)
    assert told_of(tree) == {
        row for row in documented() if row[0] not in {"head_start", "task.delete", "task.convert", "layer.convert"}
    }
    assert told.spans[before:], "the second process told nothing"
    of_push = {line["event"] for line in lines if line.get("trace") == TRACE}
    assert {"http.request", "push.acknowledged", "layer.unpacked", "blob.sent", "tag.sent"} <= of_push
    assert "daemon.ready" not in of_push


def documented() -> set[tuple[str, frozenset[str]]]:
    """The names of spans in docs/tracing.md, each with its attributes."""
    rows = _ROW.findall((ROOT / "docs/tracing.md").read_text())
    return {(name, frozenset(_QUOTED.findall(said))) for names, said in rows for name in _QUOTED.findall(names)}


def told_of(tree: Tree) -> set[tuple[str, frozenset[str]]]:
    """The same of the spans that were told and went well."""
    return {(_row(span), frozenset(span.attributes)) for span in tree.spans if span.failure is None}


def _row(span: Told) -> str:
    if span.name.startswith("upstream "):
        return "upstream METHOD"
    return {"SERVER": "METHOD ROUTE", "CLIENT": "SERVICE/METHOD"}.get(span.kind, span.name)


def digests(layout: Layout) -> set[str]:
    """Config and layers."""
    return {child.digest for child in layout.children}


def _unpacked(told: Collector, acknowledged: Told, layout: Layout) -> None:
    tree = told.trace(TRACE)
    (task,) = tree.named("task.unpack")
    layers = [span for span in tree.below(task.id) if span.name == "layer.unpack"]
    assert task.parent == acknowledged.id
    assert task.attributes["registry_mirror.state"] == "done"
    assert len(layers) == len(layout.children) - 1
    assert {span.attributes["registry_mirror.result"] for span in layers} == {"unpacked"}
    applied = [span for layer in layers for span in tree.below(layer.id) if span.name.endswith("Diff/Apply")]
    assert {span.kind for span in applied} == {"CLIENT"}
    assert len(applied) == len(layers)


def _replicated(told: Collector, acknowledged: Told, layout: Layout) -> None:
    tree = told.trace(TRACE)
    *failed, task = tree.named("task.replicate")
    assert {span.parent for span in (*failed, task)} == {acknowledged.id}
    assert all(span.failure for span in failed)
    assert failed
    assert task.attributes["registry_mirror.attempt"] == len(failed) + 1
    children = tree.below(task.id)
    blobs = [span for span in children if span.name == "blob.replicate"]
    results = {
        each.attributes["registry_mirror.blob.digest"]: each.attributes["registry_mirror.result"] for each in blobs
    }
    assert results == dict.fromkeys(digests(layout), "sent")
    for name in ("manifest.replicate", "tag.replicate"):
        (span,) = [child for child in children if child.name == name]
        (asked,) = [each for each in tree.below(span.id) if each.name == "upstream PUT"]
        assert asked.attributes["http.response.status_code"] == 201


def test_who_asks_for_nothing(
    directory: Path, containerd: Containerd, registry: Registry, layout: Layout, told: Collector
) -> None:
    """What does not say where it belongs is a trace of its own, if it is among those to be told of."""
    with traced(directory, containerd, registry, endpoint=told.url, sample=0) as daemon:
        Wire(daemon.url).push("team/app", "v1", layout)
        Wire(daemon.url, headers={"traceparent": "00-nonsense-01"}).ask("GET", "/v2/")
        Wire(daemon.url, headers={"traceparent": GIVEN["traceparent"]}).ask("GET", "/v2/")
        daemon.wait(NAME, "replicated")
        until(lambda: told.spans, "the one that was asked for")
        daemon.stop()
    assert [(span.name, span.trace, span.parent) for span in told.spans] == [("GET /v2/", TRACE, BUILDER)]
    assert told.spans[0].process["service.name"] == "registry-mirror"


def test_the_collector_is_away(directory: Path, containerd: Containerd, registry: Registry, layout: Layout) -> None:
    """A line says so, however often it fails, and another one that it is back; nothing waits for it."""
    port = free_port()
    with traced(directory, containerd, registry, endpoint=f"http://127.0.0.1:{port}") as daemon:
        Wire(daemon.url).push("team/app", "v1", layout)
        daemon.wait(NAME, "replicated")
        until(lambda: _events(daemon, "tracing.lost"), "it is missed")
        with collector(port) as told:
            until(lambda: Wire(daemon.url).ask("GET", "/v2/") and _events(daemon, "tracing.resumed"), "it is back")
            until(lambda: told.spans, "it is told")
        (lost,) = _events(daemon, "tracing.lost")
        assert "refused" in lost["reason"]
        assert not daemon.complaints()
        assert {line["event"] for line in daemon.log_lines() if line["level"] == "warning"} == {"tracing.lost"}


def _events(daemon: Daemon, name: str) -> list[dict[str, str]]:
    return [line for line in daemon.log_lines() if line["event"] == name]


def test_without_the_extra(directory: Path, containerd: Containerd, registry: Registry, layout: Layout) -> None:
    """Nothing of it is imported where it is not asked for; where it is, the settings are wrong."""
    missing = directory / "missing/opentelemetry/__init__.py"
    missing.parent.mkdir(parents=True)
    missing.write_text("raise ModuleNotFoundError(__name__)\n")
    path = os.pathsep.join(filter(None, [str(missing.parents[1]), os.environ.get("PYTHONPATH", "")]))
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}) as daemon:
        daemon.stop()
        daemon.environment["PYTHONPATH"] = path
        daemon.start()
        Wire(daemon.url, headers=GIVEN).push("team/app", "v1", layout)
        daemon.wait(NAME, "replicated")
        daemon.stop()
        daemon.config.write_text(daemon.config.read_text() + '[tracing]\nendpoint = "http://127.0.0.1:4318"\n')
        with pytest.raises(RuntimeError, match=r"ended with 2\n[^$]*registry-mirror\[tracing\]"):
            daemon.start()
