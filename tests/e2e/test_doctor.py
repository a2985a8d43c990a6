"""`registry-mirror doctor`: it names the cause in each broken set-up, and calls nothing broken that is not."""

import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mirror.cli.doctor.subjects import Subjects
from tests.conftest import UPSTREAM
from tests.rig import toml
from tests.rig.authority import Authority
from tests.rig.containerd import Containerd
from tests.rig.daemon import IS_DIRECT, Daemon
from tests.rig.disk import Disk
from tests.rig.faketime import Clock
from tests.rig.images import build_image, busybox
from tests.rig.ports import free_port
from tests.rig.registry import Registry
from tests.rig.strange import REGISTRY, Said, Strange, silent, unreachable
from tests.rig.tokens import TokenServer
from tests.rig.web import Login

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a private containerd needs root")

LOGIN = Login("builder", "correct horse")
PASSWORD = "wrong donkey"  # noqa: S105 - it is none
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
# What is about the machine that the suite runs on, and no set-up of ours.
MACHINE = {"clock.synchronised", "daemon.unit", "host.open files", "host.long link", "journal.filesystem"}
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@dataclass(frozen=True)
class Report:
    """What it said, and how it ended."""

    code: int
    text: str
    checks: list[dict[str, str]]

    def called(self, *verdicts: str) -> dict[str, str]:
        """What it found there with these verdicts, by check and what that is about, with the remedy."""
        return {
            f"{check['check']} {check['about']}".rstrip(): f"{check['seen']} → {check['remedy']}"
            for check in self.checks
            if check["verdict"] in verdicts and check["check"] not in MACHINE
        }

    def only(self, name: str, *words: str, verdict: str = "broken") -> None:
        """This is the one complaint, and it has these words, with a remedy."""
        found = self.called("warning", "broken")
        assert set(found) == {name}, found
        assert self.called(verdict) == found
        for word in words:
            assert word in found[name]
        assert not found[name].endswith("→ ")
        assert self.code == (1 if verdict == "broken" else 0)


