"""What Prometheus is told by a running daemon: as the table in docs/metrics.md says, and as promtool wants it."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

from mirror.http.inlet import LARGE
from mirror.metrics.catalogue import EVERY, PREFIX
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.faults import Reply
from tests.rig.images import build_image, busybox
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import AdminWire, Wire

DOCS = Path(__file__).parents[2] / "docs"
REPOSITORY = "team/measured"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
Row = tuple[str, str, tuple[str, ...], str]
_OF_A_BUCKET = "le"


@dataclass(frozen=True)
class Scrape:
    """The answer to one."""

    text: str

    @property
    def families(self) -> list[Metric]:
        """What is in it."""
        return list(classic(self.text))

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with a name and at least these labels."""
        samples = [sample for family in self.families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def scrape(daemon: Daemon) -> Scrape:
    """Ask as Prometheus would."""
    answer = AdminWire(daemon.directory / "admin.sock").ask("GET", "/metrics")
    assert answer.status == 200
    return Scrape(answer.body.decode())


@pytest.fixture(scope="module")
def daemon(scratch: Path, containerd: Containerd) -> Iterator[Daemon]:
    """One that has seen a push, an unpacking, a replication that was tried again, an eviction, and a large blob."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    layout = build_image(directory / "image", [busybox("measured")])
    with Registry(directory / "upstream") as registry, Proxy(registry.host) as proxy:
        with Daemon(directory / "daemon", containerd.address, {UPSTREAM: proxy.url}) as daemon:
            proxy.arm(Reply(500), "PUT", "/manifests/")
            wire = Wire(daemon.url)
            wire.push(REPOSITORY, "v1", layout)
            wire.ask("GET", f"/v2/{REPOSITORY}/blobs/{wire.push_blob(REPOSITORY, bytes(LARGE))}")
            wire.ask("GET", f"/v2/{REPOSITORY}/no/such/route")
            for state in ("unpacked", "replicated"):
                daemon.wait(f"{REPOSITORY}:v1", state)
            until(lambda: scrape(daemon).value(f"{PREFIX}push_replicate_seconds_count"), "its end was counted")
            assert "v1" in daemon.cli("evict", "--all").stdout
            yield daemon
        assert not daemon.complaints()


@pytest.fixture
def scraped(daemon: Daemon) -> Scrape:
    return scrape(daemon)


def documented() -> set[Row]:
    """The rows of the table."""
    table = re.search(r"<!-- metrics -->\n(.*)<!-- end -->", (DOCS / "metrics.md").read_text(), re.DOTALL)
    assert table is not None
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()[2:]]
    return {(name.strip("`"), kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}


def test_the_table_is_what_the_code_has() -> None:
    """Names, types, labels and meanings."""
    assert documented() == {(each.name, each.kind, each.labels, each.help) for each in EVERY}


def test_what_is_exposed_is_in_the_table(scraped: Scrape) -> None:
    """Each of them, and no other of ours, with exactly these labels."""
    exposed = set[Row]()
    for family in scraped.families:
        if family.name.startswith(PREFIX):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {frozenset(sample.labels) - {_OF_A_BUCKET} for sample in family.samples}
            assert len(labels) == 1, name
            exposed.add((name, family.type, tuple(sorted(labels.pop())), family.documentation))
    assert exposed == {(name, kind, tuple(sorted(labels)), text) for name, kind, labels, text in documented()}


def test_what_happened_is_counted(scraped: Scrape) -> None:
    """One push with its blobs, one attempt that failed before the one that did not, and what became of the image."""
    ours = {"registry": UPSTREAM}
    assert scraped.value(f"{PREFIX}pushes_total", **ours) == 1
    assert scraped.value(f"{PREFIX}uploaded_blobs_total", **ours) == 3
    for moment in ("push", "push_acknowledge", "push_unpack", "push_replicate"):
        assert scraped.value(f"{PREFIX}{moment}_seconds_count", **ours) == 1, moment
    attempts = f"{PREFIX}task_attempts_total"
    assert scraped.value(attempts, kind="replicate", outcome="pending", cause="upstream_failed") == 1
    assert scraped.value(attempts, kind="replicate", outcome="done", cause="none") == 1
    assert scraped.value(attempts, kind="unpack", outcome="done") == 1
    assert scraped.value(f"{PREFIX}task_wait_seconds_count", kind="replicate") == 1
    assert scraped.value(f"{PREFIX}upstream_requests_total", method="PUT", status="500", **ours) == 1
    assert scraped.value(f"{PREFIX}upstream_sent_bytes_total", **ours) > 500_000
    assert scraped.value(f"{PREFIX}uploaded_bytes_total", **ours) > LARGE + 500_000
    assert scraped.value(f"{PREFIX}http_received_bytes_total") >= scraped.value(f"{PREFIX}uploaded_bytes_total")
    assert scraped.value(f"{PREFIX}http_sent_bytes_total") >= LARGE
    assert scraped.value(f"{PREFIX}evicted_images_total") == 1
    assert scraped.value(f"{PREFIX}http_requests_total", method="GET", route="none", status="404") == 1
    assert scraped.value(f"{PREFIX}grpc_calls_total", service="Leases", method="Create", code="OK") > 0
    assert scraped.value(f"{PREFIX}grpc_calls_total", service="Content", method="Write") > 0
    assert scraped.value(f"{PREFIX}grpc_call_seconds_count", service="Diff", method="Apply") == 1


def test_how_it_stands(scraped: Scrape) -> None:
    """Nothing is left to do, all is well; times and sizes are of this world."""
    assert scraped.value(f"{PREFIX}tasks") == scraped.value(f"{PREFIX}oldest_task_age_seconds") == 0
    assert scraped.value(f"{PREFIX}upstream_state", registry=UPSTREAM, state="ok") == 1
    assert scraped.value(f"{PREFIX}source_up") == 2
    assert scraped.value(f"{PREFIX}ready") == scraped.value(f"{PREFIX}containerd_up") == 1
    assert 0 < scraped.value(f"{PREFIX}disk_free_bytes") < scraped.value(f"{PREFIX}disk_size_bytes")
    assert 0 < scraped.value("process_resident_memory_bytes") < 1 << 30


def test_no_label_is_of_what_was_pushed(scraped: Scrape) -> None:
    """Addresses stand there as patterns."""
    values = {value for family in scraped.families for sample in family.samples for value in sample.labels.values()}
    assert not [value for value in values for word in (REPOSITORY, "sha256", "such") if word in value]
    assert 'route="/v2/{name}/manifests/{reference}"' in scraped.text


def test_promtool_has_nothing_to_say(scraped: Scrape) -> None:
    """Of names, units and texts."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scraped.text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_openmetrics(daemon: Daemon, scraped: Scrape) -> None:
    """Who accepts it gets it, with the same in it."""
    answer = AdminWire(daemon.directory / "admin.sock").ask("GET", "/metrics", headers=OPENMETRICS)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = openmetrics(answer.body.decode())  # type: ignore[no-untyped-call] # the library has not given it a type
    assert {family.name for family in families} == {each.name for each in scraped.families}


def test_containerd_is_away(directory: Path) -> None:
    """The scrape has all but what containerd knows, and says that it is away."""
    with Daemon(directory, str(directory / "nobody.sock"), {UPSTREAM: "http://127.0.0.1:9"}) as daemon:
        until(lambda: "containerd.unavailable" in daemon.log.read_text(), "it was looked for")
        found = scrape(daemon)
    assert found.value(f"{PREFIX}source_up", source="containerd") == found.value(f"{PREFIX}containerd_up") == 0
    assert found.value(f"{PREFIX}source_up", source="journal") == 1
    assert "registry_mirror_leases{" not in found.text
    assert found.value(f"{PREFIX}ready") == 0
