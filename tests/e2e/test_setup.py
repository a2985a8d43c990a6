"""`registry-mirror setup`: what it writes is what the tools read, and nothing of anybody else's is lost."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.authority import Authority
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import build_image, busybox
from tests.rig.ports import free_port
from tests.rig.registry import Registry
from tests.rig.wire import Wire

HOSTS = f"etc/containerd/certs.d/{UPSTREAM}/hosts.toml"
TOOLS = ["containerd", "buildkit", "docker", "podman", "k3s"]


@pytest.fixture
def root(directory: Path) -> Path:
    """A file system of our own."""
    (directory / "root").mkdir()
    return directory / "root"


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Daemon]:
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}) as daemon:
        yield daemon


@pytest.fixture
def settings(directory: Path) -> Daemon:
    """Settings alone: to be told how to get to it, no daemon is needed."""
    (directory / "daemon").mkdir()
    return Daemon(directory / "daemon", "/unused.sock", {UPSTREAM: "https://registry.example.com"})


def files(root: Path) -> dict[str, str]:
    found = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}
    return {path: text for path, text in found.items() if path.startswith("etc/")}


def setup(daemon: Daemon, *arguments: str) -> str:
    done = daemon.cli("setup", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_there_and_back(settings: Daemon, root: Path, tool: str) -> None:
    """What it prints is what it writes; once more it has nothing to do; undone, there is nothing."""
    more = ["--address", "mirror.internal:5000"]
    printed = setup(settings, tool, *more)
    setup(settings, tool, "--write", "--root", str(root), *more)
    written = files(root)
    assert printed == "".join(f"# /{path}\n{text}\n" for path, text in written.items())
    as_json = json.loads(setup(settings, tool, "--json", *more))
    assert as_json["files"] == {f"/{path}": text for path, text in written.items()}
    assert written
    assert setup(settings, tool, "--write", "--root", str(root), *more) == "nothing to do\n"
    setup(settings, tool, "--write", "--root", str(root), "--address", "mirror.internal:5001")
    assert all("5001" in text for text in files(root).values())
    setup(settings, tool, "--undo", "--root", str(root))
    assert files(root) == {}
    assert setup(settings, tool, "--undo", "--root", str(root)) == "nothing to do\n"


def test_tools_by_themselves(settings: Daemon, root: Path) -> None:
    """What is undone for one stays for the others."""
    for tool in ("containerd", "k3s"):
        setup(settings, tool, "--write", "--root", str(root))
    setup(settings, "containerd", "--undo", "--root", str(root))
    assert list(files(root)) == ["etc/rancher/k3s/registries.yaml"]


@pytest.mark.parametrize("text", ["somebody else's", ""])
def test_what_is_somebody_elses(settings: Daemon, root: Path, text: str) -> None:
    """It is never overwritten, nor is anything written beside it, nor is it removed."""
    (root / HOSTS).parent.mkdir(parents=True)
    (root / HOSTS).write_text(text)
    for action in ("--write", "--undo"):
        done = settings.cli("setup", "containerd", action, "--root", str(root))
        assert done.returncode == (1 if action == "--write" else 0)
        assert action == "--undo" or f"/{HOSTS}" in done.stderr
        assert files(root) == {HOSTS: text}


def test_what_was_changed_since(settings: Daemon, root: Path) -> None:
    """Then it is that person's: it is neither overwritten nor removed, and that is said."""
    setup(settings, "containerd", "--write", "--root", str(root))
    with (root / HOSTS).open("a") as file:
        file.write("# mine\n")
    mine = files(root)
    for action in ("--write", "--undo"):
        done = settings.cli("setup", "containerd", action, "--root", str(root))
        assert (done.returncode, f"/{HOSTS}" in done.stderr) == (1, True)
        assert files(root) == mine


