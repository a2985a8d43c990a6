"""Pull: manifests and blobs come back as they were pushed, and what is not there is said not to be."""

import random

import pytest

from tests.conformance.repository import OCI, Repository, image, index
from tests.rig.images import MEDIA
from tests.rig.wire import Wire, digest_of

DOCKER = MEDIA["docker"]
EXAMPLE = "application/vnd.example.thing+json"
ABSENT = digest_of(b"never pushed")
BLOB = random.Random(1).randbytes(3_000_000)  # noqa: S311 - the same in each run


@pytest.mark.parametrize("reference", ["v1", "{digest}", "{escaped}"])
def test_a_manifest_is_served(reference: str, repository: Repository) -> None:
    """By tag and by digest, percent-encoded or not, 200 comes with the very bytes, and their digest in the header."""
    raw = image(note="a manifest")
    digest = repository.push(raw, "v1")
    answer = repository.ask("GET", "manifests/" + reference.format(digest=digest, escaped=digest.replace(":", "%3A")))
    assert (answer.status, answer.body, answer.headers.get("Docker-Content-Digest")) == (200, raw, digest)


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        (image(), OCI.manifest),
        (image(mediaType=DOCKER.manifest), DOCKER.manifest),
        (index(), OCI.index),
        (index(mediaType=DOCKER.index), DOCKER.index),
        (b'{"mediaType": "application/vnd.example.thing+json", "kept": true}', EXAMPLE),
        (b'{"schemaVersion": 2, "kept": true}', EXAMPLE),
    ],
)
def test_a_manifest_has_the_type_it_was_pushed_with(raw: bytes, media_type: str, repository: Repository) -> None:
    """Known or unknown, named in the document or in the header only, the type is the pushed one and bare."""
    digest = repository.push(raw, "v1", media_type=media_type)
    for reference in ("v1", digest):
        answer = repository.ask("GET", f"manifests/{reference}")
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, raw, media_type)


@pytest.mark.parametrize("accept", ["text/plain", DOCKER.manifest, "application/json;q=0"])
def test_accept_is_disregarded(accept: str, repository: Repository) -> None:
    """A client that did not list the type gets the manifest all the same, never a refusal or another form of it."""
    repository.push(image(), "v1")
    answer = repository.ask("GET", "manifests/v1", headers={"Accept": accept})
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, image(), OCI.manifest)


@pytest.mark.parametrize("reference", ["v2", ABSENT])
def test_an_unknown_manifest(reference: str, repository: Repository) -> None:
    """A tag or digest that the repository does not hold is 404."""
    repository.push(image(), "v1")
    answer = repository.ask("GET", f"manifests/{reference}")
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("-v1", "MANIFEST_INVALID"),
        (".v1", "MANIFEST_INVALID"),
        ("v1+build", "MANIFEST_INVALID"),
        ("v%201", "MANIFEST_INVALID"),
        ("v%C3%A9", "MANIFEST_INVALID"),
        ("t" * 129, "MANIFEST_INVALID"),
        ("sha256:short", "DIGEST_INVALID"),
        ("sha256:" + "A" * 64, "DIGEST_INVALID"),
        (":" + "0" * 64, "DIGEST_INVALID"),
        ("sha512:" + "0" * 128, "DIGEST_INVALID"),
    ],
)
def test_neither_tag_nor_digest(method: str, reference: str, code: str, repository: Repository) -> None:
    """What is neither a tag by the grammar nor a digest that we know is refused, for reading as for writing."""
    repository.push(image(), "v1")
    answer = repository.ask(method, f"manifests/{reference}", image(), {"Content-Type": OCI.manifest})
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("tag", ["v1", "_", "0", "A.b-C_d", "-".join(["v"] * 4), "t" * 128])
def test_a_tag_in_the_grammar(tag: str, repository: Repository) -> None:
    """Every character of the grammar in its place, and 128 of them, make a tag that can be pushed and pulled."""
    repository.push(image(), tag)
    assert repository.ask("GET", f"manifests/{tag}").body == image()


@pytest.mark.parametrize(
    ("fits", "name"),
    [
        *((True, name) for name in ("a", "0", "a/b/c/d", "a.b", "a_b", "a__b", "a-b", "a---b", "0.a_b__c-d/e")),
        *((False, name) for name in ("A", "a/B", "-a", "a-", "a..b", "a___b", "a._b", "a:b", "a%20b", "%C3%A9")),
        *((False, name) for name in ("a/", "/a", "a//b", "a/%2e%2e/b")),
    ],
)
def test_a_name(fits: bool, name: str, wire: Wire) -> None:  # noqa: FBT001 - one column of a table
    """A name by the grammar can be pushed to, another one is refused before anything else is looked at."""
    requests = (("POST", "blobs/uploads/"), ("GET", "manifests/v1"), ("GET", "tags/list"))
    answers = [wire.ask(method, f"/v2/{name}/{below}") for method, below in requests]
    assert [answer.status for answer in answers] == ([202, 404, 404] if fits else [400, 400, 400])
    assert fits is not any(answer.code == "NAME_INVALID" for answer in answers)


@pytest.mark.parametrize("size", [0, 1, len(BLOB)])
def test_a_blob_is_served(size: int, repository: Repository) -> None:
    """200 comes with the bytes that were pushed, and the digest in the header is theirs."""
    digest = repository.push_blob(BLOB[:size])
    answer = repository.ask("GET", f"blobs/{digest}")
    assert (answer.status, answer.body) == (200, BLOB[:size])
    assert answer.headers["Docker-Content-Digest"] == digest == digest_of(answer.body)


def test_an_unknown_blob(repository: Repository) -> None:
    """What nobody pushed is 404, and so is what only another repository holds."""
    repository.push_blob(b"here")
    elsewhere = repository.sibling.push_blob(b"only in the other repository")
    for digest in (ABSENT, elsewhere):
        answer = repository.ask("GET", f"blobs/{digest}")
        assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("path", ["manifests/v1", f"manifests/{ABSENT}", f"blobs/{ABSENT}"])
def test_an_unknown_repository(path: str, repository: Repository) -> None:
    """Nothing can be pulled from a repository that nobody pushed to: 404."""
    answer = repository.ask("GET", path)
    assert answer.status == 404
    assert answer.code in {"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"}


@pytest.mark.parametrize("path", ["manifests/v1", "manifests/{manifest}", "blobs/{blob}"])
def test_head_of_what_is_there(path: str, repository: Repository) -> None:
    """200 with the digest and the size in bytes."""
    blob, manifest = repository.push_blob(b"a blob"), repository.push(image(), "v1")
    answer = repository.ask("HEAD", path.format(blob=blob, manifest=manifest))
    digest, size = (blob, 6) if path.startswith("blobs") else (manifest, len(image()))
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, digest)
    assert answer.headers["Content-Length"] == str(size)


@pytest.mark.parametrize("path", ["manifests/v2", f"manifests/{ABSENT}", f"blobs/{ABSENT}"])
def test_head_of_what_is_not_there(path: str, repository: Repository) -> None:
    """404, by tag, by digest and for blobs."""
    repository.push(image(), "v1")
    assert repository.ask("HEAD", path).status == 404
