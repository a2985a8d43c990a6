"""What holds everywhere: every endpoint is there, every refusal has one form, and `ns=` is answered by name."""

import json
import re
from http import HTTPStatus

import pytest

from tests.conformance.conftest import OTHER
from tests.conformance.repository import CONFIG, MAX_MANIFEST, OCI, Repository, descriptor, image, padded
from tests.rig.containerd import Containerd
from tests.rig.wire import digest_of

ABSENT = digest_of(b"never pushed")
BLOB = digest_of(CONFIG)
DOCKER_SCHEMA_1 = b'{"schemaVersion": 1, "name": "app", "tag": "v1", "fsLayers": [], "history": []}'
CODES = frozenset(
    {
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DENIED",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "TOOMANYREQUESTS",
        "UNAUTHORIZED",
        "UNSUPPORTED",
    }
)
"""All that a refusal may say."""


def _addresses(repository: Repository) -> dict[str, str]:
    """What the tables below fill in: a repository with a tagged image, an open session, and a blob elsewhere."""
    repository.sibling.push_blob(b"in the sibling")
    return {
        "v2": f"/v2/{repository.name}",
        "image": repository.push(image(), "v1"),
        "session": repository.wire.begin(repository.name),
        "sibling": f"mount={digest_of(b'in the sibling')}&from={repository.sibling.name}",
    }


@pytest.mark.parametrize(
    ("method", "address", "body", "status"),
    [
        ("GET", "/v2/", b"", 200),
        ("GET", f"{{v2}}/blobs/{BLOB}", b"", 200),
        ("HEAD", f"{{v2}}/blobs/{BLOB}", b"", 200),
        ("GET", "{v2}/manifests/v1", b"", 200),
        ("GET", "{v2}/manifests/{image}", b"", 200),
        ("HEAD", "{v2}/manifests/v1", b"", 200),
        ("HEAD", "{v2}/manifests/{image}", b"", 200),
        ("POST", "{v2}/blobs/uploads/", b"", 202),
        ("POST", f"{{v2}}/blobs/uploads/?digest={BLOB}", CONFIG, 201),
        ("POST", "{v2}/blobs/uploads/?digest-algorithm=sha256", b"", 202),
        ("POST", "{v2}/blobs/uploads/?{sibling}", b"", 201),
        ("PATCH", "{session}", CONFIG, 202),
        ("PUT", f"{{session}}?digest={BLOB}", CONFIG, 201),
        ("GET", "{session}", b"", 204),
        ("DELETE", "{session}", b"", 204),
        ("PUT", "{v2}/manifests/v2", image(), 201),
        ("PUT", f"{{v2}}/manifests/{digest_of(image())}", image(), 201),
        ("PUT", f"{{v2}}/manifests/{digest_of(image())}?tag=a&tag=b", image(), 201),
        ("GET", "{v2}/tags/list", b"", 200),
        ("GET", "{v2}/tags/list?n=1&last=a", b"", 200),
        ("GET", "{v2}/referrers/{image}", b"", 200),
        ("GET", "{v2}/referrers/{image}?artifactType=x/y", b"", 200),
        ("DELETE", "{v2}/manifests/v1", b"", 202),
        ("DELETE", "{v2}/manifests/{image}", b"", 202),
        ("DELETE", f"{{v2}}/blobs/{BLOB}", b"", 202),
    ],
)
def test_every_endpoint(method: str, address: str, body: bytes, status: int, repository: Repository) -> None:
    """Each endpoint of each category answers an ordinary request with its status of success."""
    path = address.format_map(_addresses(repository))
    answer = repository.wire.ask(method, path, body, {"Content-Type": OCI.manifest})
    assert answer.status == status, answer


