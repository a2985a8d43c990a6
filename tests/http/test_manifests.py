"""Pushing and reading manifests, and what a bad one gets."""

import json
from collections.abc import Callable

import pytest

from tests.conftest import UPSTREAM
from tests.http.conftest import OTHER, Held
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import MEDIA
from tests.rig.wire import Wire, digest_of, manifest

REPOSITORY = "team/app"
CONFIG, LAYER = b'{"a": "config"}', b"a layer"
OCI = MEDIA["oci"]


@pytest.fixture
def blobs(wire: Wire) -> None:
    """The config and the layer, pushed."""
    wire.push_blob(REPOSITORY, CONFIG)
    wire.push_blob(REPOSITORY, LAYER)


@pytest.mark.usefixtures("blobs")
def test_a_manifest_is_kept_byte_for_byte(wire: Wire, containerd: Containerd) -> None:
    """Odd spacing, unknown fields and duplicate layers come back as they went in, by tag and by digest."""
    document = json.loads(manifest(CONFIG, LAYER, LAYER)) | {"x-unknown": {"kept": True}}
    raw = json.dumps(document, indent=7).encode() + b"\n\n"
    answer = wire.push_manifest(REPOSITORY, "odd", raw)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest_of(raw))
    for reference in ("odd", digest_of(raw)):
        got = wire.ask("GET", f"/v2/{REPOSITORY}/manifests/{reference}", headers={"Accept": "text/plain"})
        assert (got.status, got.body, got.headers["Content-Type"]) == (200, raw, OCI.manifest)
        head = wire.ask("HEAD", f"/v2/{REPOSITORY}/manifests/{reference}")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(raw)))
    assert containerd.content(digest_of(raw)) == raw


@pytest.mark.usefixtures("blobs")
def test_a_tag_moves(wire: Wire, containerd: Containerd) -> None:
    """Pushing a tag again moves its image record; the first image is still there by its digest."""
    first, second = manifest(CONFIG, LAYER), manifest(CONFIG, LAYER, LAYER)
    name = f"{UPSTREAM}/{REPOSITORY}:moving"
    for raw in (first, second, first, second):
        assert wire.push_manifest(REPOSITORY, "moving", raw).status == 201
        assert containerd.images()[name] == digest_of(raw)
        assert wire.ask("GET", f"/v2/{REPOSITORY}/manifests/moving").body == raw


@pytest.mark.usefixtures("blobs")
def test_by_digest(wire: Wire, containerd: Containerd) -> None:
    """A manifest put by its digest gets an image record of that name; under another digest it is refused."""
    raw = manifest(CONFIG, LAYER)
    assert wire.push_manifest(REPOSITORY, digest_of(raw), raw).status == 201
    assert containerd.images()[f"{UPSTREAM}/{REPOSITORY}@{digest_of(raw)}"] == digest_of(raw)
    answer = wire.push_manifest(REPOSITORY, digest_of(b"another"), raw)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@pytest.mark.usefixtures("blobs")
def test_an_image_survives_garbage_collection(wire: Wire, held: Callable[[], Held]) -> None:
    """Once acknowledged, the image record holds manifest, config and layers; the upload leases are gone."""
    raw = manifest(CONFIG, LAYER)
    wire.push_manifest(REPOSITORY, "kept", raw)
    after = held()
    assert {digest_of(raw), digest_of(CONFIG), digest_of(LAYER)} <= after.contents
    assert not [lease for lease in after.leases if lease.startswith("registry-mirror/upload/")]


def test_a_sparse_index(wire: Wire) -> None:
    """An index is taken with only some of its platforms here."""
    wire.push_blob(REPOSITORY, CONFIG)
    image = manifest(CONFIG)
    wire.push_manifest(REPOSITORY, digest_of(image), image)
    here = {"mediaType": OCI.manifest, "digest": digest_of(image), "size": len(image)}
    absent = here | {"digest": digest_of(b"elsewhere")}
    index = json.dumps({"schemaVersion": 2, "manifests": [here, absent]}).encode()
    assert wire.push_manifest(REPOSITORY, "sparse", index, OCI.index).status == 201


def _without(field: str) -> bytes:
    document = json.loads(manifest(CONFIG, LAYER))
    del document[field]
    return json.dumps(document).encode()


def _with(**fields: object) -> bytes:
    return json.dumps(json.loads(manifest(CONFIG, LAYER)) | fields).encode()


