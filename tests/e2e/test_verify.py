"""Images that somebody else has to allow, with real clients: what is refused gets nowhere, and the rest goes on."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.conftest import UPSTREAM
from tests.e2e.conftest import Parts
from tests.rig.clients import skopeo_push
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layout, Platform, build_image, build_index, busybox
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.verifier import VerifyCommand, verify_service

REPOSITORY = "team/app"
NAME = f"{UPSTREAM}/{REPOSITORY}"


@pytest.fixture
def verifier(directory: Path) -> VerifyCommand:
    """A command that denies the tag `bad`."""
    command = VerifyCommand(directory / "verifier")
    command.answer("""tail -n 1 "$1/asked" | grep -qF '"references":["bad"]' && exit 1; exit 0""")
    return command


@pytest.fixture
def service(directory: Path) -> Path:
    """Where a service is to be asked, which is not there yet."""
    return directory / "verify.sock"


@pytest.fixture
def daemon(
    directory: Path, containerd: Containerd, registry: Registry, request: pytest.FixtureRequest
) -> Iterator[Daemon]:
    """A daemon that asks the command or the service, whichever the test is about."""
    if "verifier" in request.fixturenames:
        verify: dict[str, object] = {"command": request.getfixturevalue("verifier").argv}
    else:
        verify = {"socket": str(request.getfixturevalue("service"))}
    settings: dict[str, dict[str, object]] = {"verify": verify, "shutdown": {"deadline": 0.5}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def good(directory: Path) -> Layout:
    """An image that will be let in; no other test has it."""
    return build_image(directory / "good", [busybox(f"good {directory.name}")], tag="good")


@pytest.fixture
def bad(directory: Path) -> Layout:
    """Another one."""
    return build_image(directory / "bad", [busybox(f"bad {directory.name}")], tag="bad")


def check_absent(parts: Parts, tag: str, digest: str) -> None:
    """Nobody has the image: not containerd, not the upstream, not `status`; nor is anything of it held."""
    assert digest not in parts.containerd.images().values()
    parts.containerd.collect_garbage()
    assert digest not in parts.containerd.contents()
    assert parts.upstream.manifest(REPOSITORY, tag) is None
    assert parts.upstream.manifest(REPOSITORY, digest) is None
    asked = parts.daemon.cli("status", f"{REPOSITORY}:{tag}")
    assert (asked.returncode, "MANIFEST_UNKNOWN" in asked.stderr) == (1, True), asked
    assert digest not in json.dumps(parts.daemon.status())


@pytest.mark.parametrize("client", ["skopeo", "ctr"])
def test_what_a_command_refuses(parts: Parts, verifier: VerifyCommand, good: Layout, bad: Layout, client: str) -> None:
    """The client is told; what is allowed beside it gets upstream, byte for byte."""
    with pytest.raises(RuntimeError, match=r"not allowed here|403"):
        parts.push(client, bad, f"{parts.daemon.host}/{REPOSITORY}:bad")
    check_absent(parts, "bad", bad.digest)
    assert verifier.asked()[0]["digest"] == bad.digest
    parts.push(client, good, f"{parts.daemon.host}/{REPOSITORY}:good")
    parts.daemon.wait(f"{REPOSITORY}:good", "replicated")
    parts.compare(f"{NAME}:good", good.digest)
    check_absent(parts, "bad", bad.digest)


def test_a_tag_stays_where_it_is(parts: Parts, verifier: VerifyCommand, good: Layout, bad: Layout) -> None:
    """A push that is refused does not move a tag, neither here nor upstream."""
    parts.push("skopeo", good, f"{parts.daemon.host}/{REPOSITORY}:v1")
    parts.daemon.wait(f"{REPOSITORY}:v1", "replicated")
    verifier.answer("exit 1")
    with pytest.raises(RuntimeError):
        parts.push("skopeo", bad, f"{parts.daemon.host}/{REPOSITORY}:v1")
    parts.compare(f"{NAME}:v1", good.digest)


def test_an_index(directory: Path, parts: Parts, verifier: VerifyCommand) -> None:
    """Its images are asked about one by one, before it; then all of it gets upstream."""
    layout = build_index(directory / "index", {Platform(): [busybox("a")], Platform("arm64"): [busybox("b")]})
    parts.push("skopeo", layout, f"{parts.daemon.host}/{REPOSITORY}:v1")
    asked = [question["references"] for question in verifier.asked()]
    assert len(asked) == 3
    assert asked[-1] == ["v1"]
    parts.daemon.wait(f"{REPOSITORY}:v1", "replicated")
    parts.compare(f"{NAME}:v1", layout.digest)


def test_a_daemon_that_is_stopped(parts: Parts, directory: Path, verifier: VerifyCommand, good: Layout) -> None:
    """It does not wait for an answer for ever, and takes who was asked with it."""
    verifier.answer(f"sleep 1000 & echo $! > {directory}/child.new; mv {directory}/child.new {directory}/child; wait")
    with ThreadPoolExecutor() as pool:
        push = pool.submit(parts.push, "skopeo", good, f"{parts.daemon.host}/{REPOSITORY}:good")
        child = until((directory / "child").exists, "somebody is asked") and (directory / "child").read_text().strip()
        assert parts.daemon.stop() == 0
        assert isinstance(push.exception(), RuntimeError)
    until(lambda: not psutil.pid_exists(int(child)), "the child has ended")
    assert good.digest not in parts.containerd.images().values()


def test_a_service_that_is_away(parts: Parts, service: Path, good: Layout) -> None:
    """As long as nobody can tell, nothing is taken and the client may come again; then it is, as it was pushed."""
    reference = f"{parts.daemon.host}/{REPOSITORY}:v1"
    with pytest.raises(RuntimeError, match=r"cannot be told for now|503"):
        skopeo_push(good, reference)
    check_absent(parts, "v1", good.digest)
    with verify_service(service, allow=False), pytest.raises(RuntimeError, match="not allowed here"):
        skopeo_push(good, reference)
    check_absent(parts, "v1", good.digest)
    with verify_service(service, allow=True):
        skopeo_push(good, reference)
    parts.daemon.wait(f"{REPOSITORY}:v1", "replicated")
    parts.compare(f"{NAME}:v1", good.digest)
    events = [line["event"] for line in parts.daemon.log_lines() if line.get("digest") == good.digest]
    assert [event for event in events if event.startswith("push.")] == [
        "push.undecided",
        "push.refused",
        "push.acknowledged",
    ]
