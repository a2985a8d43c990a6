"""What the operator sees and does: status, wait, settings, signals, systemd."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.e2e.conftest import ours
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import File, Layer, Layout, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.sse import events, listening
from tests.rig.until import until
from tests.rig.web import Login
from tests.rig.wire import Answer, Wire, digest_of, manifest

NAME = f"{UPSTREAM}/team/app:v1"


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run."""
    return build_image(directory / "layout", [busybox(directory.name)])


def test_status_and_wait(daemon: Daemon, layout: Layout) -> None:
    """`wait` ends when the image is there, by tag and by digest, and `status` counts it."""
    Wire(daemon.url).push("team/app", "v1", layout)
    for reference in (NAME, "team/app:v1", f"team/app@{layout.digest}"):
        for goal in ("unpacked", "replicated"):
            done = daemon.cli("wait", reference, "--for", goal, "--timeout", "60")
            assert (done.returncode, layout.digest in done.stdout) == (0, True), done
    assert daemon.status()["counts"]["replicate"]["done"] == 1
    assert "replicate:  1 done" in daemon.cli("status").stdout.splitlines()


def test_wait_for_what_nobody_pushed(daemon: Daemon) -> None:
    """An unknown image ends the wait at once with exit code 1, as does a name that is none."""
    for reference in ("team/unknown:v1", "NO NAME"):
        done = daemon.cli("wait", reference, "--for", "unpacked")
        assert done.returncode == 1
        assert done.stderr


