"""The dashboard and the alert rules in docs/: that they are sound, and about metrics that there are."""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.metrics.catalogue import EVERY, PREFIX
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.ports import free_port
from tests.rig.prometheus import JOB, Prometheus, Relay
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, manifest

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = DOCS / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((DOCS / "grafana" / "registry-mirror.json").read_text())
OF_THE_LIBRARY = {
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "up",
}
_BUCKETS = "_bucket"
_NO_NAMES = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|on|without|ignoring) \([^)]*\)')
_WORDS = {"or", "and", "unless"}


def expressions() -> Iterator[str]:
    """Those of the dashboard, as Grafana would ask them."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            shown: str = target["expr"]
            yield shown.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")


def conditions() -> list[str]:
    """Those of the alerts."""
    done = subprocess.run(["promtool", "check", "rules", ALERTS], capture_output=True, text=True, check=True)
    rules = re.findall(r"expr: (?:>-\n)?(.*?)\n +for:", ALERTS.read_text(), re.DOTALL)
    assert f"{len(rules)} rules found" in done.stdout
    return rules


def names(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    return set(re.findall(r"\b[a-z_]{2,}\b(?!\s*\()", _NO_NAMES.sub("", expression))) - _WORDS


def known() -> set[str]:
    """The names of all samples that there can be."""
    return OF_THE_LIBRARY | {each.name + (_BUCKETS if each.kind == "histogram" else "") for each in EVERY}


def test_they_ask_for_what_there_is() -> None:
    """A metric that was renamed would be a panel without data, or an alert that never fires."""
    asked = {name for expression in [*expressions(), *conditions()] for name in names(expression)}
    assert asked <= known()
    assert len([name for name in asked if name.startswith(PREFIX)]) > 25


def test_a_name_that_is_wrong_is_found() -> None:
    """The check above sees names wherever they stand."""
    wrong = 'sum by (kind) (rate(registry_miror_a{b=~"c"}[1m])) / on (x) process_y unless z_total > 5 or up == 1'
    assert names(wrong) - known() == {"registry_miror_a", "process_y", "z_total"}


def test_the_rules_fire_when_they_should() -> None:
    """And not else: promtool runs their unit tests."""
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"], cwd=ALERTS.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_says_what_to_do() -> None:
    """Its runbook is a heading of its name, and is there once the document is."""
    text, operations = ALERTS.read_text(), DOCS / "operations.md"
    alerts = re.findall(r"alert: (\w+)", text)
    assert re.findall(r"runbook: (\S+)", text) == [f"docs/operations.md#{alert.lower()}" for alert in alerts]
    headings = re.findall(r"^#+ (\w+)$", operations.read_text(), re.MULTILINE) if operations.exists() else alerts
    assert set(alerts) <= set(headings)


def test_the_dashboard_has_no_two_panels_in_one_place() -> None:
    """They fill the width row by row, and each has an id of its own."""
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.slow
def test_a_real_prometheus_sees_an_upstream_away(scratch: Path, containerd: Containerd) -> None:
    """The alert fires while the upstream is dead, and ends when it is back; the dashboard's questions have answers."""
    directory, port = Path(tempfile.mkdtemp(dir=scratch)), free_port()
    rules = re.sub(r"for: \d+m", "for: 1s", ALERTS.read_text())
    replicated = f'{PREFIX}push_replicate_seconds_count{{job="{JOB}"}} == 1'
    with (
        Daemon(directory / "daemon", containerd.address, {UPSTREAM: f"http://127.0.0.1:{port}"}) as daemon,
        Relay(daemon.directory / "admin.sock") as relay,
        Prometheus(directory, relay.host, rules) as prometheus,
    ):
        Wire(daemon.url).push_blob("team/app", b"config")
        Wire(daemon.url).push_manifest("team/app", "v1", manifest(b"config"))
        until(lambda: "RegistryMirrorUpstreamAway" in prometheus.firing(), "the alert fires")
        assert prometheus.firing() == {"RegistryMirrorUpstreamAway"}
        with Registry(directory / "upstream", port):
            until(lambda: not prometheus.firing(), "all is well again")
            until(lambda: prometheus.query(replicated), "the push is counted")
        for expression in expressions():
            prometheus.query(expression)
    assert not daemon.complaints()
