"""`registry-mirror inspect`: what an image is made of, here and upstream."""

import json
import re
from pathlib import Path

from tests.conftest import UPSTREAM
from tests.rig.clients import skopeo_push
from tests.rig.daemon import Daemon
from tests.rig.images import ARCHITECTURE, File, Layer, Platform, build_image, build_index, busybox
from tests.rig.registry import Registry

NAME = f"{UPSTREAM}/team/app:v1"


def test_an_image(daemon: Daemon, registry: Registry, directory: Path) -> None:
    """Its layers with their sizes and compressions, for people and programs; the same upstream once it is there."""
    layers = [busybox("a"), Layer([File("b", b"b")], "zstd"), Layer([File("c", b"c")], "none")]
    layout = build_image(directory / "layout", layers)
    skopeo_push(layout, f"{daemon.host}/team/app:v1")
    said = json.loads(daemon.cli("inspect", "team/app:v1", "--json").stdout)
    assert (said["image"], said["digest"]) == (NAME, layout.digest)
    assert [layer["compression"] for layer in said["layers"]] == ["gzip", "zstd", "none"]
    assert [layer["bytes"] for layer in said["layers"]] == [child.size for child in layout.children[1:]]
    assert said["config"]["architecture"] == ARCHITECTURE
    lines = daemon.cli("inspect", NAME).stdout.splitlines()
    assert f"platform:   linux/{ARCHITECTURE}" in lines
    assert [line.split()[4] for line in lines if re.match(r"^\d", line)] == ["gzip", "zstd", "none"]
    daemon.wait(NAME, "replicated")
    assert json.loads(daemon.cli("inspect", NAME, "--upstream", "--json").stdout) == said
    registry.kill()
    away = daemon.cli("inspect", NAME, "--upstream")
    assert (away.returncode, away.stderr.count("\n"), "connect" in away.stderr.lower()) == (1, 1, True), away


def test_an_index(daemon: Daemon, directory: Path) -> None:
    """The images that it lists, each of which can be asked for."""
    layout = build_index(directory / "index", {Platform(): [busybox("a")], Platform("riscv64"): [busybox("b")]})
    skopeo_push(layout, f"{daemon.host}/team/app:v1", "--all")
    said = json.loads(daemon.cli("inspect", "team/app:v1", "--json").stdout)
    assert [each["platform"] for each in said["manifests"]] == [f"linux/{ARCHITECTURE}", "linux/riscv64"]
    assert (said["layers"], said["config"]) == ([], None)
    assert "linux/riscv64" in daemon.cli("inspect", "team/app:v1").stdout
    one = said["manifests"][1]["digest"]
    assert json.loads(daemon.cli("inspect", f"team/app@{one}", "--json").stdout)["config"]["architecture"] == "riscv64"


def test_what_is_not_there(daemon: Daemon) -> None:
    """A line that says so, and exit code 1; likewise when no daemon answers."""
    for arguments in (["team/none:v1"], ["team/none:v1", "--upstream"], ["NO NAME"], ["team/app@sha256:0"]):
        done = daemon.cli("inspect", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    daemon.stop()
    done = daemon.cli("inspect", "team/app:v1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
