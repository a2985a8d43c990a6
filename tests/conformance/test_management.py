"""Content management: tags, manifests and blobs are deleted, and with them what pointed to them."""

import json

import pytest

from tests.conformance.repository import OCI, Repository, descriptor, image
from tests.rig.wire import digest_of

ABSENT = digest_of(b"never pushed")


def _status(repository: Repository, below: str) -> int:
    return repository.ask("GET", below).status


def test_a_tag_is_deleted(repository: Repository) -> None:
    """202, and the tag is gone: from pulls and from the list. The digest and the other tags stay."""
    digest = repository.push(image(), "v1", "v2")
    assert repository.ask("DELETE", "manifests/v1").status == 202
    assert _status(repository, "manifests/v1") == 404
    assert (_status(repository, "manifests/v2"), _status(repository, f"manifests/{digest}")) == (200, 200)
    assert json.loads(repository.ask("GET", "tags/list").body)["tags"] == ["v2"]


def test_the_last_tag_is_deleted(repository: Repository) -> None:
    """A manifest outlives its last tag: it was deleted by nobody."""
    digest = repository.push(image(), "v1")
    assert repository.ask("DELETE", "manifests/v1").status == 202
    assert (_status(repository, "manifests/v1"), _status(repository, f"manifests/{digest}")) == (404, 200)


def test_a_manifest_is_deleted(repository: Repository) -> None:
    """202, and neither its digest nor any tag that pointed to it is found; other manifests stay."""
    other = image(note="another")
    digest = repository.push(image(), "v1", "v2")
    repository.push(other, "v3")
    assert repository.ask("DELETE", f"manifests/{digest}").status == 202
    for reference in (digest, "v1", "v2"):
        assert _status(repository, f"manifests/{reference}") == 404
    assert repository.ask("GET", "manifests/v3").body == other
    assert json.loads(repository.ask("GET", "tags/list").body)["tags"] == ["v3"]


def test_a_deleted_manifest_can_be_pushed_again(repository: Repository) -> None:
    """Deleting is no ban."""
    digest = repository.push(image(), "v1")
    repository.ask("DELETE", f"manifests/{digest}")
    repository.push(image(), "v1")
    assert repository.ask("GET", "manifests/v1").body == image()


def test_a_referrer_is_deleted(repository: Repository) -> None:
    """It leaves the referrers of its subject; a subject that is deleted keeps its referrers."""
    subject = repository.push(image(note="the subject"))
    referrers = [image(subject=descriptor(image(note="the subject")), note=number) for number in range(2)]
    for raw in referrers:
        repository.push(raw)
    assert repository.ask("DELETE", f"manifests/{digest_of(referrers[0])}").status == 202
    assert repository.ask("DELETE", f"manifests/{subject}").status == 202
    answer = repository.ask("GET", f"referrers/{subject}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, OCI.index)
    assert [listed["digest"] for listed in json.loads(answer.body)["manifests"]] == [digest_of(referrers[1])]


@pytest.mark.parametrize("reference", ["v2", ABSENT])
def test_an_unknown_manifest_to_delete(reference: str, repository: Repository) -> None:
    """What the repository does not hold cannot be deleted: 404."""
    repository.push(image(), "v1")
    answer = repository.ask("DELETE", f"manifests/{reference}")
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("below", ["manifests/v1", f"manifests/{ABSENT}", f"blobs/{ABSENT}"])
def test_an_unknown_repository_to_delete_from(below: str, repository: Repository) -> None:
    """Nothing can be deleted from a repository that nobody pushed to: 404."""
    answer = repository.ask("DELETE", below)
    assert answer.status == 404
    assert answer.code in {"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"}


def test_a_blob_is_deleted(repository: Repository) -> None:
    """202, and the blob is gone from this repository; another one that was given it keeps it."""
    data = f"a blob of {repository.name}".encode()
    digest = repository.push_blob(data)
    repository.sibling.push_blob(data)
    assert repository.ask("DELETE", f"blobs/{digest}").status == 202
    assert _status(repository, f"blobs/{digest}") == 404
    assert repository.sibling.ask("GET", f"blobs/{digest}").body == data


def test_an_unknown_blob_to_delete(repository: Repository) -> None:
    """A blob that was never here, or was deleted before, is 404."""
    digest = repository.push_blob(b"deleted once")
    repository.ask("DELETE", f"blobs/{digest}")
    for unknown in (digest, ABSENT):
        answer = repository.ask("DELETE", f"blobs/{unknown}")
        assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
