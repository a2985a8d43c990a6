"""The daemon as a service: sockets that are passed and kept, what it says of itself, its watchdog, reloading."""

import os
import signal
import socket
import threading
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig import toml, web
from tests.rig.containerd import Containerd
from tests.rig.images import build_image, busybox
from tests.rig.manager import Manager, Service, opened
from tests.rig.ports import free_port
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of, finishing

AWAY = {UPSTREAM: "http://127.0.0.1:1"}


@pytest.fixture
def manager(directory: Path) -> Manager:
    """What the daemon is a service of."""
    return Manager(directory)


@pytest.fixture
def service(directory: Path, containerd: Containerd) -> Iterator[Service]:
    """The daemon, not started."""
    service = Service(directory / "daemon", containerd.address, AWAY)
    yield service
    service.close()


def _events(service: Service, event: str) -> list[dict[str, object]]:
    return [line for line in service.log_lines() if line["event"] == event]


def test_sockets_that_are_passed(directory: Path, manager: Manager, service: Service) -> None:
    """Each goes where its name says, several of a name too; what fits nowhere is said, and closed."""
    ports = [free_port(), free_port(), free_port()]
    for name in ("admin", "push"):
        (directory / name).mkdir()
    admin, push = directory / "admin/a.sock", directory / "push/p.sock"
    sockets = [
        ("builders", opened(("127.0.0.1", ports[0]))),
        ("builders", opened(("127.0.0.1", ports[1]))),
        ("unheard-of", opened(("127.0.0.1", ports[2]))),
        ("admin", opened(admin)),
        ("operators", opened(push)),
        ("builders-notes", os.open(os.devnull, os.O_RDONLY)),
    ]
    service.url = f"http://127.0.0.1:{ports[0]}"
    service.serve(manager, sockets)
    for _, descriptor in sockets:
        os.close(descriptor)
    assert all(web.answers(f"http://127.0.0.1:{port}/v2/") for port in ports[:2])
    assert service.cli("status", "--socket", str(admin)).returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[2]))
    assert {line["name"] for line in _events(service, "socket.unknown")} == {"unheard-of", "builders-notes"}
    assert manager.kept == []
    service.stop()
    assert push.is_socket()
    assert not service.complaints()


def test_a_restart_drops_no_connection(manager: Manager, service: Service) -> None:
    """Who comes while nobody serves is answered by the next daemon; a changed address wins over what was kept."""
    service.serve(manager)
    assert {name for name, _ in manager.kept} == {"kept-admin", "kept-builders", "kept-operators"}
    service.stop()
    with ThreadPoolExecutor() as pool:
        early = pool.submit(web.get, f"{service.url}/v2/")
        service.serve(manager)
        assert early.result()
    assert len(manager.kept) == len({name for name, _ in manager.kept})
    assert service.status()

    service.stop()
    before, port = service.host, free_port()
    service.host, service.url = f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"
    service.config.write_text(service.config.read_text().replace(before, service.host))
    service.serve(manager)
    host, _, old = before.partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(old)))
    assert [line["name"] for line in _events(service, "socket.dropped")] == ["builders"]


def test_what_it_says_of_itself(directory: Path, manager: Manager, service: Service) -> None:
    """READY when it serves, then at a glance how it is doing, and STOPPING; more time before and after."""
    service.serve(manager)
    assert manager.said("READY=1")
    until(lambda: manager.status().startswith("ready"), "it is said to be ready")
    Wire(service.url).push("team/app", "v1", build_image(directory / "layout", [busybox(directory.name)]))
    until(lambda: manager.status() == f"ready; 1 image on their way; upstream {UPSTREAM} away", "all is said", 60)
    assert service.stop() == 0
    assert manager.said("STOPPING=1")
    lines = [line.partition("=")[0] for message in manager.messages for line in message]
    assert lines[0] == "EXTEND_TIMEOUT_USEC"
    assert "EXTEND_TIMEOUT_USEC" in lines[lines.index("STOPPING") :]