_WRONG_SIZE = [{"mediaType": "x/y", "digest": digest_of(LAYER), "size": len(LAYER) + 1}]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", (400, "MANIFEST_INVALID")),
        (b"no JSON", (400, "MANIFEST_INVALID")),
        (b"\xff\xfe{}", (400, "MANIFEST_INVALID")),
        (b"[]", (400, "MANIFEST_INVALID")),
        (_without("config"), (400, "MANIFEST_INVALID")),
        (_without("schemaVersion"), (400, "MANIFEST_INVALID")),
        (_with(schemaVersion=1), (400, "MANIFEST_INVALID")),
        (_with(manifests=[]), (400, "MANIFEST_INVALID")),
        (_with(mediaType=MEDIA["docker"].manifest), (400, "MANIFEST_INVALID")),
        (_with(layers=[{"mediaType": "x/y", "digest": "sha256:short", "size": 1}]), (400, "MANIFEST_INVALID")),
        (_with(layers=_WRONG_SIZE), (400, "MANIFEST_INVALID")),
        (manifest(CONFIG, LAYER, b"never pushed"), (404, "MANIFEST_BLOB_UNKNOWN")),
        (manifest(b"never pushed", LAYER), (404, "MANIFEST_BLOB_UNKNOWN")),
        (_with(padding="x" * 4 * 1024 * 1024), (413, "SIZE_INVALID")),
    ],
)
@pytest.mark.usefixtures("blobs")
def test_a_bad_manifest_leaves_nothing_behind(
    raw: bytes, expected: tuple[int, str], wire: Wire, held: Callable[[], Held], containerd: Containerd
) -> None:
    """It gets its code; no content, lease or image record stays."""
    before, images = held(), containerd.images()
    answer = wire.push_manifest(REPOSITORY, "bad", raw)
    assert (answer.status, answer.code) == expected
    assert held() <= before  # less, when the job of an earlier push has come to its end meanwhile
    assert containerd.images() == images


def test_a_manifest_cannot_claim_what_others_pushed(wire: Wire) -> None:
    """A blob of another repository is as unknown as one that nobody has."""
    wire.push_blob("team/secret", b"secret layer")
    wire.push_blob("somebody/else", CONFIG)
    answer = wire.push_manifest("somebody/else", "v1", manifest(CONFIG, b"secret layer"))
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_a_manifest_of_another_repository_is_unknown(wire: Wire) -> None:
    """Neither by digest nor by an image record that somebody else made is a manifest shown to a repository."""
    wire.push_blob("team/secret", CONFIG)
    raw = manifest(CONFIG)
    wire.push_manifest("team/secret", "v1", raw)
    answer = wire.ask("GET", f"/v2/somebody/else/manifests/{digest_of(raw)}")
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


def test_what_the_operator_removes_is_gone(wire: Wire, containerd: Containerd, daemon: Daemon) -> None:
    """Containerd's image records are the tags: one that `ctr` removes is not served any longer."""
    wire.push_blob("team/removed", CONFIG)
    wire.push_manifest("team/removed", "v1", manifest(CONFIG))
    daemon.wait("team/removed:v1", "replicated")
    containerd.ctr("images", "rm", "--sync", f"{UPSTREAM}/team/removed:v1")
    assert wire.ask("GET", "/v2/team/removed/manifests/v1").code == "MANIFEST_UNKNOWN"


def test_the_registry_that_is_meant(wire: Wire, containerd: Containerd) -> None:
    """`ns=` wins, then a Host that is configured, then the default; each has repositories of its own."""
    raw = manifest(CONFIG)
    choices = [("?ns=" + OTHER, {}, OTHER), ("", {"Host": OTHER}, OTHER), ("", {}, UPSTREAM)]
    for number, (query, headers, registry) in enumerate(choices):
        location = wire.ask("POST", f"/v2/team/ns/blobs/uploads/{query}", headers=headers).headers["Location"]
        joint = "&" if "?" in location else "?"
        assert wire.ask("PUT", f"{location}{joint}digest={digest_of(CONFIG)}", CONFIG, headers).status == 201
        path = f"/v2/team/ns/manifests/tag{number}{query}"
        assert wire.ask("PUT", path, raw, {"Content-Type": OCI.manifest, **headers}).status == 201
        assert containerd.images()[f"{registry}/team/ns:tag{number}"] == digest_of(raw)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_an_unknown_registry(method: str, wire: Wire) -> None:
    """A registry that is not configured does not exist."""
    answer = wire.ask(method, "/v2/team/app/manifests/v1?ns=elsewhere.example.org", b"{}")
    assert answer.status == 404
    assert answer.code == ("" if method == "HEAD" else "NAME_UNKNOWN")