def test_an_outage_of_the_upstream(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """While the upstream is down the image is unpacked, waiting for it ends with 3, and status says why.

    Once the upstream is back, the image arrives without help.
    """
    registry.kill()
    Wire(daemon.url).push("team/app", "v1", layout)
    daemon.wait(NAME, "unpacked")
    assert daemon.cli("wait", NAME, "--for", "replicated", "--timeout", "0.3").returncode == 3
    task = until(lambda: [task for task in daemon.status()["tasks"] if task["attempts"]], "a failed attempt")[0]
    assert (task["image"], task["kind"]) == (NAME, "replicate")
    assert "refused" in task["reason"] or "connect" in task["reason"]
    registry.start()
    daemon.wait(NAME, "replicated")
    assert registry.tags("team/app") == {"v1"}


def test_the_status_of_one_image(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """While the upstream is down it says what is tried again and when; by any name of the image, and of no other."""
    registry.kill()
    Wire(daemon.url).push("team/app", "v1", layout)
    daemon.wait(NAME, "unpacked")
    until(lambda: _phase(daemon) == "replicating", "a first attempt")
    waiting = partial(daemon.cli, "status", "team/app:v1")
    said = until(lambda: [said for said in [waiting().stdout] if "next try:" in said], "it waits")[0]
    for line in (f"image:    {NAME}", f"digest:   {layout.digest}", "phase:    replicating", "unpack:   done"):
        assert line in said.splitlines(), said
    assert "connect" in said
    registry.start()
    daemon.wait(NAME, "replicated")
    said = daemon.cli("status", f"team/app@{layout.digest}").stdout
    assert "phase:    replicated" in said.splitlines()
    assert "next try:" not in said
    unknown = daemon.cli("status", "team/unknown:v1")
    assert (unknown.returncode, "MANIFEST_UNKNOWN" in unknown.stderr) == (1, True), unknown


def test_events(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """Who listens to everything hears of each job to its end; who listens to one image, of that one, to the end."""
    socket_path = daemon.directory / "admin.sock"
    registry.pause()
    wire = Wire(daemon.url)
    with listening(socket_path, "/events") as everything:
        for tag in ("v1", "v2"):
            wire.push("team/app", tag, layout)
        with listening(socket_path, "/events?image=team/app:v1") as one:
            assert next(one).data["image"] == NAME
            registry.resume()
            phases = [(event.data["image"], event.data["phase"]) for event in one]
        assert phases[-1] == (NAME, "replicated")
        assert {image for image, _ in phases} == {NAME}
        left = {NAME, f"{UPSTREAM}/team/app:v2"}
        while left:
            event = next(everything)
            if event.data["phase"] == "replicated":
                left.discard(event.data["image"])


def test_a_listener_who_hangs_up(daemon: Daemon, layout: Layout) -> None:
    """Nothing of him is left: his connection is closed, and the log has the end of his request."""
    with listening(daemon.directory / "admin.sock", "/events"):
        until(lambda: _connections(daemon) == 1, "he listens")
    until(lambda: _connections(daemon) == 0, "he is gone")
    line = until(lambda: [line for line in daemon.log_lines() if line.get("path") == "/events"], "the request is over")
    assert line[0]["status"] == 499
    Wire(daemon.url).push("team/app", "v1", layout)


def test_the_upstream_refuses(directory: Path, containerd: Containerd, layout: Layout) -> None:
    """A wrong password parks the job with the upstream's own words; its lease stays, and no log line has a password."""
    (directory / "password").write_text("s3cret-and-wrong\n")
    login = Login("builder", "right")
    with Registry(directory / "upstream", login=login) as upstream:
        settings = {"url": upstream.url, "username": "builder", "password_file": str(directory / "password")}
        with Daemon(directory / "daemon", containerd.address, {UPSTREAM: settings}) as daemon:
            Wire(daemon.url).push("team/app", "v1", layout)
            done = daemon.cli("wait", NAME, "--for", "replicated", "--timeout", "60")
            assert (done.returncode, "401 Unauthorized" in done.stdout) == (1, True), done
            assert daemon.status()["counts"]["replicate"]["parked"] == 1
            assert any(lease.startswith("registry-mirror/job/") for lease in containerd.leases())
            assert "s3cret" not in daemon.log.read_text() + done.stdout + (directory / "daemon/journal.db").read_text(
                "latin1"
            )


def test_a_parked_job_is_tried_again(directory: Path, containerd: Containerd, layout: Layout) -> None:
    """Once the upstream takes what it refused, `jobs retry` brings it there; the failures stay counted."""
    strict = Registry(directory / "strict", login=Login("builder", "right"))
    lenient = Registry(directory / "lenient", strict.port)
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: strict.url}) as daemon:
        Wire(daemon.url).push("team/app", "v1", layout)
        with strict:
            daemon.cli("wait", NAME, "--for", "replicated", "--timeout", "60")
        (line,) = daemon.cli("jobs", "list", "--state", "parked").stdout.splitlines()
        job, *shown = line.split()
        assert shown[:2] == ["parked", "replicate"]
        assert (shown[4], "401" in line) == (NAME, True)
        with lenient:
            done = daemon.cli("jobs", "retry", job)
            assert (done.returncode, done.stdout) == (0, f"{job}: replicate due now\n"), done
            daemon.wait(NAME, "replicated")
        assert daemon.cli("jobs", "list").stdout == ""
        assert f"attempts: {shown[2]}" in daemon.cli("status", NAME).stdout
        again = daemon.cli("jobs", "retry", job)
        assert (again.returncode, again.stdout.startswith(f"{job}: nothing to retry: replicate done")) == (1, True)


def test_a_waiting_job_is_tried_at_once(slow_daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """`jobs retry --all` does not wait for the time of the next attempt."""
    _push_into_an_outage(slow_daemon, registry, layout)
    registry.start()
    done = slow_daemon.cli("jobs", "retry", "--all")
    assert (done.returncode, done.stdout.endswith(": replicate due now\n")) == (0, True), done
    slow_daemon.wait(NAME, "replicated")


def test_a_job_is_given_up(slow_daemon: Daemon, registry: Registry, containerd: Containerd, layout: Layout) -> None:
    """`jobs cancel` ends its lease and every wait for it; the image stays here, and does not get upstream."""
    before = ours(containerd.leases())
    _push_into_an_outage(slow_daemon, registry, layout)
    assert ours(containerd.leases()) - before
    job = slow_daemon.cli("jobs", "list").stdout.split()[0]
    done = slow_daemon.cli("jobs", "cancel", job, "99")
    assert (done.returncode, done.stdout) == (1, f"{job}: replicate cancelled\n99: no such job\n"), done
    waited = slow_daemon.cli("wait", NAME, "--for", "replicated")
    assert (waited.returncode, "cancelled by the operator" in waited.stdout) == (1, True), waited
    assert _phase(slow_daemon) == "cancelled"
    assert not ours(containerd.leases()) - before
    assert NAME in containerd.images()
    registry.start()
    assert slow_daemon.cli("jobs", "retry", "--all").stdout == ""
    assert registry.manifest("team/app", "v1") is None


def test_what_is_being_attempted_is_not_given_up(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """It says so, and what to do; the job goes on."""
    registry.pause()
    Wire(daemon.url).push("team/app", "v1", layout)
    daemon.wait(NAME, "unpacked")
    until(lambda: _phase(daemon) == "replicating", "the attempt is under way")
    job = daemon.cli("jobs", "list", "--state", "running").stdout.split()[0]
    for wish in ("cancel", "retry"):
        done = daemon.cli("jobs", wish, job)
        assert (done.returncode, f"replicate running: {wish} it when" in done.stdout) == (1, True), done
    registry.resume()
    daemon.wait(NAME, "replicated")


@pytest.mark.parametrize(
    "arguments", [["retry"], ["retry", "1", "--all"], ["retry", "one"], ["cancel"], ["list", "--state", "lost"]]
)
def test_jobs_that_are_named_wrongly(daemon: Daemon, arguments: list[str]) -> None:
    """A command line that means nothing ends with exit code 2, and nothing is done."""
    assert daemon.cli("jobs", *arguments).returncode == 2


def test_a_drain(slow_daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """What waits for days is upstream when it ends; then pushes are refused until it is undone, and uploads may end."""
    _push_into_an_outage(slow_daemon, registry, layout)
    registry.start()
    wire = Wire(slow_daemon.url)
    begun = wire.begin("team/app")
    done = slow_daemon.cli("drain", "--timeout", "60")
    assert (done.returncode, done.stdout) == (0, "drained; new pushes are refused\n"), done
    assert registry.tags("team/app") == {"v1"}
    assert slow_daemon.cli("status").stdout.startswith("no pushes are taken: draining")
    assert wire.ask("PATCH", begun, b"01234").status == 202
    assert wire.ask("PUT", f"{begun}?digest={digest_of(b'01234')}").status == 201
    for method, path in _new_pushes(layout):
        answer = wire.ask(method, path, layout.manifest, {"Content-Type": layout.top.media_type})
        assert (answer.status, answer.code, answer.error["message"]) == (503, "UNAVAILABLE", "draining for maintenance")
        assert int(answer.headers["Retry-After"]) > 0
    assert slow_daemon.cli("drain", "--undo").returncode == 0
    assert not slow_daemon.status()["draining"]
    wire.push("team/app", "v2", layout)


def _new_pushes(layout: Layout) -> list[tuple[str, str]]:
    """Every request that a new push can begin with."""
    uploads = "/v2/team/app/blobs/uploads/"
    mount = f"{uploads}?mount={layout.children[0].digest}&from=team/app"
    whole = f"{uploads}?digest={layout.digest}"
    return [("POST", uploads), ("POST", mount), ("POST", whole), ("PUT", "/v2/team/app/manifests/v2")]


def test_a_drain_that_takes_too_long(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """While the upstream is away it ends with 3, and pushes are taken again."""
    registry.kill()
    wire = Wire(daemon.url)
    wire.push("team/app", "v1", layout)
    done = daemon.cli("drain", "--timeout", "0.5")
    assert (done.returncode, "not in time: 0 pushes, " in done.stdout) == (3, True), done
    wire.push("team/app", "v2", layout)


def test_a_drain_with_parked_jobs(directory: Path, containerd: Containerd, layout: Layout) -> None:
    """They are counted, and the exit code is 1; everything else is upstream, and a restart takes pushes again."""
    strict = Registry(directory / "strict", login=Login("builder", "right"))
    with strict, Daemon(directory / "daemon", containerd.address, {UPSTREAM: strict.url}) as daemon:
        wire = Wire(daemon.url)
        wire.push("team/app", "v1", layout)
        done = daemon.cli("drain", "--timeout", "60")
        assert (done.returncode, "drained but for 1 parked" in done.stdout) == (1, True), done
        assert wire.ask("POST", "/v2/team/app/blobs/uploads/").status == 503
        daemon.stop()
        daemon.start()
        wire.begin("team/app")


def test_an_interrupted_drain(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """The command decides: when it is gone, pushes are taken again."""
    registry.kill()
    wire = Wire(daemon.url)
    wire.push("team/app", "v1", layout)
    heeding = ["env", "--default-signal=INT"]  # which is ignored by all that is started by a shell in the background
    command = [*heeding, sys.executable, "-m", "mirror", "drain", "--config", str(daemon.config)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as drain:
        until(lambda: daemon.status()["draining"], "pushes are refused")
        assert wire.ask("POST", "/v2/team/app/blobs/uploads/").status == 503
        drain.send_signal(signal.SIGINT)
    assert drain.returncode == 1
    until(lambda: not daemon.status()["draining"], "pushes are taken again")
    wire.begin("team/app")


def test_a_drain_does_not_hold_up_the_end(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """A daemon that is told to stop says so to who waits for it to be drained."""
    registry.kill()
    Wire(daemon.url).push("team/app", "v1", layout)
    with ThreadPoolExecutor() as pool:
        drain = pool.submit(daemon.cli, "drain", "--timeout", "100", seconds=100)
        until(lambda: daemon.status()["draining"], "it is under way")
        assert daemon.stop() == 0
        done = drain.result()
    assert (done.returncode, done.stdout) == (1, "the daemon is stopping\n"), done


@pytest.fixture
def slow_daemon(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Daemon]:
    """A daemon whose next attempt is days away.

    Without head starts one attempt fails too seldom for the upstream to count as away: then a probe could find it back.
    """
    settings = {"replication": {"backoff_first": 1e6, "backoff_max": 1e6, "eager": False}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


def _push_into_an_outage(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """The image is pushed and unpacked, and its first way upstream failed."""
    registry.kill()
    Wire(daemon.url).push("team/app", "v1", layout)
    daemon.wait(NAME, "unpacked")
    until(lambda: daemon.cli("status", NAME).stdout.count("next try:"), "a failed attempt")


def test_credentials(directory: Path, containerd: Containerd, layout: Layout) -> None:
    """With the right password the image gets to an upstream that asks for one."""
    (directory / "password").write_text("right\n")
    with Registry(directory / "upstream", login=Login("builder", "right")) as upstream:
        settings = {"url": upstream.url, "username": "builder", "password_file": str(directory / "password")}
        with Daemon(directory / "daemon", containerd.address, {UPSTREAM: settings}) as daemon:
            Wire(daemon.url).push("team/app", "v1", layout)
            daemon.wait(NAME, "replicated")


def test_an_image_that_cannot_run(daemon: Daemon, containerd: Containerd, directory: Path) -> None:
    """A layer that is no tar is parked with its reason, leaves no half snapshot, and still gets upstream.

    A retry comes to the same, and leaves nothing behind either.
    """
    good = build_image(directory / "good", [Layer([File("a", b"b")], "none")])
    raw = good.manifest
    layer = next(child for child in good.children if "layer" in child.media_type)
    wire = Wire(daemon.url)
    bad = b"not a tar" * 1000
    for child in good.children:
        wire.push_blob("team/bad", good.blob(child.digest).read_bytes())
    wire.push_blob("team/bad", bad)
    broken = raw.replace(layer.digest.encode(), digest_of(bad).encode())
    broken = broken.replace(f'"size":{layer.size}'.encode(), f'"size":{len(bad)}'.encode())
    assert wire.push_manifest("team/bad", "v1", broken).status == 201
    _cannot_run(daemon, containerd, digest_of(bad))
    daemon.wait("team/bad:v1", "replicated")
    until(lambda: not _job_leases(containerd), "no job holds it")
    job = str(json.loads(daemon.cli("status", "team/bad:v1", "--json").stdout)["job"])
    assert daemon.cli("jobs", "retry", job).returncode == 0
    until(lambda: _failures(daemon) == 2, "a second attempt")
    until(lambda: not _job_leases(containerd), "no job holds it")


def _cannot_run(daemon: Daemon, containerd: Containerd, layer: str) -> None:
    done = daemon.cli("wait", "team/bad:v1", "--for", "unpacked", "--timeout", "60")
    assert (done.returncode, f"parked (not runnable: layer {layer}" in done.stdout) == (1, True), done
    assert f"unpack:   parked not runnable: layer {layer}" in daemon.cli("status", "team/bad:v1").stdout
    assert not [key for key in containerd.snapshots() if key.startswith("extract-")]


def _job_leases(containerd: Containerd) -> list[str]:
    return [lease for lease in ours(containerd.leases()) if "/job/" in lease]


def _failures(daemon: Daemon) -> int:
    return len([line for line in daemon.log_lines() if (line["event"], line.get("kind")) == ("task.parked", "unpack")])


def test_what_is_no_image_is_not_unpacked(daemon: Daemon) -> None:
    """An artifact is skipped, which counts as reached."""
    wire = Wire(daemon.url)
    wire.push_blob("team/chart", b"{}")
    wire.push_manifest("team/chart", "v1", manifest(b"{}"))
    done = daemon.cli("wait", "team/chart:v1", "--for", "unpacked", "--timeout", "60")
    assert (done.returncode, "skipped" in done.stdout) == (0, True), done


def test_sigterm(daemon: Daemon, layout: Layout, registry: Registry) -> None:
    """SIGTERM ends the daemon with 0, also with a job and an upload under way; both go on at the next start."""
    wire = Wire(daemon.url)
    registry.kill()
    wire.push("team/app", "v1", layout)
    location = wire.begin("team/app")
    wire.ask("PATCH", location, b"01234")
    assert daemon.stop() == 0
    registry.start()
    daemon.start()
    daemon.wait(NAME, "replicated")
    assert wire.ask("GET", location).headers["Range"] == "0-4"
    assert wire.ask("PUT", f"{location}?digest={digest_of(b'0123456789')}", b"56789").status == 201


def test_sigterm_lets_a_push_finish(directory: Path, containerd: Containerd) -> None:
    """A request that is being answered when SIGTERM comes gets its answer; a new connection is refused."""
    upstreams, settings = {UPSTREAM: "http://127.0.0.1:1"}, {"shutdown": {"deadline": 60.0}}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
        wire = Wire(daemon.url)
        location = wire.begin("team/app")
        stopping: list[int] = []

        def body() -> Iterator[bytes]:
            yield b"first"
            until(lambda: wire.ask("GET", location).headers["Range"] == "0-4", "the request is under way")
            os.kill(daemon.pid, signal.SIGTERM)
            until(lambda: _refused(daemon), "it does not accept any more")
            stopping.append(1)
            yield b"last"

        answer = wire.ask("PUT", f"{location}?digest={digest_of(b'firstlast')}", body())
        assert (answer.status, stopping) == (201, [1])
        assert daemon.join() == 0
        assert not daemon.complaints()


def test_sigterm_while_the_upstream_hangs(
    directory: Path, containerd: Containerd, registry: Registry, layout: Layout
) -> None:
    """Neither an attempt that gets no answer, nor who waits for it, holds up the end; the job is done afterwards.

    The deadline for clients is longer than the rig waits before it kills.
    """
    settings = {"shutdown": {"deadline": 120.0}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        wire = Wire(daemon.url)
        registry.pause()
        wire.push("team/app", "v1", layout)
        until(lambda: _phase(daemon) == "replicating", "the attempt is under way")
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(daemon.cli, "wait", NAME, "--for", "replicated", "--timeout", "100", seconds=100)
            until(lambda: _connections(daemon) > 0, "the command has asked")
            put = pool.submit(_put_and_wait, wire, layout)
            daemon.wait(NAME, "unpacked")  # after which nothing of it changes any more
            stream = wire.stream("/v2/team/app/_mirror/status/v1", {"Accept": "text/event-stream"})
            assert next(events(stream)).data["phase"] == "replicating"
            until(lambda: _is_attempted(daemon, "v2"), "the push that waits is acknowledged")
            assert daemon.stop() == 0
            assert (put.result().status, put.result().headers["Registry-Mirror-Status"]) == (201, "replicating")
            assert (asked.result().returncode, "stopping" in asked.result().stderr) == (1, True), asked.result()
            assert {event.data["phase"] for event in events(stream)} <= {"replicating"}  # and it ended
        registry.resume()
        daemon.start()
        for tag in ("v1", "v2"):
            daemon.wait(f"team/app:{tag}", "replicated")
        assert registry.tags("team/app") == {"v1", "v2"}
        assert not daemon.complaints()


def _connections(daemon: Daemon) -> int:
    """How many operators are connected to the admin socket."""
    sockets = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(f"{daemon.directory}/admin.sock") for line in sockets) - 1


def _put_and_wait(wire: Wire, layout: Layout) -> Answer:
    headers = {"Content-Type": layout.top.media_type, "Prefer": "wait=upstream"}
    return wire.ask("PUT", "/v2/team/app/manifests/v2", layout.manifest, headers)


def _is_attempted(daemon: Daemon, tag: str) -> bool:
    return any(
        (line["event"], line.get("kind"), line["image"].endswith(f":{tag}")) == ("task.started", "replicate", True)
        for line in daemon.log_lines()
        if "image" in line
    )


def _phase(daemon: Daemon) -> str:
    return str(json.loads(daemon.cli("status", NAME, "--json").stdout)["phase"])


def _refused(daemon: Daemon) -> bool:
    host, port = daemon.host.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("unknown = 1", "unknown"),
        ("[listeners.a]\nlisten = 5000", "$.listeners"),
        ("[listeners.a]\nlisten = 'nowhere'", "$.listeners"),
        ("[replication]\njobs = 0", "$.replication.jobs"),
        ("[containerd]\nadress = '/x'", "adress"),
        ("default_upstream = 'twice'", "overwrite"),
    ],
)
def test_bad_settings(line: str, named: str, directory: Path) -> None:
    """A wrong key or value is named, and the start ends with exit code 2."""
    file = directory / "config.toml"
    file.write_text(f'default_upstream = "r"\n{line}\n[upstreams.r]\nurl = "http://localhost:1"\n')
    done = subprocess.run(
        [sys.executable, "-m", "mirror", "serve", "--config", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert named in done.stderr
    assert str(file) in done.stderr


def test_the_journal_is_damaged(daemon: Daemon) -> None:
    """A journal that cannot be trusted stops the start with a clear line, and is left as it is."""
    daemon.stop()
    journal = daemon.directory / "journal.db"
    with sqlite3.connect(journal) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    done = subprocess.run(daemon.command(), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "version 99" in done.stderr) == (1, True)


def test_one_daemon_per_journal(daemon: Daemon) -> None:
    """A second daemon on the same journal is turned away before it can touch anything of the first's."""
    done = subprocess.run(daemon.command(), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "in use by another daemon" in done.stderr) == (1, True)
    assert daemon.status()


def test_an_abandoned_upload_is_dropped(directory: Path, containerd: Containerd) -> None:
    """A session that nobody used for longer than the settings allow is gone, with all it had in containerd."""
    upstreams, settings = {UPSTREAM: "http://127.0.0.1:1"}, {"uploads": {"max_age": 0.5}}
    with Daemon(directory / "daemon", containerd.address, upstreams) as daemon:
        wire = Wire(daemon.url)
        location = wire.begin("team/app")
        assert wire.ask("PATCH", location, b"01234").status == 202
        (name,) = (name for name in containerd.leases() if location.rpartition("/")[2] in name)
        assert name in containerd.ingests()
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
        until(lambda: Wire(daemon.url).ask("GET", location).code == "BLOB_UPLOAD_UNKNOWN", "the session is gone")
        until(lambda: name not in containerd.leases() | containerd.ingests(), "what it had is gone")


def test_the_log_tells_every_step(daemon: Daemon, layout: Layout) -> None:
    """From the push to the tag upstream each step is a line, and each line of a job names it.

    A blob may go upstream before there is a job.
    """
    wire = Wire(daemon.url)
    wire.push("team/app", "v1", layout)
    for goal in ("unpacked", "replicated"):
        daemon.wait(NAME, goal)
    lines = [line for line in daemon.log_lines() if line.get("image") == NAME]
    steps = {line["event"]: line for line in lines}
    assert {"push.acknowledged", "layer.unpacked", "manifest.sent", "tag.sent"} <= steps.keys()
    assert {"blob.found", "blob.sent"} & steps.keys()
    assert "blob.sent" in {line["event"] for line in daemon.log_lines()}
    assert {line["digest"] for line in lines} == {layout.digest}
    assert len({line["job"] for line in lines}) == 1
