"""Everything that is pushed as images are, and mostly is none: stored, served, replicated, never refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import ARCHITECTURE, MEDIA, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.wire import Wire, digest_of

OCI = MEDIA["oci"]
EMPTY = "application/vnd.oci.empty.v1+json"
Json = dict[str, Any]


class Pusher:
    """Pushes to one repository, and makes the descriptors of what it pushed."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def blob(self, media_type: str, data: bytes) -> Json:
        """Push a blob."""
        self._wire.push_blob("team/kinds", data)
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def manifest(self, media_type: str, tag: str | None = None, **fields: object) -> Json:
        """Push a manifest, by its digest or under a tag."""
        raw = json.dumps({"schemaVersion": 2, "mediaType": media_type, **fields}).encode()
        answer = self._wire.push_manifest("team/kinds", tag or digest_of(raw), raw, media_type)
        assert answer.status == 201, answer
        return {"mediaType": media_type, "digest": digest_of(raw), "size": len(raw)}


def _helm_chart(push: Pusher) -> None:
    config = push.blob("application/vnd.cncf.helm.config.v1+json", b'{"name": "chart"}')
    layer = push.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"a chart")
    push.manifest(OCI.manifest, "v1", config=config, layers=[layer])


def _signature(push: Pusher) -> None:
    subject = push.manifest(OCI.manifest, config=push.blob(OCI.config, b"{}"), layers=[])
    layer = push.blob("application/vnd.dev.cosign.simplesigning.v1+json", b"signed")
    layer["annotations"] = {"dev.cosignproject.cosign/signature": "c2lnbmVk"}
    push.manifest(OCI.manifest, "v1", config=push.blob(EMPTY, b"{}"), layers=[layer], subject=subject)


def _artifact_with_data(push: Pusher) -> None:
    config = push.blob(EMPTY, b"{}") | {"data": "e30="}
    push.manifest(OCI.manifest, "v1", artifactType="application/vnd.example", config=config, layers=[config])


def _custom_fields(push: Pusher) -> None:
    config = push.blob(EMPTY, b"{}") | {"x-example": [1, 2]}
    push.manifest(OCI.manifest, "v1", config=config, layers=[config], **{"x-example": {"kept": True}})


def _attestation(push: Pusher) -> Json:
    unknown = b'{"os": "unknown", "architecture": "unknown", "rootfs": {"diff_ids": ["sha256:0"]}}'
    config = push.blob(OCI.config, unknown)
    statement = push.blob("application/vnd.in-toto+json", b"{}")
    return push.manifest(OCI.manifest, config=config, layers=[statement])


def _attestation_alone(push: Pusher) -> None:
    attestation = _attestation(push)
    attestation["platform"] = {"os": "unknown", "architecture": "unknown"}
    push.manifest(OCI.index, "v1", manifests=[attestation])


def _nested_index(push: Pusher) -> None:
    config = push.blob(OCI.config, json.dumps({"os": "plan9", "architecture": ARCHITECTURE}).encode())
    inner = push.manifest(OCI.index, manifests=[push.manifest(OCI.manifest, config=config, layers=[])])
    push.manifest(OCI.index, "v1", manifests=[inner])


def _cache_manifest(push: Pusher) -> None:
    config = push.blob("application/vnd.buildkit.cacheconfig.v0", b'{"layers": []}')
    push.manifest(OCI.manifest, "v1", config=config, layers=[push.blob(OCI.layer_type("gzip"), b"a layer")])


def _cache_index(push: Pusher) -> None:
    layer = push.blob(OCI.layer_type("zstd"), b"another layer")
    config = push.blob("application/vnd.buildkit.cacheconfig.v0", b'{"layers": [{}]}')
    push.manifest(OCI.index, "v1", manifests=[layer, config])


def _empty_index(push: Pusher) -> None:
    push.manifest(OCI.index, "v1", manifests=[])


@pytest.mark.parametrize(
    "kind",
    [
        _helm_chart,
        _signature,
        _artifact_with_data,
        _custom_fields,
        _attestation_alone,
        _nested_index,
        _cache_manifest,
        _cache_index,
        _empty_index,
    ],
)
def test_what_is_no_image(kind: Callable[[Pusher], None], daemon: Daemon, registry: Registry) -> None:
    """It gets upstream byte for byte, and is not unpacked, which is no failure."""
    wire = Wire(daemon.url)
    kind(Pusher(wire))
    daemon.wait("team/kinds:v1", "replicated")
    done = daemon.cli("wait", "team/kinds:v1", "--for", "unpacked", "--timeout", "60")
    assert (done.returncode, "skipped" in done.stdout) == (0, True), done
    stored = registry.manifest("team/kinds", "v1")
    assert stored is not None
    assert stored.raw == wire.ask("GET", "/v2/team/kinds/manifests/v1").body


@pytest.mark.parametrize("said", [True, False])
def test_an_image_and_its_attestation(
    directory: Path,
    daemon: Daemon,
    containerd: Containerd,
    said: bool,  # noqa: FBT001 - pytest passes by name
) -> None:
    """The image runs, and what is said about it is not taken for one, be it the index or the config that says so."""
    push, layout = Pusher(Wire(daemon.url)), build_image(directory / "layout", [busybox(directory.name)])
    Wire(daemon.url).push("team/kinds", layout.digest, layout)
    attestation = _attestation(push)
    if said:
        attestation["platform"] = {"os": "unknown", "architecture": "unknown"}
    image = layout.top.json() | {"platform": {"os": "linux", "architecture": ARCHITECTURE}}
    push.manifest(OCI.index, "v1", manifests=[attestation, image])
    daemon.wait("team/kinds:v1", "unpacked")
    assert containerd.run_container(f"{UPSTREAM}/team/kinds:v1").strip() == directory.name


def test_a_layer_that_lives_elsewhere(daemon: Daemon) -> None:
    """A non-distributable layer need not be pushed."""
    push = Pusher(Wire(daemon.url))
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    absent = {"mediaType": foreign, "digest": digest_of(b"elsewhere"), "size": 9, "urls": ["https://example.com/layer"]}
    push.manifest(OCI.manifest, "v1", config=push.blob(EMPTY, b"{}"), layers=[absent])


def test_a_kind_that_nobody_knows(daemon: Daemon) -> None:
    """A manifest of an unknown type is stored and served; whether the upstream takes it is for the upstream to say."""
    wire = Wire(daemon.url)
    pushed = Pusher(wire).manifest("application/vnd.example.thing+json", "v1", thing={"layers": 7})
    answer = wire.ask("GET", "/v2/team/kinds/manifests/v1")
    assert (digest_of(answer.body), answer.headers["Content-Type"]) == (pushed["digest"], pushed["mediaType"])
    done = daemon.cli("wait", "team/kinds:v1", "--for", "replicated", "--timeout", "60")
    assert (done.returncode, "parked" in done.stdout) == (1, True)