def doctor(daemon: Daemon, *arguments: str, around: tuple[str, ...] = ()) -> Report:
    """Run it against the settings of a daemon."""
    command = [*around, *daemon.command()[:-3], "doctor", "--json", "--config", str(daemon.config), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert not done.stderr
    return Report(done.returncode, done.stdout, json.loads(done.stdout)["checks"])


@pytest.fixture(scope="module")
def upstream(scratch: Path) -> Iterator[Registry]:
    """One that is well."""
    with Registry(scratch / "doctors-upstream") as registry:
        yield registry


Settings = Mapping[str, Mapping[str, object]]


@pytest.fixture
def set_up(directory: Path, containerd: Containerd, upstream: Registry) -> "SetUp":
    return SetUp(directory, containerd, upstream)


def let_in(*directories: Path) -> None:
    """Let anybody look into directories."""
    for directory in directories:
        directory.chmod(0o755)


def root(daemon: Daemon) -> Path:
    """Where the files of its clients are."""
    return daemon.directory / "root"


def examined(daemon: Daemon, *arguments: str, around: tuple[str, ...] = ()) -> Report:
    """What is found of a daemon and its clients."""
    return doctor(daemon, "--root", str(root(daemon)), *arguments, around=around)


@dataclass
class SetUp:
    """A host that is well but for what a test changes; clients come here first."""

    directory: Path
    containerd: Containerd
    upstream: Registry

    def daemon(
        self,
        settings: Settings | None = None,
        upstreams: Mapping[str, str | Mapping[str, object]] | None = None,
        address: str | None = None,
        name: str = "daemon",
    ) -> Daemon:
        """A daemon that was not started."""
        upstreams = upstreams or {UPSTREAM: self.upstream.url}
        daemon = Daemon(self.directory / name, address or self.containerd.address, upstreams, settings=settings)
        root(daemon).mkdir()
        done = daemon.cli("setup", "containerd", "--write", "--root", str(root(daemon)), "--listener", "builders")
        assert not done.returncode, done.stderr
        return daemon


def test_healthy(set_up: SetUp) -> None:
    """With TLS and a login there is nothing to complain of, whether the daemon runs or not; nor is anything left."""
    secret = set_up.directory / "secret"
    secret.write_text(f"{LOGIN.password}\n")
    with Registry(set_up.directory / "registry", login=LOGIN, tls=True) as registry:
        table = {"url": registry.url, "username": LOGIN.username, "password_file": str(secret)}
        daemon = set_up.daemon(upstreams={UPSTREAM: {**table, "ca_file": str(registry.ca_file)}})
        before = examined(daemon)
        assert before.called("hint", "warning", "broken") == {}
        assert before.called("skipped")["daemon.answers"].startswith("no daemon runs")
        with daemon:
            report = examined(daemon, "--repository", "team/app")
            text = daemon.cli("doctor", "--root", str(root(daemon)))
        assert report.called("hint", "warning", "broken", "skipped") == {}
        assert (report.code, text.returncode) == (0, 0)
        assert f"✓ ok       login {UPSTREAM}: it takes the credentials of" in text.stdout
        assert report.called("ok")[f"upstream.push {UPSTREAM}"].startswith("we may push to team/app")
        assert LOGIN.password not in report.text + text.stdout
        repository = set_up.directory / "registry/data/docker/registry/v2/repositories/team/app"
        assert repository.is_dir()
        assert not list(repository.rglob("startedat"))


# --- upstreams ----------------------------------------------------------------------------------------------------


UPSTREAMS = {
    "expired.test": ("certificate", "has expired", "127.0.0.1", "until 20", "timedatectl"),
    "stranger.test": ("certificate", "an authority that is not known", "ca_file"),
    "misnamed.test": ("certificate", "for other names than 127.0.0.1", "elsewhere.test", "url"),
    "plain.test": ("certificate", "does not speak TLS", "http://"),
    "refused.test": ("connection", "refuses connections", "url"),
    "dropped.test": ("connection", "does not answer to a connection", "firewall"),
    "silent.test": ("answers", "answers nothing", "hangs"),
    "nameless.test": ("name", "no-such-host.invalid", "resolv.conf"),
    "page.test": ("answers", "text/html", "no registry", "url"),
    "failing.test": ("answers", "503", "url"),
    "certificates.test": ("answers", "refused the connection", "client_cert"),
    "no-ca.test": ("trust", "gone.pem", "ca_file"),
    "no-password.test": ("secrets", "gone.password", "No such file"),
    "empty-password.test": ("secrets", "empty.password", "is empty"),
    "wrong-password.test": ("login", "refuses the credentials", "401", "wrong.password"),
    "no-login.test": ("login", "asks for a login", "password_file"),
    "no-tokens.test": ("tokens", "token server", "cannot be reached"),
    "no-push.test": ("push", "may not push to team/app", "operator"),
}


@pytest.fixture(scope="module")
def upstreams(scratch: Path, containerd: Containerd) -> Iterator[Report]:
    """What is said of all those upstreams, together, by one run; the default is the one that we may not push to."""
    place = scratch / "upstreams"
    with ExitStack() as running:
        daemon = Daemon(place / "daemon", containerd.address, _upstreams(place, running))
        yield doctor(daemon, "--repository", "team/app")


def _upstreams(place: Path, running: ExitStack) -> dict[str, str | Mapping[str, object]]:
    ours, theirs = Authority(place / "ours"), Authority(place / "theirs")
    for name, text in {"wrong": PASSWORD, "empty": "\n"}.items():
        (place / f"{name}.password").write_text(text)

    def login(name: str) -> dict[str, object]:
        return {"username": LOGIN.username, "password_file": str(place / f"{name}.password")}

    def web(said: Said, tls: Mapping[str, str] | None = None) -> str:
        return running.enter_context(Strange(said, tls)).url

    trusted = {"ca_file": str(ours.ca)}
    page = Said(headers={"Content-Type": "text/html"}, body=b"<html><title>Welcome</title></html>")
    away = f'Bearer realm="http://127.0.0.1:{free_port()}/token",service="rig"'
    asking = running.enter_context(Registry(place / "asking", login=LOGIN))
    mutual = running.enter_context(Registry(place / "mutual", client_certificates=True))
    tokens = running.enter_context(TokenServer(place / "tokens"))
    tokens.granted = False
    stingy = running.enter_context(Registry(place / "stingy", tokens=tokens))
    well = web(Said())
    return {
        "no-push.test": stingy.url,
        "expired.test": {"url": web(Said(), ours.server("expired", ends=YESTERDAY)), **trusted},
        "stranger.test": web(Said(), theirs.server()),
        "misnamed.test": {"url": web(Said(), ours.server("misnamed", ["elsewhere.test"])), **trusted},
        "plain.test": well.replace("http:", "https:"),
        "refused.test": f"http://127.0.0.1:{free_port()}",
        "dropped.test": running.enter_context(unreachable()),
        "silent.test": running.enter_context(silent()),
        "nameless.test": "http://no-such-host.invalid",
        "page.test": web(page),
        "failing.test": web(Said(503)),
        "certificates.test": {"url": mutual.url, "ca_file": str(mutual.ca_file)},
        "no-ca.test": {"url": well, "ca_file": str(place / "gone.pem")},
        "no-password.test": {"url": well, **login("gone")},
        "empty-password.test": {"url": well, **login("empty")},
        "wrong-password.test": {"url": asking.url, **login("wrong")},
        "no-login.test": asking.url,
        "no-tokens.test": web(Said(401, {**REGISTRY, "WWW-Authenticate": away})),
    }


@pytest.mark.parametrize("name", UPSTREAMS)
def test_an_upstream(upstreams: Report, name: str) -> None:
    """The one step that fails is named, with what to do; what does not depend on it was looked at all the same."""
    step, *words = UPSTREAMS[name]
    found = {key: text for key, text in upstreams.called("broken").items() if key.endswith(f" {name}")}
    assert set(found) == {f"upstream.{step} {name}"}
    text = found[f"upstream.{step} {name}"]
    assert [word for word in words if word not in text] == [], text
    if step in {"trust", "secrets"}:
        assert f"upstream.answers {name}" in upstreams.called("ok")


def test_upstreams_together(upstreams: Report) -> None:
    """None hides another, nor makes anything else look broken; nothing secret is said."""
    assert {key.rpartition(" ")[2] for key in upstreams.called("broken")} == set(UPSTREAMS)
    assert upstreams.code == 1
    assert PASSWORD not in upstreams.text


# --- the clock ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_clock_that_is_wrong(set_up: SetUp) -> None:
    """This host's, by an upstream that has the right time."""
    clock = Clock(set_up.directory / "clock")
    clock.set(-2)
    wrong = ("env", *(f"{name}={value}" for name, value in clock.environment().items()))
    report = examined(set_up.daemon(), around=wrong)
    report.only(f"clock.upstream {UPSTREAM}", "behind the upstream's", "tokens", "timedatectl")


@pytest.mark.slow
def test_an_upstreams_clock(set_up: SetUp) -> None:
    """A minute is a warning yet."""
    with Strange(Said(), ahead=60) as registry:
        report = examined(set_up.daemon(upstreams={UPSTREAM: registry.url}))
    report.only(f"clock.upstream {UPSTREAM}", "behind the upstream's", verdict="warning")


# --- listeners ----------------------------------------------------------------------------------------------------


def test_listeners(set_up: SetUp) -> None:
    """Addresses that are taken, or nobody's; certificates that are over, or another key's; strangers let in."""
    authority = Authority(set_up.directory / "authority")
    expired, one, other = (
        authority.server("expired", ends=YESTERDAY),
        authority.server("one"),
        authority.server("other"),
    )
    soon = authority.server("soon", ends=YESTERDAY + timedelta(days=3))
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        listeners = {
            "builders": {"listen": f"127.0.0.1:{free_port()}"},
            "taken": {"listen": f"127.0.0.1:{port}"},
            "nobodys": {"listen": f"192.0.2.1:{free_port()}"},
            "open": {"listen": f"0.0.0.0:{free_port()}"},
            "expired": {"listen": f"127.0.0.1:{free_port()}", "tls": expired},
            "soon": {"listen": f"127.0.0.1:{free_port()}", "tls": soon},
            "mismatched": {"listen": f"127.0.0.1:{free_port()}", "tls": {**one, "key": other["key"]}},
            "socket": {"listen": f"unix:{set_up.directory}/s.sock"},
        }
        report = examined(set_up.daemon({"listeners": listeners}))
    broken, warnings = report.called("broken"), report.called("warning")
    assert set(broken) == {
        "listener.address taken",
        "listener.address nobodys",
        "listener.certificate expired",
        "listener.certificate mismatched",
    }
    assert f"process {os.getpid()} (" in broken["listener.address taken"]
    assert "listeners.taken.listen" in broken["listener.address taken"]
    assert "192.0.2.1 is no address of this host" in broken["listener.address nobodys"]
    assert "has expired" in broken["listener.certificate expired"]
    assert expired["certificate"] in broken["listener.certificate expired"]
    assert "the key is not that of the certificate" in broken["listener.certificate mismatched"]
    assert set(warnings) == {"listener.exposure open", "listener.certificate soon"}
    assert "[identity]" in warnings["listener.exposure open"]


@pytest.mark.slow
def test_listeners_that_are_not_allowed(set_up: SetUp) -> None:
    """A port below 1024, for whoever is not root; an address of IPv6 where that is off."""
    listeners = {
        "builders": {"listen": f"127.0.0.1:{free_port()}"},
        "low": {"listen": "127.0.0.1:80"},
        "six": {"listen": f"[::1]:{free_port()}"},
    }
    daemon = set_up.daemon({"listeners": listeners})
    let_in(set_up.directory.parent, set_up.directory, daemon.directory)
    room = 'ip link set lo up; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; exec "$@"'
    broken = examined(daemon, around=("unshare", "--net", "sh", "-c", room, "room", *NOBODY)).called("broken")
    assert "CAP_NET_BIND_SERVICE" in broken["listener.address low"]
    assert "IPv6 is off" in broken["listener.address six"]
    assert "listener.address builders" not in broken


# --- containerd ---------------------------------------------------------------------------------------------------


def test_no_containerd(set_up: SetUp) -> None:
    """What depends on it is not looked at, and everything else is."""
    report = examined(set_up.daemon(address=str(set_up.directory / "gone.sock")))
    report.only("containerd.socket", "there is no", "gone.sock", "containerd.address")
    assert report.called("skipped")["containerd.snapshotter"].startswith("not looked at, because of containerd.answers")
    assert f"upstream.answers {UPSTREAM}" in report.called("ok")


def test_a_containerd_that_died(set_up: SetUp) -> None:
    """Its socket is left over."""
    path = set_up.directory / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    report = examined(set_up.daemon(address=str(path)))
    report.only("containerd.socket", "nobody listens", "systemctl restart containerd")


@pytest.mark.slow
def test_a_containerd_that_is_not_ours(set_up: SetUp) -> None:
    """Somebody who may not connect is told who may; what he may not look at is not called broken."""
    daemon = set_up.daemon()
    let_in(set_up.directory.parent, set_up.directory, set_up.containerd.directory, daemon.directory)
    assert stat.S_IMODE(Path(set_up.containerd.address).stat().st_mode) == 0o660
    report = examined(daemon, around=NOBODY)
    report.only("containerd.socket", "user 65534 may not connect", "as root")
    assert "user 65534 may not look" in report.called("skipped")["journal.directory"]


def test_a_containerd_that_hangs(set_up: SetUp) -> None:
    """It takes connections all the same."""
    daemon = set_up.daemon()
    set_up.containerd.pause()
    try:
        report = examined(daemon)
    finally:
        set_up.containerd.resume()
    report.only("containerd.answers", "it hangs", "journalctl --unit containerd")


class WithoutOverlayfs(Containerd):
    """One that was told to do without."""

    def _settings(self) -> dict[str, object]:
        settings = super()._settings()
        disabled = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.overlayfs"]
        return {**settings, "disabled_plugins": disabled}


@pytest.mark.containerd
@pytest.mark.slow
def test_a_snapshotter_that_is_disabled(set_up: SetUp) -> None:
    """Those that work are named."""
    with WithoutOverlayfs(set_up.directory / "other") as containerd:
        report = examined(set_up.daemon(address=containerd.address))
    report.only("containerd.snapshotter", "'overlayfs'", "native", "containerd.snapshotter")


def test_a_snapshotter_that_failed(set_up: SetUp) -> None:
    """In containerd's own words."""
    report = examined(set_up.daemon({"containerd": {"snapshotter": "devmapper"}}))
    report.only("containerd.snapshotter", "failed to start (", "overlayfs")


def test_the_kubelets_namespace(set_up: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images go where pods do not look for them; and the kubelet's side of containerd does not come here."""
    daemon = set_up.daemon()
    (root(daemon) / "var/lib/kubelet").mkdir(parents=True)
    monkeypatch.setattr(set_up.containerd, "namespace", "k8s.io")
    layout = build_image(set_up.directory / "layout", [busybox("pod")])
    set_up.containerd.import_layout(layout.directory, "registry.example.com/pod")
    report = examined(daemon)
    remedy = 'containerd.namespace = "k8s.io"'
    report.only("containerd.namespace", "k8s.io has 1 images", remedy, verdict="warning")
    assert "config_path" in report.called("hint")["clients.kubelet"]


@pytest.mark.skipif(not IS_DIRECT, reason="blobs are to go through containerd")
@pytest.mark.slow
def test_a_store_on_another_disk(set_up: SetUp) -> None:
    """Files cannot be linked there: what that costs is a warning, unless the settings allow no other way."""
    with Disk(set_up.directory / "disk", 1 << 24) as disk, Containerd(set_up.directory / "other") as containerd:
        spool = containerd.store.parent / "registry-mirror"
        spool.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(disk.path), str(spool)], check=True)
        try:
            report = examined(set_up.daemon(address=containerd.address))
            direct = set_up.daemon({"containerd": {"import": "direct"}}, address=containerd.address, name="direct")
            strict = examined(direct)
        finally:
            subprocess.run(["umount", str(spool)], check=True)
    report.only("containerd.import", "different filesystems", "several times as long", verdict="warning")
    assert set(strict.called("broken")) == {"containerd.import"}


