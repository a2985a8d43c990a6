"""What Prometheus is told, and what dashboard and alerts make of it."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layout, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import AdminWire, Wire

DOCS = Path(__file__).parents[2] / "docs"
NAME = f"{UPSTREAM}/team/app:v1"
_ROW = re.compile(r"\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|")
_OF_LIBRARY = ("process_", "python_")


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run."""
    return build_image(directory / "layout", [busybox(directory.name)])


class Scrape:
    """What a daemon tells at one moment."""

    def __init__(self, daemon: Daemon) -> None:
        answer = AdminWire(daemon.directory / "admin.sock").ask("GET", "/metrics")
        assert answer.status == 200, answer
        self.text = answer.body.decode()
        self.families = {family.name: family for family in text_string_to_metric_families(self.text)}

    def samples(self) -> Iterator[Sample]:
        """All of them."""
        for family in self.families.values():
            yield from family.samples

    def value(self, name: str, **labels: str) -> float:
        """The sum of what has this name below `registry_mirror_`, and these labels."""
        found = [sample for sample in self.samples() if sample.name == f"registry_mirror_{name}"]
        return sum(sample.value for sample in found if labels.items() <= sample.labels.items())


def _promtool(*arguments: str, said: str = "", below: Path = DOCS) -> None:
    done = subprocess.run(
        ["promtool", *arguments], input=said, capture_output=True, text=True, check=False, timeout=60, cwd=below
    )
    assert (done.returncode, done.stderr) == (0, ""), done


def test_a_push(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """A push is counted at each of its steps, an attempt that fails by its cause; the moments are told with the job."""
    registry.kill()
    Wire(daemon.url).push("team/app", "v1", layout)
    daemon.wait(NAME, "unpacked")
    until(lambda: Scrape(daemon).value("task_attempts_total", kind="replicate", cause="upstream away"), "a failure")
    until(lambda: not Scrape(daemon).value("upstream_up", upstream=UPSTREAM), "the upstream is known to be away")
    before = Scrape(daemon)
    assert before.value("tasks", kind="replicate") == 1
    assert before.value("oldest_job_age_seconds", kind="replicate") > 0
    assert before.value("leases", kind="job") == 1
    registry.start()
    daemon.wait(NAME, "replicated")
    after = until(lambda: [s for s in [Scrape(daemon)] if not s.value("tasks", kind="replicate")], "it is over")[0]
    size = sum(child.size for child in layout.children)
    assert after.value("pushes_total", upstream=UPSTREAM) == 1
    assert after.value("received_bytes_total") == after.value("sent_bytes_total", upstream=UPSTREAM) == size
    for step in ("push", "push_acknowledge", "push_unpack", "push_replicate"):
        assert after.value(f"{step}_seconds_count") == 1, step
    for kind in ("replicate", "unpack"):
        assert after.value("task_wait_seconds_count", kind=kind) == 1, kind
    assert after.value("upstream_request_seconds_count", upstream=UPSTREAM, method="PUT", status="201") > 0
    assert after.value("upstream_request_seconds_count", upstream=UPSTREAM, status="none") > 0
    assert after.value("ready") == after.value("containerd_up") == after.value("upstream_up", upstream=UPSTREAM) == 1
    assert after.value("http_request_seconds_count", method="PUT", route="/v2/{name}/manifests/{reference}") == 1
    assert after.value("containerd_call_seconds_count", method="Content/Info", code="OK") > 0
    assert after.value("event_loop_lag_seconds_count") > 0
    assert after.value("disk_size_bytes") > after.value("disk_free_bytes") > 0
    times = json.loads(daemon.cli("status", NAME, "--json").stdout)["timeline"]
    moments = [times[name] for name in ("first_byte", "last_byte", "acknowledged", "replicated")]
    assert sorted(moments) == moments
    _is_bounded(after)
    _is_documented(after)
    _promtool("check", "metrics", said=after.text)


def _is_bounded(scrape: Scrape) -> None:
    """No label holds what a client chose."""
    values = {value for sample in scrape.samples() for value in sample.labels.values()}
    assert not [value for value in values if "team" in value or "sha256" in value or value == "v1"]


def _is_documented(scrape: Scrape) -> None:
    """The table of metrics tells all that there are, with their kinds, labels and meanings, and no others."""
    rows = _ROW.findall((DOCS / "metrics.md").read_text())
    told = {name: (kind, labels, meaning) for name, kind, labels, meaning in rows}
    assert len(told) == len(rows)
    assert told == {row[0]: row[1:] for row in _rows(scrape)}


def _rows(scrape: Scrape) -> Iterator[tuple[str, str, str, str]]:
    for family in scrape.families.values():
        if not family.name.startswith(_OF_LIBRARY):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            name = family.name + "_total" * (family.type == "counter")
            yield name, family.type, ", ".join(sorted(labels)), family.documentation


@pytest.mark.slow
def test_containerd_is_away(daemon: Daemon, containerd: Containerd) -> None:
    """What cannot be asked is left out, and the rest is told."""
    containerd.pause()
    try:
        until(lambda: not Scrape(daemon).value("containerd_up"), "it is missed")
        scrape = Scrape(daemon)
    finally:
        containerd.resume()
    assert "registry_mirror_leases" not in scrape.families
    assert (scrape.value("ready"), "registry_mirror_tasks" in scrape.families) == (0, True)


def test_requests_of_any_kind(daemon: Daemon) -> None:
    """Whatever clients ask for, there are only so many series."""
    wire = Wire(daemon.url)
    for number in range(20):
        wire.ask(f"X{number}", f"/v2/{number}/manifests/v{number}")
        wire.ask("GET", f"/{number}")
    found = [sample.labels for sample in Scrape(daemon).samples() if sample.name.endswith("http_request_seconds_count")]
    assert {labels["method"] for labels in found} <= {"GET", "other"}
    assert {labels["route"] for labels in found} <= {"none", "/metrics", "/v2/{name}/manifests/{reference}", "/v2/"}


def test_alerts() -> None:
    """They are rules, and fire on what they say."""
    rules = DOCS / "prometheus"
    _promtool("check", "rules", "alerts.yml", below=rules)
    _promtool("test", "rules", "alerts_test.yml", below=rules)


def test_each_alert_says_what_to_do() -> None:
    """Its runbook is a heading of docs/operations.md, which is of its name."""
    text, headings = (DOCS / "prometheus/alerts.yml").read_text(), (DOCS / "operations.md").read_text().splitlines()
    alerts = re.findall(r"alert: (\w+)", text)
    assert re.findall(r"runbook: (\S+)", text) == [f"docs/operations.md#{alert.lower()}" for alert in alerts]
    assert [line.removeprefix("### ") for line in headings if line.startswith("### RegistryMirror")] == alerts


def test_what_is_drawn_exists() -> None:
    """Dashboard and alerts speak of no other metrics than there are."""
    told = {name for name, *_ in _ROW.findall((DOCS / "metrics.md").read_text())}
    for file in (DOCS / "grafana/registry-mirror.json", DOCS / "prometheus/alerts.yml"):
        names = set(_names(re.findall(r"registry_mirror_\w+", file.read_text())))
        assert names, file
        assert names <= told, names - told


def _names(found: Sequence[str]) -> Iterator[str]:
    for name in found:
        yield re.sub(r"_(bucket|count|sum)$", "", name) if "_seconds_" in name else name
