"""Layers that are unpacked already, and images that would like to have them."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Layout, Text, build_image, busybox
from tests.rig.wire import Answer, Wire, digest_of
from tests.security.conftest import wire_of
from tests.security.people import PEOPLE


@dataclass(frozen=True)
class Victim:
    """An image of globex, unpacked."""

    layout: Layout
    diff_ids: list[str]


@pytest.fixture(scope="module")
def victim(scratch: Path, daemon: Daemon) -> Victim:
    layout = build_image(Path(tempfile.mkdtemp(dir=scratch)), [busybox("the secret of globex")])
    wire_of(daemon, PEOPLE["bob"]).push("globex/secret", "v1", layout)
    daemon.wait("globex/secret:v1", "unpacked")
    return Victim(layout, _config(layout)["rootfs"]["diff_ids"])


@pytest.fixture
def alice(daemon: Daemon) -> Wire:
    """Requests of somebody else."""
    return wire_of(daemon, PEOPLE["alice"])


def _config(layout: Layout) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(layout.blob(layout.children[0].digest).read_bytes())
    return config


def _pushed(wire: Wire, layout: Layout, tag: str, config: bytes) -> Answer:
    """Push an image with another config; the answer to its manifest."""
    manifest = json.loads(layout.manifest)
    manifest["config"] |= {"digest": digest_of(config), "size": len(config)}
    for layer in manifest["layers"]:
        wire.push_blob("acme/app", layout.blob(layer["digest"]).read_bytes())
    wire.push_blob("acme/app", config)
    return wire.push_manifest("acme/app", tag, json.dumps(manifest).encode())


def _lies(own: dict[str, Any], diff_ids: list[str]) -> Mapping[str, bytes]:
    """Configs that say, to somebody at least, that the image has these layers."""
    theirs = {"type": "layers", "diff_ids": diff_ids}
    plain = json.dumps({**own, "rootfs": theirs})
    twice = json.dumps(own).replace('"rootfs":', f'"rootfs": {json.dumps(theirs)}, "rootfs":')
    return {
        "plainly": plain.encode(),
        "in capitals": json.dumps({**own, "RootFS": theirs}).encode(),
        "only in capitals": plain.replace("rootfs", "ROOTFS").encode(),
        "twice": twice.encode(),
        "with one more": json.dumps({**own, "rootfs": {**theirs, "diff_ids": [*diff_ids, *diff_ids]}}).encode(),
        "beside bytes that are no text": plain.encode().replace(b"{", b'{"x": "\xff", ', 1),
        "beside a number without end": plain.encode().replace(b"{", b'{"x": ' + b"9" * 5000 + b", ", 1),
        "beside an abyss": plain.encode().replace(b"{", b'{"x": ' + b"[" * 9000 + b"]" * 9000 + b", ", 1),
    }


HOW = list(_lies({"rootfs": {}}, []))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("media_type", ["application/vnd.oci.image.config.v1+json", "application/vnd.example+json"])
def test_an_image_that_says_it_has_layers_of_others(
    containerd: Containerd, directory: Path, alice: Wire, victim: Victim, how: str, media_type: str
) -> None:
    """It is refused before it has a name in containerd, by which it could be started; whatever its config is called."""
    layout = build_image(directory / "layout", [Layer([Text(f"mine, {how}", 100)])])
    layout.blob(layout.digest).write_bytes(
        layout.manifest.replace(b"application/vnd.oci.image.config.v1+json", media_type.encode())
    )
    answer = _pushed(alice, layout, "lying", _lies(_config(layout), victim.diff_ids)[how])
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    assert "registry.example.com/acme/app:lying" not in containerd.images()


def test_layers_that_are_unpacked_later(daemon: Daemon, directory: Path, alice: Wire) -> None:
    """A claim that nobody can compare yet is found out when the image is unpacked: it is not runnable."""
    layout = build_image(directory / "layout", [Layer([Text("mine", 100)])])
    config = {**_config(layout), "rootfs": {"type": "layers", "diff_ids": [digest_of(b"to come")]}}
    assert _pushed(alice, layout, "early", json.dumps(config).encode()).status == 201
    assert daemon.cli("wait", "acme/app:early", "--for", "unpacked", "--timeout", "30").returncode == 1
    assert "not runnable" in daemon.cli("status", "acme/app:early").stdout


@pytest.mark.parametrize("config", [b"{}", b"", b"\xff\xfe", b"[]", b"rootfs", b'{"a": {"rootfs": {}}}'])
def test_configs_that_are_of_no_image(directory: Path, alice: Wire, config: bytes) -> None:
    """Artifacts may have what they like."""
    layout = build_image(directory / "layout", [Layer([Text("mine", 100)])])
    layout.blob(layout.digest).write_bytes(layout.manifest.replace(b"vnd.oci.image.config.v1+json", b"vnd.example"))
    assert _pushed(alice, layout, "artifact", config).status == 201


def test_an_image_that_has_them(daemon: Daemon, directory: Path, alice: Wire, victim: Victim) -> None:
    """Whoever pushed the same layers himself shares what is unpacked."""
    layout = build_image(directory / "layout", [busybox("the secret of globex")])
    assert _config(layout)["rootfs"]["diff_ids"] == victim.diff_ids
    alice.push("acme/app", "same", layout)
    daemon.wait("acme/app:same", "unpacked")


@pytest.mark.parametrize("name", ["Layers", "LAYERS", "layer\u017f"])
def test_a_manifest_that_names_them_in_another_way(alice: Wire, directory: Path, victim: Victim, name: str) -> None:
    """Others would read it as `layers`; we do not acknowledge what we do not see."""
    layout = build_image(directory / "layout", [Layer([Text("mine", 100)])])
    alice.push("acme/app", "honest", layout)
    theirs = json.loads(victim.layout.manifest)["layers"]
    manifest = json.dumps({**json.loads(layout.manifest), name: theirs}).encode()
    assert alice.push_manifest("acme/app", "two-faced", manifest).code == "MANIFEST_INVALID"