# --- disks and the journal ----------------------------------------------------------------------------------------


def test_no_room_for_blobs(set_up: SetUp) -> None:
    """The figures are there, and what is to be done."""
    report = examined(set_up.daemon({"disk": {"reserve": 1 << 60, "evict_at": 100}}))
    report.only("disk.room", "in reserve", "507", "evict --all")


@pytest.mark.slow
def test_journals_that_cannot_be_written(set_up: SetUp) -> None:
    """On a disk that is full, that has no inodes left, and that is read-only."""
    with Disk(set_up.directory / "disk", 1 << 22) as disk:
        daemon = set_up.daemon({"journal": {"path": str(disk.path / "journal.db")}})
        disk.fill(leave=1 << 16)
        examined(daemon).only("disk.journal", "65536 bytes free", "507", "journal.path")
        disk.free()
        disk.fill(leave=1 << 21)
        examined(daemon).only("disk.journal", "2 MiB free", verdict="warning")
        disk.free()
        subprocess.run(["mount", "-o", "remount,nr_inodes=4", str(disk.path)], check=True)
        with suppress(OSError):
            for number in range(4):
                (disk.path / str(number)).touch()
        broken = examined(daemon).called("broken")
        assert set(broken) == {"disk.files", "journal.directory"}
        assert "0 of 4 inodes" in broken["disk.files"]
        subprocess.run(["mount", "-o", "remount,ro,nr_inodes=1000", str(disk.path)], check=True)
        report = examined(daemon)
    assert set(report.called("broken")) == {"journal.directory"}
    assert "Read-only file system" in report.called("broken")["journal.directory"]
    assert "findmnt" in report.called("broken")["journal.directory"]