def test_what_is_there_already(settings: Daemon, root: Path) -> None:
    """The very same, by somebody else: there is nothing to write, and it is not removed."""
    setup(settings, "containerd", "--write", "--root", str(root))
    same = files(root)
    setup(settings, "containerd", "--undo", "--root", str(root))
    (root / HOSTS).parent.mkdir(parents=True)
    (root / HOSTS).write_text(same[HOSTS])
    for action in ("--write", "--undo"):
        assert setup(settings, "containerd", action, "--root", str(root)) == "nothing to do\n"
    assert files(root) == same


def test_which_listener(directory: Path) -> None:
    """It has to be said where there are several, and one on all addresses is reached on the loopback."""
    authority = Authority(directory / "authority")
    listeners: dict[str, object] = {
        "network": {"listen": "[::]:5443", "tls": authority.server()},
        "local": {"listen": "0.0.0.0:5000"},
        "socket": {"listen": f"unix:{directory}/push.sock"},
    }
    (directory / "daemon").mkdir()
    upstreams = {UPSTREAM: "https://registry.example.com"}
    daemon = Daemon(directory / "daemon", "/unused.sock", upstreams, settings={"listeners": listeners})
    for arguments in ([], ["--listener", "socket"], ["--listener", "other"]):
        done = daemon.cli("setup", "containerd", *arguments)
        assert done.returncode == 2
        assert "builders, network, local" in done.stderr
    assert '"http://127.0.0.1:5000"' in setup(daemon, "containerd", "--listener", "local")
    printed = setup(daemon, "containerd", "--listener", "network", "--ca", str(authority.ca))
    assert '"https://[::1]:5443"' in printed
    assert str(authority.ca) in printed


def test_containerd_reads_it(
    daemon: Daemon, containerd: Containerd, registry: Registry, root: Path, directory: Path
) -> None:
    """An image that was just pushed is pulled without the registry; without the daemon, from the registry."""
    setup(daemon, "containerd", "--write", "--root", str(root))
    hosts = str(root / "etc/containerd/certs.d")
    layout = build_image(directory / "layout", [busybox(directory.name)])
    registry.kill()
    Wire(daemon.url).push("team/app", "v1", layout)
    for name in (f"{UPSTREAM}/team/app@{layout.digest}", f"{UPSTREAM}/team/app:v1"):
        containerd.ctr("images", "pull", "--hosts-dir", hosts, name)
    registry.start()
    daemon.wait(f"{UPSTREAM}/team/app:v1", "replicated")
    daemon.kill()
    containerd.ctr("images", "rm", "--sync", *containerd.images())
    containerd.ctr("images", "pull", "--hosts-dir", hosts, f"{UPSTREAM}/team/app:v1")
    assert containerd.run_container(f"{UPSTREAM}/team/app:v1").strip() == directory.name


def test_skopeo_reads_it(daemon: Daemon, registry: Registry, root: Path, directory: Path) -> None:
    """The same, by the name of the registry."""
    setup(daemon, "podman", "--write", "--root", str(root))
    layout = build_image(directory / "layout", [busybox(directory.name)])
    registry.kill()
    Wire(daemon.url).push("team/app", "v1", layout)
    room = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        'mount --bind "$0" "$1" && shift && exec "$@"',
    ]
    places = [str(root / "etc/containers/registries.conf.d"), "/etc/containers/registries.conf.d"]
    command = ["skopeo", "inspect", "--no-tags", "--format", "{{.Digest}}", f"docker://{UPSTREAM}/team/app:v1"]
    done = subprocess.run([*room, *places, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, layout.digest), done.stderr


def test_dockerd_reads_it(settings: Daemon, root: Path, directory: Path) -> None:
    """It begins with that file, as far as its next complaint."""
    setup(settings, "docker", "--write", "--root", str(root), "--address", f"mirror.internal:{free_port()}")
    config = str(root / "etc/docker/daemon.json")
    refused = [
        "dockerd",
        "--config-file",
        config,
        "--data-root",
        str(directory),
        "--insecure-registry",
        "x",
        "--host",
        "",
    ]
    done = subprocess.run(refused, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode
    assert "insecure-registries: (from flag: [x], from file: [mirror.internal:" in done.stderr
