"""`registry-mirror push`: images from files that other tools wrote."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.e2e.conftest import Parts, ours
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import ARCHITECTURE, Layer, Layout, Noise, Platform, build_image, build_index, busybox
from tests.rig.registry import Registry
from tests.rig.until import until

NAME = f"{UPSTREAM}/team/app:v1"


@pytest.fixture
def name(directory: Path) -> str:
    """What no other test's image is called."""
    return f"{UPSTREAM}/{directory.name}/app:v1"


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run."""
    return build_image(directory / "layout", [busybox(directory.name)])


def _copy(layout: Layout, target: str) -> None:
    """Have skopeo write a layout in another form."""
    source = f"oci:{layout.directory}:{layout.tag}"
    subprocess.run(["skopeo", "copy", "--quiet", source, target], check=True, timeout=60)


def _packed(source: Path, target: Path) -> Path:
    with source.open("rb") as plain, gzip.open(target, "wb") as packed:
        shutil.copyfileobj(plain, packed)
    return target


def test_every_form(parts: Parts, directory: Path, layout: Layout) -> None:
    """A layout is pushed byte for byte, from a directory, a tar file, one packed with gzip, and one that comes in."""
    archive = directory / "app.tar"
    _copy(layout, f"oci-archive:{archive}:v1")
    for tag, source in {"dir": layout.directory, "tar": archive, "gz": _packed(archive, directory / "a.tgz")}.items():
        done = parts.daemon.cli("push", str(source), f"team/app:{tag}")
        assert (done.returncode, done.stdout) == (0, f"{UPSTREAM}/team/app:{tag}@{layout.digest}\n"), done
    with archive.open("rb") as file:
        piped = subprocess.run(
            [*parts.daemon.command()[:3], "push", "-", "team/app:in", "--json", "--config", str(parts.daemon.config)],
            input=file.read(),
            capture_output=True,
            check=True,
            timeout=60,
        )
    said = json.loads(piped.stdout)["images"]
    assert [(each["image"], each["bytes"]["sent"]) for each in said] == [(f"{UPSTREAM}/team/app:in", 0)]
    assert said[0]["bytes"]["there"] > 0
    for tag in ("dir", "tar", "gz", "in"):
        parts.daemon.wait(f"team/app:{tag}", "unpacked")
        parts.daemon.wait(f"team/app:{tag}", "replicated")
        parts.compare(f"{UPSTREAM}/team/app:{tag}", layout.digest)


def test_what_docker_saves(parts: Parts, directory: Path, layout: Layout) -> None:
    """A file of `docker save` says what it is called, and has no manifest: what is made of it runs, here and there."""
    archive = directory / "saved.tar"
    _copy(layout, f"docker-archive:{archive}:{NAME}")
    done = parts.daemon.cli("push", str(archive))
    name, _, digest = done.stdout.strip().partition("@")
    assert (done.returncode, name) == (0, NAME), done
    parts.daemon.wait(NAME, "unpacked")
    parts.daemon.wait(NAME, "replicated")
    parts.compare(NAME, digest)
    assert directory.name in parts.containerd.run_container(NAME)


def test_an_index(parts: Parts, directory: Path) -> None:
    """Of an index all that the archive has is pushed, and what it has not may be missing."""
    here = Platform()
    images = {here: [busybox("one")], Platform("riscv64"): [busybox("two")]}
    layout = build_index(directory / "index", images)
    absent = json.loads(layout.manifest)["manifests"][1]["digest"]
    layout.blob(absent).unlink()
    assert parts.daemon.cli("push", str(layout.directory), NAME).returncode == 0
    parts.daemon.wait(NAME, "unpacked")
    assert parts.containerd.images()[NAME] == layout.digest
    assert here.architecture == ARCHITECTURE


def test_which_image_is_meant(daemon: Daemon, directory: Path, layout: Layout) -> None:
    """Of several images one is chosen by its name or digest; a name of another registry is nobody's here."""
    other = build_image(directory / "other", [busybox("other")], tag="v2")
    shutil.copytree(other.directory / "blobs", layout.directory / "blobs", dirs_exist_ok=True)
    entries = [json.loads((each.directory / "index.json").read_text())["manifests"][0] for each in (layout, other)]
    (layout.directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    source = str(layout.directory)
    done = daemon.cli("push", source, NAME)
    assert (done.returncode, "--image" in done.stderr, "v1, v2" in done.stderr) == (1, True, True), done
    assert other.digest in daemon.cli("push", source, "team/app:two", "--image", "v2").stdout
    assert layout.digest in daemon.cli("push", source, "team/app:one", "--image", layout.digest).stdout
    done = daemon.cli("push", source, "--image", "v1")
    assert (done.returncode, "REFERENCE" in done.stderr) == (1, True), done
    done = daemon.cli("push", source, "elsewhere.example.com/app:v1", "--image", "v1")
    assert (done.returncode, "not in the settings" in done.stderr) == (1, True), done


def _without_layer(layout: Layout) -> None:
    layout.blob(layout.children[1].digest).unlink()


def _with_other_layer(layout: Layout) -> None:
    blob = layout.blob(layout.children[1].digest)
    blob.write_bytes(bytes(blob.stat().st_size))


def _with_short_layer(layout: Layout) -> None:
    blob = layout.blob(layout.children[1].digest)
    os.truncate(blob, blob.stat().st_size // 2)


def _with_other_manifest(layout: Layout) -> None:
    layout.blob(layout.digest).write_bytes(layout.manifest + b" ")


def _without_index(layout: Layout) -> None:
    (layout.directory / "index.json").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_without_layer, "has sha256:"),
        (_with_other_layer, "DIGEST_INVALID"),
        (_with_short_layer, "too early"),
        (_with_other_manifest, "is damaged"),
        (_without_index, "neither an OCI layout"),
    ],
)
def test_damaged_layouts(
    daemon: Daemon, containerd: Containerd, layout: Layout, name: str, damage: Callable[[Layout], None], words: str
) -> None:
    """What is damaged is refused in words that name it, and no image is made of it."""
    damage(layout)
    done = daemon.cli("push", str(layout.directory), name)
    assert (done.returncode, words in done.stderr) == (1, True), done
    assert name not in containerd.images()
    assert not [lease for lease in ours(containerd.leases()) if "/job/" in lease]