def test_journals_that_cannot_be_trusted(set_up: SetUp) -> None:
    """One that is damaged, and one of a daemon that is newer; neither is touched."""
    daemon = set_up.daemon()
    with daemon:
        pass
    (daemon.directory / "admin.sock").unlink()
    journal = daemon.directory / "journal.db"
    sound = journal.read_bytes()
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA user_version = 999")
    examined(daemon).only("journal.file", "version 999", "newer")
    for damaged in (sound[:4096] + b"\xff" * (len(sound) - 4096), b"no journal at all" * 1000):
        journal.write_bytes(damaged)
        examined(daemon).only("journal.file", "is damaged", ".recover")
        assert journal.read_bytes() == damaged


@pytest.mark.slow
def test_daemons_in_each_others_way(set_up: SetUp) -> None:
    """Another daemon has the journal and the port: both are named, with its process."""
    with set_up.daemon() as running:
        port = running.host.rpartition(":")[2]
        same = {"journal": {"path": str(running.directory / "journal.db")}}
        other = set_up.daemon({**same, "listeners": {"builders": {"listen": running.host}}}, name="other")
        broken = examined(other).called("warning", "broken")
        assert set(broken) == {"journal.lock", "listener.address builders"}
        assert f"process {running.pid} (" in broken["journal.lock"]
        assert "journal.path" in broken["journal.lock"]
        assert f":{port} is taken by process {running.pid} (" in broken["listener.address builders"]