def test_the_watchdog_is_fed_by_what_works(manager: Manager, service: Service) -> None:
    """As long as requests and the journal are answered, though containerd's upstream is away; then no more."""
    service.environment["WATCHDOG_USEC"] = "600000"
    service.serve(manager)
    manager.wait("WATCHDOG=1", 3)
    (service.directory / "admin.sock").unlink()
    until(lambda: _events(service, "watchdog.unfed"), "what does not work is said")
    fed = len(manager.messages)
    until(lambda: len(_events(service, "watchdog.unfed")) > 2, "it is asked again")
    assert ["WATCHDOG=1"] not in manager.messages[fed:]
    os.kill(service.pid, signal.SIGABRT)
    assert service.join() == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in service.log.read_text()
    assert "run_forever" in service.log.read_text()


def _reload(manager: Manager, service: Service, **sections: Mapping[str, object]) -> dict[str, object]:
    """Change sections of the settings, have them read, and return the last line that was logged of that."""
    settings = tomllib.loads(service.config.read_text())
    changed = {name: {**settings.get(name, {}), **section} for name, section in sections.items()}
    service.config.write_text(toml.dump(settings | changed))
    times = sum("RELOADING=1" in message for message in manager.messages) + 1
    os.kill(service.pid, signal.SIGHUP)
    manager.wait("READY=1", times + 1)
    assert manager.said("RELOADING=1", times)
    return [line for line in service.log_lines() if str(line["event"]).startswith("daemon.reload")][-1]


def test_reloading(manager: Manager, service: Service) -> None:
    """What can change does, under a push; what cannot is named, each time; what is bad changes nothing."""
    service.serve(manager)
    wire, blob, reloaded = Wire(service.url), os.urandom(6 << 20), threading.Event()

    def body() -> Iterator[bytes]:
        yield blob[: len(blob) // 2]
        assert reloaded.wait(60)
        yield blob[len(blob) // 2 :]

    with ThreadPoolExecutor() as pool:
        put = pool.submit(wire.ask, "PUT", finishing(wire.begin("team/app"), digest_of(blob)), body())
        line = _reload(
            manager,
            service,
            rules={"ours": {"principals": ["anonymous"], "repositories": ["team/*"]}},
            replication={"rate": 1_000_000},
            http={"catalog": True},
            containerd={"import": "stream", "labels": {"team": "ours"}},
            log={"level": "error"},
        )
        reloaded.set()
        assert put.result().status == 201
    assert (line["event"], line["changed"]) == ("daemon.reloaded", ["log.level", "replication.rate", "rules.ours"])
    assert line["needs_restart"] == ["containerd.import", "containerd.labels", "http.catalog"]
    assert wire.ask("HEAD", f"/v2/team/app/blobs/{digest_of(blob)}").status == 200
    assert wire.ask("POST", "/v2/other/app/blobs/uploads/").status == 403
    assert "1MB/s" in service.cli("limits").stdout.replace(" ", "")
    told = len(service.log_lines())
    assert wire.ask("GET", "/v2/").status == 200
    assert len(service.log_lines()) == told

    line = _reload(manager, service, rules={"ours": {"repositories": ["team/*", 1]}})
    assert (line["event"], "rules" in str(line["reason"])) == ("daemon.reload_refused", True)
    assert wire.ask("POST", "/v2/other/app/blobs/uploads/").status == 403

    line = _reload(
        manager, service, rules={"ours": {"principals": ["anonymous"], "repositories": ["**"]}}, callers={"sessions": 1}
    )
    assert line["changed"] == ["callers.sessions", "rules.ours.repositories"]
    assert "http.catalog" in str(line["needs_restart"])
    assert wire.ask("POST", "/v2/other/app/blobs/uploads/").status == 202
    assert wire.ask("POST", "/v2/other/app/blobs/uploads/").status == 429
    assert not service.complaints()
