"""Push, manifests: kept to the byte, checked against what they name, tagged, limited in size, listed as referrers."""

import json

import pytest

from tests.conformance.repository import (
    CONFIG,
    MAX_MANIFEST,
    OCI,
    Repository,
    descriptor,
    image,
    index,
    padded,
)
from tests.rig.images import MEDIA
from tests.rig.wire import digest_of, manifest

ABSENT = digest_of(b"never pushed")


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_manifest_is_kept_to_the_byte(by: str, repository: Repository) -> None:
    """201 leads to the very bytes, odd spacing, order and unknown fields included; the digest is theirs."""
    raw = json.dumps(json.loads(image()) | {"z": {"kept": [1.0, "\u00e9"]}, "a": None}, indent=3).encode() + b"\n \n"
    repository.push_blob(CONFIG)
    answer = repository.put("v1" if by == "tag" else digest_of(raw), raw)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest_of(raw))
    pulled = repository.wire.ask("GET", answer.headers["Location"])
    assert (pulled.status, pulled.body) == (200, raw)


def test_a_manifest_under_the_digest_of_another(repository: Repository) -> None:
    """A manifest is never stored under a digest that it does not have."""
    repository.push_blob(CONFIG)
    answer = repository.put(ABSENT, image())
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(("config", "layers"), [(CONFIG, [b"nobody's layer"]), (b"nobody's config", [])])
def test_a_manifest_with_missing_blobs(config: bytes, layers: list[bytes], repository: Repository) -> None:
    """An image whose config or layer is not in the repository is refused, and the answer says which one is missing."""
    repository.push_blob(CONFIG)
    answer = repository.put("v1", manifest(config, *layers))
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert digest_of([config, *layers][-1]) in str(answer.error["detail"])
    assert repository.ask("GET", "manifests/v1").status == 404


def test_an_index_may_be_sparse(repository: Repository) -> None:
    """An index is taken with only some of its images here: builders push one platform at a time."""
    repository.push(image())
    absent = descriptor(image(note="pushed elsewhere"))
    repository.push(index(manifests=[descriptor(image()), absent]), "v1", media_type=OCI.index)


def test_an_image_without_layers(repository: Repository) -> None:
    """The list of layers may be empty."""
    assert json.loads(image())["layers"] == []
    repository.push(image(), "v1")


@pytest.mark.parametrize("parameters", ["; charset=utf-8", ";charset=UTF-8; version=1"])
def test_parameters_of_the_content_type(parameters: str, repository: Repository) -> None:
    """They are ignored when a manifest is pushed, and not served again."""
    repository.push(image(), "v1", media_type=OCI.manifest + parameters)
    assert repository.ask("GET", "manifests/v1").headers["Content-Type"] == OCI.manifest


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (image(), OCI.index),
        (image(), "application/vnd.example.thing+json"),
        (image(mediaType=MEDIA["docker"].manifest), OCI.manifest),
        (b'{"mediaType": "application/vnd.example.thing+json"}', OCI.manifest),
    ],
)
def test_two_types_for_one_manifest(raw: bytes, content_type: str, repository: Repository) -> None:
    """A manifest that the header calls one thing and itself another is refused: readers would differ over it."""
    repository.push_blob(CONFIG)
    answer = repository.put("v1", raw, content_type)
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_a_manifest_that_does_not_say_its_type(repository: Repository) -> None:
    """Without a `mediaType` of its own a manifest has the type of the header."""
    document = json.loads(image())
    del document["mediaType"]
    repository.push(json.dumps(document).encode(), "v1")
    assert repository.ask("GET", "manifests/v1").headers["Content-Type"] == OCI.manifest


@pytest.mark.parametrize("count", [1, 10, 100])
def test_tags_beside_a_digest(count: int, repository: Repository) -> None:
    """A push by digest makes every tag of the query, and names each of them in `OCI-Tag`."""
    tags = [f"v{number}" for number in range(count)]
    repository.push_blob(CONFIG)
    answer = repository.put(digest_of(image()) + "?" + "&".join(f"tag={tag}" for tag in tags), image())
    assert answer.status == 201
    assert [tag.strip() for tag in answer.headers["OCI-Tag"].split(",")] == tags
    for tag in (tags[0], tags[-1]):
        assert repository.ask("GET", f"manifests/{tag}").body == image()


def test_too_many_tags(repository: Repository) -> None:
    """More than a hundred tags at once are 414, and none of them is made."""
    repository.push_blob(CONFIG)
    answer = repository.put(digest_of(image()) + "?" + "&".join(f"tag=v{number}" for number in range(101)), image())
    assert answer.status == 414
    assert repository.ask("GET", "manifests/v0").status == 404


@pytest.mark.parametrize("size", [4_000_000, MAX_MANIFEST])
def test_a_large_manifest(size: int, repository: Repository) -> None:
    """Four megabytes are taken, in either reading of the word."""
    raw = padded(size)
    assert len(raw) == size
    digest = repository.push(raw, "v1")
    assert repository.ask("HEAD", f"manifests/{digest}").headers["Content-Length"] == str(size)


def test_a_manifest_that_is_too_large(repository: Repository) -> None:
    """One byte more is 413."""
    repository.push_blob(CONFIG)
    answer = repository.put("v1", padded(MAX_MANIFEST + 1))
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")


@pytest.mark.parametrize("media_type", [OCI.manifest, OCI.index])
@pytest.mark.parametrize("order", ["before its subject", "after its subject"])
def test_a_manifest_with_a_subject(media_type: str, order: str, repository: Repository) -> None:
    """An image or index with a subject is taken, there or not yet, and the answer says that the subject was seen."""
    subject = image(note="the subject")
    if order == "after its subject":
        repository.push(subject)
    repository.push_blob(CONFIG)
    make = image if media_type == OCI.manifest else index
    answer = repository.put("v1", make(subject=descriptor(subject)), media_type)
    assert (answer.status, answer.headers.get("OCI-Subject")) == (201, digest_of(subject))
    repository.push(subject)


def test_no_subject_no_header(repository: Repository) -> None:
    """Without a subject nothing is said about one."""
    repository.push_blob(CONFIG)
    assert "OCI-Subject" not in repository.put("v1", image()).headers
