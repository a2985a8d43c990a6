"""What the operator sees of the ways to the upstreams, and does about them: rates, outages."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.faults import Reply
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, manifest

NAME = f"{UPSTREAM}/team/app:v1"
LAYER = random.Random(7).randbytes(4_000_000)  # noqa: S311 - they must repeat themselves
AT_20K = 200.0
"""Seconds that the layer takes at 20 kB/s: far more than anything here waits."""


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Daemon]:
    """A daemon of this test alone."""
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.mark.parametrize("whose", [[], ["--upstream", UPSTREAM]])
def test_a_rate_is_changed_under_way(daemon: Daemon, whose: list[str]) -> None:
    """A push crawls upstream at the rate that was set, and is there once that is taken away."""
    shown = {line.partition(": ")[2] for line in _limits(daemon, *whose, "--rate", "20k")}
    assert shown == {"20 kB/s", "no limit"}
    _push(daemon)
    first = until(lambda: _sent(daemon), "bytes arrive")
    assert until(lambda: _sent(daemon) > first and _sent(daemon), "more bytes arrive") < len(LAYER)
    assert _image(daemon)["phase"] == "replicating"
    assert _limits(daemon, *whose, "--rate", "0") == ["all upstreams together: no limit", f"{UPSTREAM}: no limit"]
    daemon.wait(NAME, "replicated", AT_20K / 4)


def test_a_change_holds_until_the_next_start(directory: Path, containerd: Containerd) -> None:
    """Then the settings count again, those of all upstreams together and those of one."""
    upstream = {"url": "http://127.0.0.1:1", "rate": 1_500_000}
    settings = {"replication": {"rate": 20_000_000}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: upstream}, settings=settings) as daemon:
        as_set = ["all upstreams together: 20 MB/s", f"{UPSTREAM}: 1500 kB/s"]
        assert _limits(daemon) == as_set
        assert _limits(daemon, "--rate", "3G") == ["all upstreams together: 3 GB/s", as_set[1]]
        assert _limits(daemon, "--upstream", UPSTREAM, "--rate", "1234567")[1] == f"{UPSTREAM}: 1234567 B/s"
        assert _limits(daemon) == ["all upstreams together: 3 GB/s", f"{UPSTREAM}: 1234567 B/s"]
        daemon.stop()
        daemon.start()
        assert _limits(daemon) == as_set


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--rate", "20m"], 2, "20m"),
        (["--rate", "-1"], 2, "-1"),
        (["--rate", ""], 2, "no number"),
        (["--rate", "9" * 5000], 2, "no number"),
        (["--rate", "999999999999G"], 1, "18 digits"),
        (["--upstream", UPSTREAM], 2, "--rate"),
        (["--upstream", "unknown.example.com", "--rate", "1"], 1, "NAME_UNKNOWN"),
    ],
)
def test_rates_that_mean_nothing(daemon: Daemon, arguments: list[str], code: int, said: str) -> None:
    """The command says what is wrong, and nothing is changed."""
    done = daemon.cli("limits", *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done
    assert all(line.endswith(": no limit") for line in _limits(daemon))


def test_an_upstream_that_is_away(daemon: Daemon, registry: Registry) -> None:
    """`status` names it and says why, for as long as it is."""
    registry.kill()
    _push(daemon)
    until(lambda: _upstream(daemon)["state"] == "away", "the outage is noticed")
    assert "connect" in _upstream(daemon)["reason"]
    assert f"upstream {UPSTREAM} is away for " in daemon.cli("status").stdout
    registry.start()
    daemon.wait(NAME, "replicated")
    assert _upstream(daemon) == {"state": "ok", "reason": "", "since": None}
    said = daemon.cli("status").stdout
    assert (f"{UPSTREAM} ok" in said, "is away" in said) == (True, False)


def test_an_upstream_that_asks_for_time(directory: Path, containerd: Containerd, registry: Registry) -> None:
    """`status` says that it rests, and with which words it asked for that."""
    with Proxy(registry.host) as proxy:
        proxy.arm(Reply(429, {"Retry-After": "1000"}), times=None)
        with Daemon(directory / "daemon", containerd.address, {UPSTREAM: proxy.url}) as daemon:
            _push(daemon)
            until(lambda: _upstream(daemon)["state"] == "resting", "it is left alone")
            assert "429" in _upstream(daemon)["reason"]
            assert f"upstream {UPSTREAM} is resting for " in daemon.cli("status").stdout


def _push(daemon: Daemon) -> None:
    wire = Wire(daemon.url)
    for blob in (b"{}", LAYER):
        wire.push_blob("team/app", blob)
    assert wire.push_manifest("team/app", "v1", manifest(b"{}", LAYER)).status == 201


def _limits(daemon: Daemon, *arguments: str) -> list[str]:
    done = daemon.cli("limits", *arguments)
    assert done.returncode == 0, done
    return done.stdout.splitlines()


def _upstream(daemon: Daemon) -> dict[str, str]:
    upstream: dict[str, str] = daemon.status()["upstreams"][UPSTREAM]
    return upstream


def _image(daemon: Daemon) -> dict[str, Any]:
    image: dict[str, Any] = json.loads(daemon.cli("status", NAME, "--json").stdout)
    return image


def _sent(daemon: Daemon) -> int:
    """How many bytes of the layer are known to be upstream by now."""
    sent = _image(daemon)["bytes"]
    return max(sent["done"] - len(b"{}"), 0) if sent else 0
