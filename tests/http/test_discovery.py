"""Mounts, referrers, lists and deletes: what is shared between repositories, and what never is."""

import json

from tests.conftest import UPSTREAM
from tests.http.conftest import OTHER
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import MEDIA
from tests.rig.registry import Registry
from tests.rig.wire import Wire, digest_of, manifest

CONFIG, LAYER = b'{"a": "config"}', b"a layer to share"
OCI = MEDIA["oci"]


def test_a_mount_needs_no_bytes(wire: Wire, containerd: Containerd) -> None:
    """A blob of another repository is granted by name, is held until an image refers to it, and serves one."""
    digest = wire.push_blob("mount/source", LAYER)
    for query in (f"mount={digest}&from=mount/source", f"mount={digest}"):
        target = f"mount/to{len(query)}"
        answer = wire.ask("POST", f"/v2/{target}/blobs/uploads/?{query}")
        assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
        containerd.collect_garbage()
        wire.push_blob(target, CONFIG)
        assert wire.push_manifest(target, "v1", manifest(CONFIG, LAYER)).status == 201


def test_a_mount_that_cannot_be(wire: Wire) -> None:
    """From a repository that lacks the blob, or another registry's, a mount is a plain upload session."""
    digest = wire.push_blob("mount/source", LAYER)
    for query in (
        f"mount={digest}&from=mount/nobody",
        f"mount={digest_of(b'nowhere')}",
        f"mount={digest}&from=mount/source&ns={OTHER}",
    ):
        answer = wire.ask("POST", f"/v2/mount/refused/blobs/uploads/?{query}")
        assert (answer.status, "/uploads/" in answer.headers["Location"]) == (202, True)
    assert wire.ask("HEAD", f"/v2/mount/refused/blobs/{digest}").status == 404


def test_a_build_cache_gets_upstream(wire: Wire, daemon: Daemon, upstream: Registry) -> None:
    """An index that lists blobs, as BuildKit's caches do, is replicated with them and not unpacked."""
    wire.push_blob("team/cache", LAYER)
    wire.push_blob("team/cache", CONFIG)
    entries = [
        {"mediaType": OCI.layer_type("gzip"), "digest": digest_of(LAYER), "size": len(LAYER)},
        {"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": digest_of(CONFIG), "size": len(CONFIG)},
    ]
    cache = json.dumps({"schemaVersion": 2, "mediaType": OCI.index, "manifests": entries}).encode()
    assert wire.push_manifest("team/cache", "cache", cache, OCI.index).status == 201
    done = daemon.cli("wait", "team/cache:cache", "--for", "unpacked", "--timeout", "60")
    assert (done.returncode, "skipped" in done.stdout) == (0, True)
    daemon.cli("wait", "team/cache:cache", "--for", "replicated", "--timeout", "60")
    assert upstream.blob("team/cache", digest_of(LAYER)) == LAYER
    assert upstream.blob("team/cache", digest_of(CONFIG)) == CONFIG


def test_an_index_cannot_carry_off_what_others_pushed(wire: Wire, daemon: Daemon, upstream: Registry) -> None:
    """A blob that an index names, but that its repository was never given, is not sent upstream for it."""
    secret = b"for the team only"
    wire.push_blob("team/secret", secret)
    entry = {"mediaType": "x/y", "digest": digest_of(secret), "size": len(secret)}
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI.index, "manifests": [entry]}).encode()
    assert wire.push_manifest("somebody/else", "v1", raw, OCI.index).status == 201
    daemon.cli("wait", "somebody/else:v1", "--for", "replicated", "--timeout", "60")
    assert upstream.blob("somebody/else", digest_of(secret)) is None


def test_a_deleted_image_still_gets_upstream(
    wire: Wire, daemon: Daemon, upstream: Registry, containerd: Containerd
) -> None:
    """A delete is ours alone: the push was acknowledged before, so the upstream gets it all the same."""
    upstream.pause()
    wire.push_blob("team/deleted", CONFIG)
    raw = manifest(CONFIG)
    wire.push_manifest("team/deleted", "v1", raw)
    assert wire.ask("DELETE", f"/v2/team/deleted/manifests/{digest_of(raw)}").status == 202
    containerd.collect_garbage()
    assert wire.ask("GET", "/v2/team/deleted/manifests/v1").status == 404
    assert f"{UPSTREAM}/team/deleted:v1" not in containerd.images()
    upstream.resume()
    daemon.wait("team/deleted:v1", "replicated")
    stored = upstream.manifest("team/deleted", "v1")
    assert stored is not None
    assert stored.raw == raw


def test_several_tags_at_once(wire: Wire, daemon: Daemon, upstream: Registry) -> None:
    """A manifest that is put by digest with tags gets them all, here and upstream."""
    wire.push_blob("team/tags", CONFIG)
    raw = manifest(CONFIG)
    tags = [f"t{n}" for n in range(12)]
    query = "&".join(f"tag={tag}" for tag in tags)
    answer = wire.push_manifest("team/tags", f"{digest_of(raw)}?{query}", raw)
    assert (answer.status, answer.headers["OCI-Tag"]) == (201, ", ".join(tags))
    listed = json.loads(wire.ask("GET", "/v2/team/tags/tags/list").body)
    assert listed == {"name": "team/tags", "tags": sorted(tags)}
    for tag in tags:
        daemon.wait(f"team/tags:{tag}", "replicated")
    assert upstream.tags("team/tags") == set(tags)


def test_what_is_deleted_below_an_index_still_gets_upstream(wire: Wire, daemon: Daemon, upstream: Registry) -> None:
    """An index was acknowledged as a whole: deleting a manifest or a blob that it lists takes nothing from that."""
    upstream.kill()
    wire.push_blob("team/parts", CONFIG)
    image = manifest(CONFIG)
    wire.push_manifest("team/parts", digest_of(image), image)
    cached = b"a cached layer of team/parts"
    wire.push_blob("team/parts", cached)
    entries = [
        {"mediaType": OCI.manifest, "digest": digest_of(image), "size": len(image)},
        {"mediaType": OCI.layer_type("none"), "digest": digest_of(cached), "size": len(cached)},
    ]
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI.index, "manifests": entries}).encode()
    assert wire.push_manifest("team/parts", "v1", raw, OCI.index).status == 201
    assert wire.ask("DELETE", f"/v2/team/parts/manifests/{digest_of(image)}").status == 202
    assert wire.ask("DELETE", f"/v2/team/parts/blobs/{digest_of(cached)}").status == 202
    assert wire.ask("HEAD", f"/v2/team/parts/blobs/{digest_of(cached)}").status == 404
    upstream.start()
    daemon.cli("wait", "team/parts:v1", "--for", "replicated", "--timeout", "60")
    assert upstream.blob("team/parts", digest_of(cached)) == cached
    assert upstream.manifest("team/parts", digest_of(image)) is not None
