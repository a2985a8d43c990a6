"""Manifests and image configs: what is read out of them, and what is refused."""

import hashlib
import json
from typing import Any

import pytest

from mirror.oci.errors import RegistryError
from mirror.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    Platform,
    chain_ids,
    parse_config,
    parse_manifest,
)
from mirror.oci.names import Digest, digest_of

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
FOREIGN = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
]

Json = dict[str, Any]


def child(name: str, media_type: str = OCI_LAYER, **more: object) -> Json:
    """A descriptor of content that is nothing but its name."""
    return {"mediaType": media_type, "digest": digest_of(name.encode()), "size": len(name), **more}


def image(**changes: object) -> Json:
    """An OCI image of two layers."""
    layers = [child("layer 0"), child("layer 1")]
    whole = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": child("config", OCI_CONFIG), "layers": layers}
    return {key: value for key, value in (whole | changes).items() if value is not None}


def index(**changes: object) -> Json:
    """An OCI index of an image for each of two machines."""
    manifests = [
        child("amd64", OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
        child("arm64", OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64", "variant": "v8"}),
    ]
    whole = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    return {key: value for key, value in (whole | changes).items() if value is not None}


def parse(document: Json, content_type: str = "") -> Manifest:
    """Read a document as if it had been pushed."""
    return parse_manifest(json.dumps(document).encode(), content_type)


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_an_image(media_type: str) -> None:
    """Config and layers are found, each at its place."""
    manifest = parse(image(mediaType=media_type), media_type)
    assert manifest.media_type == media_type
    assert manifest.manifests == ()
    assert {place: edge.digest for place, edge in manifest.edges().items()} == {
        "config": digest_of(b"config"),
        "l.0": digest_of(b"layer 0"),
        "l.1": digest_of(b"layer 1"),
    }
    assert [blob.size for blob in manifest.blobs] == [len("config"), len("layer 0"), len("layer 1")]


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index(media_type: str) -> None:
    """The manifests of an index are found with their platforms; blobs it has none, and running it is not possible."""
    manifest = parse(index(mediaType=media_type), media_type)
    assert manifest.media_type == media_type
    assert (manifest.config, manifest.layers, manifest.blobs) == (None, (), ())
    assert not manifest.is_runnable
    assert {place: edge.platform for place, edge in manifest.edges().items()} == {
        "m.0": Platform("linux", "amd64"),
        "m.1": Platform("linux", "arm64", "v8"),
    }


def test_bytes_are_kept_as_they_came() -> None:
    """Odd spacing and unknown fields survive: the digest is that of the very bytes pushed."""
    raw = b"\n " + json.dumps(image(annotations={"a": "ü"}), indent=3, ensure_ascii=False).encode() + b"\n\n"
    manifest = parse_manifest(raw, OCI_MANIFEST)
    assert manifest.raw == raw
    assert manifest.digest == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert manifest.descriptor == Descriptor(digest=manifest.digest, size=len(raw), media_type=OCI_MANIFEST)


@pytest.mark.parametrize(
    ("document", "content_type", "media_type"),
    [
        (image(mediaType=None), "", OCI_MANIFEST),
        (index(mediaType=None), "", OCI_INDEX),
        (image(mediaType=None), DOCKER_MANIFEST, DOCKER_MANIFEST),
        (index(mediaType=None), DOCKER_LIST, DOCKER_LIST),
        (image(), "", OCI_MANIFEST),
        (image(), f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
    ],
)
def test_what_settles_the_media_type(document: Json, content_type: str, media_type: str) -> None:
    """The document's own word, else the Content-Type without its parameters, else what its content looks like."""
    assert parse(document, content_type).media_type == media_type


def test_blobs_come_once() -> None:
    """A layer that appears twice is one blob, but has two places."""
    manifest = parse(image(layers=[child("same"), child("other"), child("same")]))
    assert [blob.digest for blob in manifest.blobs] == [digest_of(b"config"), digest_of(b"same"), digest_of(b"other")]
    assert set(manifest.edges()) == {"config", "l.0", "l.1", "l.2"}


@pytest.mark.parametrize("media_type", [*FOREIGN, OCI_LAYER, ""])
def test_foreign_layers(media_type: str) -> None:
    """Only layers that their owner wants fetched from elsewhere are foreign."""
    layer = parse(image(layers=[child("layer", media_type)])).layers[0]
    assert layer.is_foreign == (media_type in FOREIGN)


@pytest.mark.parametrize(
    ("config", "runnable"),
    [
        (OCI_CONFIG, True),
        (DOCKER_CONFIG, True),
        ("application/vnd.oci.empty.v1+json", False),
        ("application/vnd.buildkit.cacheconfig.v0", False),
        ("application/vnd.cncf.helm.config.v1+json", False),
    ],
)
def test_what_can_be_run(config: str, *, runnable: bool) -> None:
    """Caches, charts and artifacts are pushed as images are, but are none."""
    assert parse(image(config=child("config", config))).is_runnable is runnable


def test_null_is_an_empty_list() -> None:
    """Go writes a list without entries as null, and means no more by it."""
    none = b"null"
    assert parse_manifest(json.dumps(image(layers="?")).encode().replace(b'"?"', none)).layers == ()
    assert parse_manifest(json.dumps(index(manifests="?")).encode().replace(b'"?"', none)).manifests == ()
    assert parse_manifest(json.dumps(image(artifactType="?")).encode().replace(b'"?"', none)).artifact_type == ""


def test_no_layers_are_fine() -> None:
    """An image with an empty list of layers is valid, and so is an index of nothing."""
    assert parse(image(layers=[])).layers == ()
    assert parse(index(manifests=[])).manifests == ()


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ({"schemaVersion": 2, "blobs": [child("b")]}, {"l.0"}),
        ({"config": child("c"), "manifests": None}, {"config"}),
        ({"layers": "a word of its own", "blobs": 7}, set()),
        ({}, set()),
    ],
)
def test_an_unknown_kind_is_never_refused(document: Json, places: set[str]) -> None:
    """What we understand of it is followed; where it uses our words for other things, nothing is."""
    manifest = parse(document, "application/vnd.example.thing+json")
    assert manifest.media_type == "application/vnd.example.thing+json"
    assert set(manifest.edges()) == places
    assert not manifest.is_runnable


def test_an_entry_among_the_referrers() -> None:
    """It has the manifest's annotations and artifact type; an image without one has the type of its config."""
    subject = child("subject")
    plain = parse(image(subject=subject, annotations={"a": "b"}))
    assert plain.subject is not None
    assert plain.subject.digest == digest_of(b"subject")
    assert "subject" not in plain.edges()
    assert (plain.referrer.artifact_type, plain.referrer.annotations) == (OCI_CONFIG, {"a": "b"})
    assert parse(image(artifactType="x/y")).referrer.artifact_type == "x/y"
    assert parse(index(subject=subject)).referrer.artifact_type == ""


INVALID: dict[str, Json] = {
    "schema 1 of an unknown kind": {"schemaVersion": 1, "mediaType": "x/y"},
    "subject without a digest": image(subject={"size": 1}),
    "schema 1": {"schemaVersion": 1, "mediaType": DOCKER_SCHEMA_1, "fsLayers": [], "history": []},
    "schema 3": image(schemaVersion=3),
    "no schema version": image(schemaVersion=None),
    "schema version in quotes": image(schemaVersion="2"),
    "image and index at once": image() | {"manifests": []},
    "neither": {"schemaVersion": 2},
    "config only": image(layers=None),
    "layers only": image(config=None),
    "index that calls itself an image": index(mediaType=OCI_MANIFEST),
    "image that calls itself an index": image(mediaType=OCI_INDEX),
    "layers are no list": image(layers={}),
    "child without size": image(config={"mediaType": OCI_CONFIG, "digest": digest_of(b"")}),
    "child without digest": image(config={"mediaType": OCI_CONFIG, "size": 1}),
    "sha512 config": image(config=child("c", digest="sha512:" + "0" * 128)),
    "short layer digest": image(layers=[child("l", digest="sha256:00")]),
    "upper-case digest in an index": index(manifests=[child("m", digest=digest_of(b"m").upper())]),
    "digest with a traversal": image(layers=[child("l", digest="sha256:../../" + "0" * 58)]),
    "negative size": image(layers=[child("l", size=-1)]),
    "fractional size": image(layers=[child("l", size=1.5)]),
    "size as text": image(layers=[child("l", size="1")]),
    "size beyond 64 bits": image(layers=[child("l", size=2**63)]),
}


@pytest.mark.parametrize("document", INVALID.values(), ids=INVALID)
def test_an_invalid_manifest_is_refused(document: Json) -> None:
    """Whatever it breaks, the answer is MANIFEST_INVALID."""
    with pytest.raises(RegistryError, match="MANIFEST_INVALID"):
        parse(document)


MALFORMED = {
    "empty": b"",
    "no JSON": b"<xml/>",
    "cut short": json.dumps(image()).encode()[:-1],
    "no object": b"[]",
    "null": b"null",
    "invalid UTF-8": json.dumps(image()).encode().replace(b"gzip", b"gz\xffp"),
    "invalid UTF-8 where nobody looks": json.dumps(image(x="y")).encode().replace(b'"y"', b'"\xff"'),
    "byte-order mark": b"\xef\xbb\xbf" + json.dumps(image()).encode(),
    "two documents": json.dumps(image()).encode() * 2,
    "nested without end": b'{"schemaVersion":2,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    """Bytes that are no JSON object are MANIFEST_INVALID, however they fail to be one."""
    with pytest.raises(RegistryError, match="MANIFEST_INVALID"):
        parse_manifest(raw, OCI_MANIFEST)


@pytest.mark.parametrize(
    ("document", "content_type"),
    [(image(), DOCKER_MANIFEST), (image(), OCI_INDEX), (index(), OCI_MANIFEST), (image(), "application/json")],
)
def test_two_media_types_are_one_too_many(document: Json, content_type: str) -> None:
    """A Content-Type that contradicts the document is refused: two readers could see two things (CVE-2021-41190)."""
    with pytest.raises(RegistryError, match="MANIFEST_INVALID"):
        parse(document, content_type)


def test_the_largest_manifest() -> None:
    """4 MiB are taken, one byte more is refused by its size."""
    raw = json.dumps(image()).encode().ljust(MAX_MANIFEST)
    assert len(parse_manifest(raw).raw) == MAX_MANIFEST
    with pytest.raises(RegistryError, match="SIZE_INVALID"):
        parse_manifest(raw + b" ")


def test_an_image_config() -> None:
    """Platform and diff IDs are read, everything else is let be."""
    diff_ids = ["sha256:" + "a" * 64, "sha256:" + "b" * 64]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    raw = {"os": "linux", "architecture": "arm64", "variant": "v8", "rootfs": rootfs, "config": {"Cmd": ["sh"]}}
    config = parse_config(json.dumps(raw).encode())
    assert config.platform == Platform("linux", "arm64", "v8")
    assert config.rootfs.diff_ids == diff_ids


def test_an_empty_image_config() -> None:
    """A config that says nothing is for no machine and of no layers."""
    config = parse_config(b"{}")
    assert (config.platform, config.rootfs.diff_ids) == (Platform(), [])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"os": "\xff"}',
        b'{"rootfs": {"type": "blocks"}}',
        b'{"rootfs": {"diff_ids": [1]}}',
        b'{"x":' + b"[" * 100_000,
    ],
    ids=["empty", "no object", "no UTF-8", "no UTF-8 inside", "no layers", "diff ID as number", "nested without end"],
)
def test_an_invalid_image_config_is_refused(raw: bytes) -> None:
    """A config that cannot be read is the image's fault, not ours."""
    with pytest.raises(RegistryError, match="MANIFEST_INVALID"):
        parse_config(raw)


def test_chain_ids() -> None:
    """Each is the digest of "<chain ID below> <diff ID>"; the lowest is the diff ID itself (image-spec)."""
    first, second, third = ("sha256:" + letter * 64 for letter in "abc")
    upon_first = "sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    upon_second = "sha256:" + hashlib.sha256(f"{upon_first} {third}".encode()).hexdigest()
    assert chain_ids([first, second, third]) == [first, upon_first, upon_second]
    assert chain_ids([first]) == [first]
    assert chain_ids([]) == []


def test_a_digest_keeps_its_type_through_json() -> None:
    """A decoded descriptor equals the one made by hand, so that digests can be compared and used as keys."""
    assert parse(image()).config == Descriptor(
        digest=Digest("sha256:" + hashlib.sha256(b"config").hexdigest()), size=6, media_type=OCI_CONFIG
    )
