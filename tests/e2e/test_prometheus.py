"""What a real Prometheus makes of it all: alerts that fire and end, and a dashboard whose questions have answers."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.ports import free_port
from tests.rig.prometheus import JOB, Prometheus, Relay
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, manifest

DOCS = Path(__file__).parents[2] / "docs"
AWAY = "RegistryMirrorUpstreamAway"
REPLICATED = f'registry_mirror_push_replicate_seconds_count{{job="{JOB}"}} == 1'
OF_THE_MACHINE = {"RegistryMirrorDiskNearlyFull", "RegistryMirrorEventLoopLate"}
"""Alerts that may be right, here and now."""
SOON = re.sub(r"for: \d+m", "for: 1s", (DOCS / "prometheus/alerts.yml").read_text())
"""The alerts, for whoever does not want to wait."""


def questions() -> Iterator[str]:
    """All that the dashboard asks, as Grafana would ask it."""
    dashboard = json.loads((DOCS / "grafana/registry-mirror.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")


def firing(prometheus: Prometheus) -> set[str]:
    """The alerts that are about what the test does."""
    return prometheus.firing() - OF_THE_MACHINE


@pytest.mark.slow
def test_an_upstream_is_away(scratch: Path, containerd: Containerd) -> None:
    """The alert fires while it is, and no other does; it ends when the upstream is back and has the push."""
    directory, port = Path(tempfile.mkdtemp(dir=scratch)), free_port()
    with (
        Daemon(directory / "daemon", containerd.address, {UPSTREAM: f"http://127.0.0.1:{port}"}) as daemon,
        Relay(daemon.directory / "admin.sock") as relay,
        Prometheus(directory, relay.host, SOON) as prometheus,
    ):
        Wire(daemon.url).push_blob("team/app", b"config")
        assert Wire(daemon.url).push_manifest("team/app", "v1", manifest(b"config")).status == 201
        # Before the first scrape the host is down, too.
        until(lambda: firing(prometheus) == {AWAY}, "the alert fires, and no other")
        with Registry(directory / "upstream", port):
            until(lambda: not firing(prometheus), "all is well again")
            until(lambda: prometheus.query(REPLICATED), "the push is counted")
        for question in questions():
            prometheus.query(question)
    assert not daemon.complaints()
