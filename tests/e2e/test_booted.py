"""The daemon under a real systemd, in the sandbox of its unit: restarts, reloads, the watchdog, sockets of units."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.rig.booted import Booted
from tests.rig.client import digest_in
from tests.rig.images import Layer, Text, build_image, large_layer
from tests.rig.until import until

pytestmark = pytest.mark.slow

ASK = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "http://127.0.0.1:5000/v2/")

_NAME = "127.0.0.1:5000/team/app:v1"
_DOCKERD = (
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-masq=false",
    "--storage-driver=vfs",
    "--data-root=/var/lib/containerd/docker",
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """A booted Debian; each test starts the service with its own settings."""
    if not (Path("/sys/fs/cgroup/systemd").exists() or Path("/sys/fs/cgroup/cgroup.controllers").exists()):
        pytest.skip("systemd needs cgroups")
    with Booted(tmp_path_factory.mktemp("booted")) as machine:
        yield machine


@pytest.fixture(autouse=True)
def _started(machine: Booted) -> Iterator[None]:
    machine.set({"shutdown": {"deadline": 0.01}})
    machine.drop_in("")
    machine.systemctl("start", "registry-mirror")
    yield
    machine.systemctl("stop", "registry-mirror.socket", "registry-mirror-admin.socket", "registry-mirror-push.socket")
    machine.systemctl("stop", "registry-mirror")


def test_no_connection_is_refused_over_a_restart(machine: Booted) -> None:
    """The sockets are systemd's meanwhile. At another address that a kept one is in the way of, it lets go of that."""
    assert machine.property("NFileDescriptorStore") == "3"
    with ThreadPoolExecutor() as pool:
        restart = pool.submit(machine.systemctl, "restart", "registry-mirror")
        answers = []
        while not restart.done():
            answers.append(machine.run(*ASK).stdout)
        restart.result()
    assert set(answers) == {"200"}
    machine.set({"listeners": {"builders": {"listen": "0.0.0.0:5000"}}})
    machine.systemctl("restart", "registry-mirror")
    assert "0.0.0.0:5000" in machine.run("ss", "-ltnH", "sport = :5000").stdout
    assert machine.property("NFileDescriptorStore") == "3"
    until(lambda: machine.property("StatusText") == "ready", "it says how it is doing")


def test_reloading(machine: Booted) -> None:
    """`systemctl reload` goes over to what can change, and fails with bad settings, of which nothing counts."""
    before = machine.property("MainPID")
    machine.set({"retention": {"tags": 5}, "http": {"catalog": True}})
    machine.systemctl("reload", "registry-mirror")
    until(lambda: 'changed=["retention.tags", "shutdown.deadline"]' in machine.journal(), "it is said what changed")
    assert 'needs_restart=["http.catalog"]' in machine.journal()
    until(lambda: machine.property("ActiveState") == "active", "it has reloaded")
    machine.set({"retention": {"nonsense": 5}})
    with pytest.raises(RuntimeError, match="nonsense"):
        machine.systemctl("reload", "registry-mirror")
    assert (machine.property("MainPID"), machine.run(*ASK).stdout) == (before, "200")


def test_reloading_with_a_credential(machine: Booted) -> None:
    """What systemd loads is for the daemon alone: the check before a reload makes do without it."""
    (machine.etc / "secret").write_text("secret\n")
    machine.drop_in("[Service]\nLoadCredential=upstream:/etc/registry-mirror/secret\n")
    upstream = {"url": "http://127.0.0.1:1", "username": "builder", "password_file": "credential:upstream"}
    machine.set({"upstreams": {"registry.example.com": upstream}})
    machine.systemctl("restart", "registry-mirror")
    machine.systemctl("reload", "registry-mirror")
    until(lambda: "daemon.reloaded" in machine.journal(), "it has reloaded")


def test_settings_that_are_wrong_under_a_socket(machine: Booted) -> None:
    """Whoever waits at the socket does not start the daemon for ever."""
    machine.systemctl("stop", "registry-mirror")
    machine.set({"nonsense": {"tags": 5}})
    machine.systemctl("start", "registry-mirror.socket")
    machine.run(*ASK)
    state = ("show", "registry-mirror.socket", "--property", "Result", "--value")
    until(lambda: machine.systemctl(*state) == "trigger-limit-hit", "the unit gives up")
    machine.set({})
    machine.systemctl("reset-failed", "registry-mirror.socket", "registry-mirror.service")


def test_the_watchdog(machine: Booted) -> None:
    """A daemon that hangs is ended and started again, and the log shows where it hung."""
    machine.drop_in("[Service]\nWatchdogSec=2\n")
    machine.systemctl("restart", "registry-mirror")
    restarts = int(machine.property("NRestarts"))
    machine.run("kill", "-STOP", machine.property("MainPID"))
    until(lambda: int(machine.property("NRestarts")) == restarts + 1, "it is started again")
    assert machine.run(*ASK).stdout == "200"
    assert "Fatal Python error: Aborted" in machine.journal()
    assert "Failed with result 'watchdog'" in machine.journal()


def test_sockets_of_units(machine: Booted) -> None:
    """The first connection starts the daemon, on all three sockets; the weekly check runs in its own sandbox."""
    machine.systemctl("stop", "registry-mirror")
    sockets = ("registry-mirror.socket", "registry-mirror-admin.socket", "registry-mirror-push.socket")
    machine.systemctl("start", *sockets)
    assert machine.property("ActiveState") == "inactive"
    assert machine.run(*ASK).stdout == "200"
    assert machine.property("NFileDescriptorStore") == "0"
    assert machine.run("stat", "--format=%a %G", "/run/registry-mirror/admin.sock").stdout == "660 registry-mirror\n"
    until(lambda: "containerd.ready" in machine.journal(), "containerd is there")
    machine.systemctl("start", "registry-mirror-check.service")
    machine.systemctl("stop", "registry-mirror")
    assert machine.run("registry-mirror", "status").returncode == 0


def test_a_variant(machine: Booted) -> None:
    """The process that converts may stand back as it does, although the unit forbids what has to do with real time."""
    layout = build_image(machine.shared / "layout", [Layer([Text("text", 1 << 20)])])
    until(lambda: "containerd.ready" in machine.journal(), "containerd is there")
    assert machine.run("registry-mirror", "push", str(layout.directory), "team/text:v1").returncode == 0
    done = machine.run("registry-mirror", "convert", "team/text:v1")
    assert done.stdout.startswith("registry.example.com/team/text:v1-zstd: "), done


def test_a_restart_in_the_middle_of_a_push(machine: Booted) -> None:
    """A client that tries again by itself ends well: dockerd, which does so after 5 seconds."""
    layer = large_layer(machine.shared / "layer.tar")
    machine.run("systemd-run", "--unit=dockerd", "dockerd", *_DOCKERD)
    until(lambda: machine.run("docker", "import", str(layer), _NAME).returncode == 0, "dockerd has the image")
    until(lambda: "containerd.ready" in machine.journal(), "containerd is there")
    with ThreadPoolExecutor() as pool:
        push = pool.submit(machine.run, "docker", "push", _NAME)
        until(lambda: _begun(machine), "the upload has begun")
        machine.systemctl("restart", "registry-mirror")
        done = push.result()
    machine.systemctl("stop", "dockerd")
    assert done.returncode == 0, done
    assert _begun(machine) > 2  # the layer, the layer once more, the config
    assert digest_in(done.stdout) in machine.run("ctr", "images", "list").stdout


def _begun(machine: Booted) -> int:
    """How many uploads were."""
    return machine.journal().count("method=POST path=/v2/team/app/blobs/uploads/ status=202")
