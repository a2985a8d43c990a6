"""Layers as builders may write them: taken, kept, unpacked, served and replicated as they are."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import ARCHITECTURE, MEDIA, MediaName
from tests.rig.registry import Registry
from tests.rig.wire import Wire, digest_of

REPOSITORY = "team/layers"


def _halves(data: bytes) -> tuple[bytes, bytes]:
    middle = len(data) // 2
    return data[:middle], data[middle:]


def _skippable(data: bytes, kind: int = 0) -> bytes:
    """A frame that readers pass over. Source: RFC 8878, 3.1.2."""
    return (0x184D2A50 + kind).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data


def _members(data: bytes) -> bytes:
    """Gzip of several members, as eStargz is."""
    return b"".join(gzip.compress(part) for part in (*_halves(data), b""))


def _frames(data: bytes) -> bytes:
    """Frames of zstd, with others around them, as zstd:chunked has its table of contents."""
    first, second = (zstandard.compress(part) for part in _halves(data))
    return _skippable(b"") + first + _skippable(b"between", 5) + second + _skippable(b"contents" * 100)


WAYS: Mapping[MediaName, Mapping[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "oci": {
        "gzip": ("+gzip", gzip.compress),
        "members": ("+gzip", _members),
        "zstd": ("+zstd", zstandard.compress),
        "frames": ("+zstd", _frames),
        "plain": ("", bytes),
    },
    "docker": {"gzip": (".gzip", gzip.compress), "members": (".gzip", _members), "plain": ("", bytes)},
}
"""How a layer is packed: what is behind the media type, and the way from a tar to it."""


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("media", MEDIA)
def test_every_layer(
    directory: Path, containerd: Containerd, registry: Registry, daemon: Daemon, media: MediaName
) -> None:
    """A container finds what is in each of them, and every byte is upstream and here as it was pushed."""
    kinds, wire = MEDIA[media], Wire(daemon.url)
    tars = [_tar({"bin/busybox": Path("/bin/busybox").read_bytes()})]
    tars += [_tar({f"layers/{name}": f"{directory.name} {name}\n".encode()}) for name in WAYS[media]]
    ways = [WAYS[media]["members" if media == "docker" else "frames"], *WAYS[media].values()]
    layers = [pack(tar) for tar, (_, pack) in zip(tars, ways, strict=True)]
    config = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {"Cmd": ["/bin/busybox", "cat", *(f"/layers/{name}" for name in WAYS[media])]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]},
    }

    def pushed(media_type: str, data: bytes, **more: object) -> dict[str, object]:
        return {"mediaType": media_type, "digest": wire.push_blob(REPOSITORY, data), "size": len(data), **more}

    about = {"org.example.kind": "any"}
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kinds.manifest,
            "config": pushed(kinds.config, json.dumps(config).encode()),
            "layers": [
                pushed(kinds.layer + suffix, layer, annotations=about)
                for layer, (suffix, _) in zip(layers, ways, strict=True)
            ],
        }
    ).encode()
    assert wire.push_manifest(REPOSITORY, "v1", raw, kinds.manifest).status == 201
    name = f"{UPSTREAM}/{REPOSITORY}:v1"
    daemon.wait(name, "unpacked")
    assert containerd.run_container(name).splitlines() == [f"{directory.name} {way}" for way in WAYS[media]]
    daemon.wait(name, "replicated")
    stored = registry.manifest(REPOSITORY, "v1")
    assert stored
    assert (stored.raw, stored.media_type) == (raw, kinds.manifest)
    assert wire.ask("GET", f"/v2/{REPOSITORY}/manifests/v1", headers={"Accept": kinds.manifest}).body == raw
    for layer in layers:
        path = f"/v2/{REPOSITORY}/blobs/{digest_of(layer)}"
        assert wire.ask("GET", path).body == registry.blob(REPOSITORY, digest_of(layer)) == layer
