"""What a manifest must be like to be taken: the one table of refusals."""

import json

import pytest

from mirror.core.requirements import Requirements
from mirror.oci.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest, parse_manifest
from mirror.oci.names import digest_of

CONFIG, GZIP, ZSTD = (
    f"application/vnd.oci.image.{kind}" for kind in ("config.v1+json", "layer.tar+gzip", "layer.zstd")
)
ANYTHING = Requirements()


def descriptor(name: str, media_type: str, size: int) -> dict[str, object]:
    """Something of some size."""
    return {"digest": digest_of(name.encode()), "mediaType": media_type, "size": size}


CONFIG_BLOB, SMALL, LARGE = descriptor("c", CONFIG, 10), descriptor("s", GZIP, 100), descriptor("l", ZSTD, 1000)


def image(*layers: dict[str, object], media_type: str = OCI_MANIFEST, **more: object) -> Manifest:
    """An image with some layers."""
    document = {"schemaVersion": 2, "mediaType": media_type, "config": CONFIG_BLOB, "layers": layers, **more}
    return parse_manifest(json.dumps(document).encode())


def index(*entries: dict[str, object]) -> Manifest:
    """An index of something."""
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return parse_manifest(json.dumps(document).encode())


SIGNED, REVIEWED = {"org.example.signed": ""}, {"org.example.reviewed": "yes"}
LISTED = index(descriptor("m", OCI_MANIFEST, 10**9))
CACHE = index(SMALL, LARGE)


@pytest.mark.parametrize(
    ("requirements", "manifest", "words"),
    [
        pytest.param(ANYTHING, image(SMALL, LARGE), None, id="nothing is required"),
        pytest.param(ANYTHING, image(media_type="application/x"), None, id="nor of what is unknown"),
        pytest.param(Requirements(media_types=frozenset({OCI_MANIFEST})), image(), None, id="its type is listed"),
        pytest.param(
            Requirements(media_types=frozenset({OCI_MANIFEST})),
            image(media_type=DOCKER_MANIFEST),
            f"manifests of type '{DOCKER_MANIFEST}' are not taken",
            id="its type is not listed",
        ),
        pytest.param(
            Requirements(media_types=frozenset({OCI_MANIFEST})), LISTED, "index", id="nor that of an index is"
        ),
        pytest.param(
            Requirements(blob_media_types=frozenset({CONFIG, GZIP})), image(SMALL), None, id="types of blobs are listed"
        ),
        pytest.param(
            Requirements(blob_media_types=frozenset({CONFIG, GZIP})),
            image(SMALL, LARGE),
            f"{LARGE['digest']} is of type '{ZSTD}', which is not taken",
            id="that of a layer is not",
        ),
        pytest.param(
            Requirements(blob_media_types=frozenset({GZIP, ZSTD})), image(SMALL), "config", id="that of a config is not"
        ),
        pytest.param(
            Requirements(blob_media_types=frozenset({CONFIG})), LISTED, None, id="manifests in an index are no blobs"
        ),
        pytest.param(
            Requirements(blob_media_types=frozenset({GZIP})), CACHE, ZSTD, id="what a cache lists in an index is"
        ),
        pytest.param(Requirements(layers=2), image(SMALL, LARGE), None, id="as many layers as there may be"),
        pytest.param(
            Requirements(layers=2),
            image(SMALL, SMALL, SMALL),
            "3 layers are more than 2",
            id="one too many, if the same",
        ),
        pytest.param(Requirements(layers=1), CACHE, "2 layers", id="too many of a cache"),
        pytest.param(Requirements(layer_bytes=1000), image(LARGE), None, id="as large as a layer may be"),
        pytest.param(
            Requirements(layer_bytes=999),
            image(SMALL, LARGE),
            f"{LARGE['digest']} has 1000 bytes, more than 999",
            id="a layer that is too large",
        ),
        pytest.param(Requirements(layer_bytes=9), image(), None, id="a config is no layer"),
        pytest.param(Requirements(image_bytes=1110), image(SMALL, LARGE), None, id="as large as an image may be"),
        pytest.param(Requirements(image_bytes=1110), image(SMALL, LARGE, LARGE), None, id="each blob counts once"),
        pytest.param(
            Requirements(image_bytes=1109),
            image(SMALL, LARGE),
            "1110 bytes altogether are more than 1109",
            id="an image that is too large",
        ),
        pytest.param(Requirements(image_bytes=1), LISTED, None, id="an index has only what it lists as blobs"),
        pytest.param(Requirements(image_bytes=1099), CACHE, "1100 bytes", id="which may be too much"),
        pytest.param(
            Requirements(annotations=SIGNED),
            image(),
            "the annotation 'org.example.signed' is missing",
            id="no annotation",
        ),
        pytest.param(
            Requirements(annotations=SIGNED),
            image(annotations={"org.example.signed": "x"}),
            None,
            id="any value will do",
        ),
        pytest.param(
            Requirements(annotations=REVIEWED),
            image(annotations={"org.example.reviewed": "no"}),
            "the annotation 'org.example.reviewed' is not 'yes'",
            id="another value",
        ),
        pytest.param(
            Requirements(annotations=REVIEWED), image(annotations=REVIEWED), None, id="the value that is wanted"
        ),
        pytest.param(
            Requirements(annotations=SIGNED | REVIEWED),
            image(annotations=REVIEWED),
            "'org.example.signed' is missing",
            id="all of them",
        ),
        pytest.param(Requirements(annotations=SIGNED), LISTED, "is missing", id="of an index too"),
    ],
)
def test_what_is_refused(requirements: Requirements, manifest: Manifest, words: str | None) -> None:
    """The reason says what it is, and what is allowed."""
    reason = requirements.refusal(manifest)
    assert (reason is None) == (words is None), reason
    assert words is None or words in str(reason)