@pytest.mark.slow
def test_a_daemon_that_does_not_answer(set_up: SetUp) -> None:
    """It hangs; it listens elsewhere than the settings say; and then it died, and left its socket behind."""
    with set_up.daemon() as daemon:
        daemon.pause()
        report = examined(daemon)
        assert f"process {daemon.pid} (" in report.called("broken")["daemon.answers"]
        assert "does not answer" in report.called("broken")["daemon.answers"]
        daemon.resume()
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace(daemon.host, f"127.0.0.1:{free_port()}"))
        warnings = examined(daemon).called("warning", "broken")
        assert "does not listen at" in warnings["listener.address builders"]
        daemon.config.write_text(text)
        daemon.kill()
        examined(daemon).only("daemon.answers", "left over from one that ended", "journalctl", verdict="warning")


@pytest.mark.slow
def test_few_open_files(set_up: SetUp) -> None:
    """Fewer than the settings want connections."""
    report = examined(set_up.daemon(), around=("prlimit", "--nofile=1024"))
    [check] = [check for check in report.checks if check["check"] == "host.open files"]
    assert check["verdict"] == "warning"
    assert "may have 1024 files open, and http.connections is 4096" in check["seen"]
    assert "LimitNOFILE=" in check["remedy"]


# --- clients, settings --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_clients_that_go_past(set_up: SetUp) -> None:
    """hosts.toml names another host first; by another address of this host it would do; garbled it is broken."""
    daemon = set_up.daemon()
    file = root(daemon) / f"etc/containerd/certs.d/{UPSTREAM}/hosts.toml"
    port = daemon.host.rpartition(":")[2]
    file.write_text(f'[host."http://127.0.0.2:{port}"]\n')
    report = examined(daemon)
    assert report.called("warning", "broken") == {}
    assert str(file.relative_to(root(daemon))) in report.called("hint")["clients.files"]
    file.write_text(f'[host."http://192.0.2.1:5000"]\n[host."{daemon.url}"]\n')
    report = examined(daemon)
    report.only(f"clients.containerd {UPSTREAM}", "192.0.2.1", daemon.url, "setup containerd", verdict="warning")
    file.write_text("no toml")
    examined(daemon).only(f"clients.containerd {UPSTREAM}", "hosts.toml")
    shutil.rmtree(file.parent)
    assert "setup containerd --write" in examined(daemon).called("hint")[f"clients.containerd {UPSTREAM}"]