@pytest.mark.parametrize(
    ("method", "address", "body", "status", "code"),
    [
        ("GET", f"{{v2}}/blobs/{ABSENT}", b"", 404, "BLOB_UNKNOWN"),
        ("PATCH", "{session}", b"1", 416, "BLOB_UPLOAD_INVALID"),
        ("GET", "{v2}/blobs/uploads/00000000-0000-0000-0000-000000000000", b"", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET", "{v2}/blobs/uploads/no-session-at-all", b"", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET", "/v2/_catalog", b"", 403, "DENIED"),
        ("GET", "{v2}/blobs/sha256:short", b"", 400, "DIGEST_INVALID"),
        ("PUT", f"{{v2}}/manifests/{ABSENT}", image(), 400, "DIGEST_INVALID"),
        ("PUT", "{v2}/manifests/v2", image(layers=[descriptor(b"nobody's")]), 404, "MANIFEST_BLOB_UNKNOWN"),
        ("PUT", "{v2}/manifests/v2", b"no JSON", 400, "MANIFEST_INVALID"),
        ("PUT", "{v2}/manifests/v2", DOCKER_SCHEMA_1, 400, "MANIFEST_INVALID"),
        ("GET", "{v2}/manifests/-v1", b"", 400, "MANIFEST_INVALID"),
        ("GET", "{v2}/manifests/v2", b"", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/UPPER/tags/list", b"", 400, "NAME_INVALID"),
        ("GET", "/v2/nobody/pushed-here/tags/list", b"", 404, "NAME_UNKNOWN"),
        ("GET", "{v2}/tags/list?ns=elsewhere.example.org", b"", 404, "NAME_UNKNOWN"),
        ("PUT", "{v2}/manifests/v2", padded(MAX_MANIFEST + 1), 413, "SIZE_INVALID"),
        ("PUT", f"{{v2}}/manifests/{digest_of(image())}?{'&'.join(['tag=v2'] * 101)}", image(), 414, None),
        ("GET", "{v2}/tags/list?n=many", b"", 400, None),
        ("PATCH", "{v2}/manifests/v1", b"", 405, "UNSUPPORTED"),
        ("GET", "/v2/extension", b"", 404, None),
    ],
)
def test_a_refusal(
    method: str, address: str, body: bytes, status: HTTPStatus, code: str | None, repository: Repository
) -> None:
    """It is JSON of the one form, with a code of the one list and a sentence for people."""
    headers = {"Content-Type": OCI.manifest, **({"Content-Range": "1-1"} if method == "PATCH" else {})}
    answer = repository.wire.ask(method, address.format_map(_addresses(repository)), body, headers)
    assert (answer.status, code or answer.code) == (status, answer.code)
    assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
    document = json.loads(answer.body)
    assert document.keys() == {"errors"}
    for error in document["errors"]:
        assert {"code", "message"} <= error.keys() <= {"code", "message", "detail"}
        assert re.fullmatch("[A-Z_]+", error["code"])
        assert error["code"] in CODES
        assert re.search(r"\w+ \w+", error["message"])


@pytest.mark.parametrize("namespace", [OTHER, OTHER.replace(":", "%3A")])
@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "manifests/v1"),
        ("HEAD", "manifests/v1"),
        ("GET", "manifests/v2"),
        ("GET", f"blobs/{BLOB}"),
        ("POST", "blobs/uploads/"),
        ("GET", "tags/list"),
        ("GET", f"referrers/{ABSENT}"),
        ("DELETE", "manifests/v1"),
    ],
)
def test_the_namespace_of_a_request(method: str, address: str, namespace: str, repository: Repository) -> None:
    """Whatever is asked with `ns=`, and whatever the answer, it names the registry that was meant."""
    wire = repository.wire
    pushed = wire.ask("POST", repository.path(f"blobs/uploads/?digest={BLOB}&ns={namespace}"), CONFIG)
    tagged = wire.ask("PUT", repository.path(f"manifests/v1?ns={namespace}"), image(), {"Content-Type": OCI.manifest})
    for answer in (pushed, tagged, wire.ask(method, repository.path(f"{address}?ns={namespace}"))):
        assert answer.headers.get("OCI-Namespace") == OTHER, answer


def test_the_namespace_of_an_image(repository: Repository, containerd: Containerd) -> None:
    """The value of `ns=` is what the image's full name begins with, where containers are started from."""
    repository.ask("POST", f"blobs/uploads/?digest={BLOB}&ns={OTHER}", CONFIG)
    assert repository.put(f"v1?ns={OTHER}", image()).status == 201
    assert containerd.images()[f"{OTHER}/{repository.name}:v1"] == digest_of(image())


def test_no_namespace(repository: Repository) -> None:
    """Without `ns=` none is named."""
    assert "OCI-Namespace" not in repository.ask("GET", "manifests/v1").headers


@pytest.mark.parametrize(
    ("method", "below", "status"),
    [
        ("GET", "manifests/v1", 200),
        ("PUT", "manifests/v2", 201),
        ("HEAD", f"blobs/{BLOB}", 200),
        ("POST", "blobs/uploads/", 202),
        ("GET", "tags/list", 200),
        ("GET", f"referrers/{ABSENT}", 200),
        ("DELETE", "manifests/v1", 202),
    ],
)
def test_unknown_parameters(method: str, below: str, status: int, repository: Repository) -> None:
    """What a query says that nobody asked for changes nothing."""
    repository.push(image(), "v1")
    answer = repository.ask(method, f"{below}?page=2&%C3%A9=%ff&flag", image(), {"Content-Type": OCI.manifest})
    assert answer.status == status
