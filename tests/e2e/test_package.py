"""The Debian package, on a fresh Debian 12 without a network: from its installation to its purge."""

import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import built, machine, toml
from tests.rig.images import Layout, build_image, busybox
from tests.rig.machine import Machine
from tests.rig.until import until

# The first test of a fresh checkout downloads a Debian and the libraries.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_UPSTREAM = "registry.test"
_IMAGE = f"{_UPSTREAM}/team/app:v1"
_SERVICE = "registry-mirror.service"
_UNITS = {".service", ".socket", ".timer"}
_ROOT = Path(__file__).parents[2]
# What runs, what packages change of dpkg's own, and what other programs write meanwhile.
_CHANGING = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log")  # noqa: S108 - left out, not written to


@pytest.fixture(scope="module")
def package(scratch: Path) -> Path:
    """The package, built."""
    if reason := machine.why_not():
        pytest.skip(reason)
    directory = scratch / "package"
    return built.package(built.wheel(directory), directory)


@pytest.fixture
def host(directory: Path) -> Iterator[Machine]:
    """A fresh host."""
    with Machine(directory / "host") as host:
        until(lambda: host.run("ctr", "version").returncode == 0, "its containerd answers")
        yield host


@pytest.fixture
def layout(host: Machine) -> Layout:
    """An image, where the host sees it."""
    return build_image(host.shared / "layout", [busybox("package")])


def _given(host: Machine, package: Path) -> str:
    """Where the host finds a package."""
    place = host.shared / package.name
    place.hardlink_to(package)
    return str(place)


def _configure(host: Machine) -> str:
    """Write settings as an operator would, with an upstream that is away; and return them."""
    text = toml.dump({"default_upstream": _UPSTREAM, "upstreams": {_UPSTREAM: {"url": "http://127.0.0.1:1"}}})
    (host.shared / "config.toml").write_text(text)
    host.do("cp", "--no-preserve=all", str(host.shared / "config.toml"), "/etc/registry-mirror/config.toml")
    return text


def _everything(host: Machine) -> set[str]:
    """Each file there is, each user and group, and what is beside containerd's own."""
    pruned = " -o ".join(f"-path {path}" for path in _CHANGING)
    files = host.do("sh", "-c", f"find / -xdev \\( {pruned} \\) -prune -o -print").splitlines()
    listings = ("cat /etc/passwd", "cat /etc/group", "ls -d /var/lib/containerd/* /run/registry*")
    return {line for each in listings for line in host.run("sh", "-c", each).stdout.splitlines()} | set(files)


def _leases(host: Machine) -> list[str]:
    return re.findall(r"^registry-mirror/\S+", host.do("ctr", "leases", "ls"), re.MULTILINE)


def _pid(host: Machine) -> str:
    return host.do("systemctl", "show", _SERVICE, "--property=MainPID", "--value").strip()


def _jobs(host: Machine) -> list[tuple[int, str]]:
    listed = json.loads(host.do("registry-mirror", "jobs", "list", "--json"))
    return [(task["job"], task["digest"]) for task in listed["tasks"] if task["kind"] == "replicate"]


def test_contents(package: Path, directory: Path) -> None:
    """The package has all in its places, and nothing of the machine that it was built on."""
    subprocess.run(["dpkg-deb", "--raw-extract", package, directory / "root"], check=True)
    root = directory / "root"
    for path in (
        *(f"lib/systemd/system/{unit.name}" for unit in (_ROOT / "systemd").iterdir() if unit.suffix in _UNITS),
        "usr/share/bash-completion/completions/registry-mirror",
        "usr/share/zsh/vendor-completions/_registry-mirror",
        "usr/share/fish/vendor_completions.d/registry-mirror.fish",
        "usr/share/doc/registry-mirror/copyright",
        "usr/share/doc/registry-mirror/examples/prometheus/alerts.yml",
        "usr/share/doc/registry-mirror/examples/grafana/registry-mirror.json",
    ):
        assert (root / path).read_bytes(), path
    assert gzip.decompress((root / "usr/share/man/man1/registry-mirror.1.gz").read_bytes()).startswith(b".TH")
    changes = directory / "changelog"
    changes.write_bytes(gzip.decompress((root / "usr/share/doc/registry-mirror/changelog.Debian.gz").read_bytes()))
    parsed = subprocess.run(["dpkg-parsechangelog", "-l", changes], capture_output=True, text=True, check=True)
    assert not parsed.stderr
    assert "Source: registry-mirror\n" in parsed.stdout
    assert (root / "DEBIAN/conffiles").read_text() == "/etc/registry-mirror/config.toml\n"
    here = [argument for path in (_ROOT, directory.parent) for argument in ("-e", f"{path}/")]
    assert subprocess.run(["grep", "-rlF", *here, root], capture_output=True, check=False).stdout == b""


def test_life(package: Path, directory: Path, host: Machine, layout: Layout) -> None:
    """Installed, configured, used, upgraded, removed and purged; after that all is as it was before."""
    before = _everything(host)

    said = host.do("dpkg", "--install", _given(host, built.older(package, directory)))
    assert "its settings are an example" in said
    assert host.do("systemctl", "is-enabled", _SERVICE) == "enabled\n"
    assert host.state(_SERVICE) == "inactive"
    host.do("systemctl", "start", _SERVICE)
    assert host.state(_SERVICE) == "inactive"  # and not failed: its condition does not hold

    settings = _configure(host)
    host.do("systemctl", "start", _SERVICE)
    assert host.state(_SERVICE) == "active"
    assert host.journal("EVENT=daemon.ready")
    assert layout.digest in host.do("registry-mirror", "push", str(layout.directory), "team/app:v1")
    assert f"{_IMAGE} " in host.do("ctr", "images", "ls")
    assert json.loads(host.do("registry-mirror", "status", "--json"))["not_ready"] == []
    host.do("ls", "/var/lib/containerd/registry-mirror/default")  # the spool: blobs are linked into the store
    jobs, pid = _jobs(host), _pid(host)
    assert [digest for _, digest in jobs] == [layout.digest]

    new = _given(host, package)
    host.do("dpkg", "--install", new)
    assert host.do("cat", "/etc/registry-mirror/config.toml") == settings
    assert host.state(_SERVICE) == "active"
    assert _pid(host) != pid
    assert _jobs(host) == jobs

    host.do("systemctl", "disable", _SERVICE)
    host.do("dpkg", "--install", new)
    assert host.run("systemctl", "is-enabled", _SERVICE).stdout == "disabled\n"
    host.do("systemctl", "enable", _SERVICE)

    said = host.do("dpkg", "--remove", "registry-mirror")
    assert "1 image(s) are ON THIS HOST ALONE" in said
    assert _IMAGE in said
    assert host.state(_SERVICE) == "inactive"
    assert host.run("ls", "/usr/lib/registry-mirror").returncode
    host.do("ls", "/var/lib/registry-mirror/journal.db", "/etc/registry-mirror/config.toml")
    assert _leases(host)

    host.do("dpkg", "--install", new)
    assert host.state(_SERVICE) == "active"
    assert _jobs(host) == jobs

    host.do("dpkg", "--purge", "registry-mirror")
    assert not _leases(host)
    assert _everything(host) == before
    assert host.do("systemctl", "--failed", "--quiet", "--plain") == ""