def test_damaged_archives(daemon: Daemon, directory: Path, layout: Layout) -> None:
    """A file that is no archive, one that is cut, and a saved layer with other bytes."""
    saved = directory / "saved.tar"
    _copy(layout, f"docker-archive:{saved}:{NAME}")
    with tarfile.open(saved) as members:
        layer = max(members, key=lambda member: member.size)
    with saved.open("r+b") as file:
        file.seek(layer.offset_data + layer.size // 2)
        file.write(b"other")
    done = daemon.cli("push", str(saved))
    assert (done.returncode, "is damaged" in done.stderr) == (1, True), done
    cut = _packed(saved, directory / "cut.tgz")
    os.truncate(cut, cut.stat().st_size // 2)
    text = directory / "text"
    text.write_text("no archive")
    for source, words in ((cut, "damaged"), (text, "no tar file"), (directory / "missing", "No such file")):
        done = daemon.cli("push", str(source), NAME)
        assert (done.returncode, words in done.stderr) == (1, True), done


@pytest.mark.slow
def test_the_daemon_restarts(
    daemon: Daemon, containerd: Containerd, registry: Registry, directory: Path, name: str
) -> None:
    """Killed in the middle of a layer and started again, it gets the rest without help."""
    layout = build_image(directory / "large", [busybox("large"), Layer([Noise("noise", 256 << 20)], "none")])
    command = [*daemon.command()[:3], "push", str(layout.directory), name, "--config", str(daemon.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as pushing:
        until(lambda: ours(containerd.leases()), "an upload that has begun")
        pushing.send_signal(signal.SIGSTOP)
        assert name not in containerd.images()
        daemon.kill()
        daemon.start()
        pushing.send_signal(signal.SIGCONT)
        said, complaints = pushing.communicate(timeout=120)
    assert (pushing.returncode, said) == (0, f"{name}@{layout.digest}\n"), complaints
    daemon.wait(name, "replicated")
    assert registry.tags(f"{directory.name}/app") == {"v1"}


def test_where_nobody_may_push(directory: Path, containerd: Containerd, registry: Registry, layout: Layout) -> None:
    """An operator may push where the rules let nobody; the socket is for root and the operators' group."""
    settings = {"rules": {"ci": {"actions": ["push"], "principals": ["basic:ci"]}}}
    with Daemon(directory / "ruled", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        assert daemon.cli("push", str(layout.directory), NAME).returncode == 0
        assert [line["principal"] for line in daemon.log_lines() if line.get("method") == "PUT"][-1] == "operator"
        assert (daemon.directory / "push.sock").stat().st_mode & 0o777 == 0o660
    done = daemon.cli("push", str(layout.directory), NAME)
    assert (done.returncode, str(daemon.directory) in done.stderr) == (1, True), done