@pytest.mark.parametrize(
    ("text", "word"),
    [(None, "No such file"), ("default_upstream =", "Expected"), ('surprise = "key"\n', "surprise")],
)
def test_settings_that_cannot_be_used(set_up: SetUp, text: str | None, word: str) -> None:
    """What is wrong with them, and what can be seen without them; the exit code is that of bad settings."""
    daemon = set_up.daemon()
    if text is None:
        daemon.config.unlink()
    else:
        daemon.config.write_text(text + daemon.config.read_text())
    report = examined(daemon)
    assert set(report.called("broken")) == {"settings.file"}
    assert word in report.called("broken")["settings.file"]
    assert report.code == 2


def test_files_that_settings_name(set_up: SetUp) -> None:
    """One that is missing, and a credential that only the daemon sees; beside them a rule for nobody."""
    daemon = set_up.daemon()
    broken: dict[str, Any] = {
        "identity": {"htpasswd": str(set_up.directory / "users")},
        "rules": {"all": {"tenants": []}},
    }
    daemon.config.write_text(f"{daemon.config.read_text()}\n{toml.dump(broken)}\n")
    examined(daemon).only("settings.identity", "users", "[identity]")
    daemon.config.write_text(f"{daemon.config.read_text()}principals = ['jwt:x']\n")
    assert "nobody" in examined(daemon).called("warning")["settings.caveats"]
    secret = {"url": set_up.upstream.url, "username": "builder", "password_file": "credential:upstream"}
    daemon = set_up.daemon(upstreams={UPSTREAM: secret}, name="other")
    report = examined(daemon)
    assert report.called("broken") == {}
    assert "LoadCredential" in report.called("skipped")[f"upstream.secrets {UPSTREAM}"]


