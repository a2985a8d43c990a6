"""What a docker-registry that was killed, or that is busy, says of content which it only has to be sent again.

It writes the link of a blob or manifest to a repository by truncating the file first: between that and the write, and
for ever when it is killed there, the link is empty. Putting the content again mends it. The soak has met all of these.
"""

import json

import pytest

from tests.conftest import UPSTREAM
from tests.faults.way import LAYER, REPOSITORY, Way, layer
from tests.rig.faults import Reply
from tests.rig.registry import Registry
from tests.rig.wire import Wire, digest_of, manifest

JSON = {"Content-Type": "application/json"}
INVALID = json.dumps({"errors": [{"code": "DIGEST_INVALID", "message": "did not match"}]}).encode()


def empty_link(registry: Registry, kind: str, data: bytes) -> None:
    """Leave the link to some content as a kill in the middle of its write does."""
    (link,) = registry.directory.glob(f"data/**/{kind}/sha256/{digest_of(data).removeprefix('sha256:')}/link")
    link.write_bytes(b"")


def test_a_manifest_that_cannot_be_read(way: Way, registry: Registry) -> None:
    """The upstream answers 500 when asked for the manifest: it is put again."""
    raw = way.push()
    way.arrives(raw)
    empty_link(registry, "revisions", raw)
    assert way.push(tag="v2") == raw
    way.arrives(raw, tag="v2")


def test_a_blob_that_cannot_be_read(way: Way, registry: Registry) -> None:
    """The upstream answers 500 when asked for the blob: it is sent again."""
    raw = way.push()
    way.arrives(raw)
    empty_link(registry, "_layers", LAYER)
    assert way.push(tag="v2") == raw
    way.arrives(raw, tag="v2")


def test_every_blob_cannot_be_read(way: Way, registry: Registry) -> None:
    """A registry that answers nothing but 500 is taken to be away: its blobs are sent again all the same."""
    blobs = [layer(seed, 1000) for seed in range(6)]
    wire, raw = Wire(way.daemon.url), manifest(*blobs)
    for blob in blobs:
        wire.push_blob(REPOSITORY, blob)
    for tag in ("v1", "v2"):
        assert wire.push_manifest(REPOSITORY, tag, raw).status == 201
        way.daemon.wait(f"{UPSTREAM}/{REPOSITORY}:{tag}", "replicated")
        for blob in blobs:
            assert registry.blob(REPOSITORY, digest_of(blob)) == blob
            empty_link(registry, "_layers", blob)


@pytest.mark.parametrize("path", ["/manifests/sha256:", "/manifests/v1$"])
def test_a_manifest_whose_blob_is_being_linked(way: Way, path: str) -> None:
    """400 DIGEST_INVALID, while another upload of a blob of it ends: our digest is right, so it is put again."""
    way.proxy.arm(Reply(400, JSON, INVALID), "PUT", path)
    data = layer(9)
    way.arrives(way.push(data), data)