def test_a_repository_that_is_none(set_up: SetUp) -> None:
    """That is the command line's fault, and said so."""
    done = set_up.daemon().cli("doctor", "--repository", "UPPER")
    assert done.returncode == 2
    assert "--repository" in done.stderr


def test_the_page(directory: Path) -> None:
    """docs/troubleshooting.md has a row for each check, in the order in which they are told, and no other."""
    daemon = Daemon(directory / "daemon", "/unused.sock", {UPSTREAM: "https://registry.example.com"})
    page = (Path(__file__).parents[2] / "docs/troubleshooting.md").read_text()
    table = page.partition("<!-- checks -->")[2].partition("<!-- end -->")[0]
    rows = re.findall(r"^\| `([^`]+)` \| .+ \| .+ \|$", table, flags=re.MULTILINE)
    assert rows == [check.name for check in Subjects(daemon.config, directory, None).checks()]
    symptoms = page.partition("## Symptoms")[2].partition("## ")[0]
    looked_at = [
        cell
        for row in re.findall(r"^\| [^|]+ \| ([^|;]+)", symptoms, flags=re.MULTILINE)
        for cell in re.findall(r"`([a-z]+\.[a-z -]+)`", row)
    ]
    assert looked_at
    assert [name for name in looked_at if name not in rows] == []
