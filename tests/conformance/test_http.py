"""HTTP itself: ranges, conditions, and what an answer may and must consist of."""

import random
import socket
from collections.abc import Iterator

import pytest

from tests.conformance.repository import OCI, Repository, etag, image
from tests.rig.daemon import Daemon
from tests.rig.wire import digest_of

SIZE = 2000
DATA = random.Random(2).randbytes(SIZE)  # noqa: S311 - the same in each run
ABSENT = digest_of(b"never pushed")


@pytest.fixture
def blob(repository: Repository) -> str:
    """The path below the repository of a blob of `DATA`."""
    return f"blobs/{repository.push_blob(DATA)}"


# --- ranges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=500-1499", 500, 1499),
        ("bytes=0-1999", 0, 1999),
        ("bytes=1000-1000000", 1000, 1999),
        ("bytes=500-", 500, 1999),
        ("bytes=0-", 0, 1999),
        ("bytes=-500", 1500, 1999),
        ("bytes=-1", 1999, 1999),
        ("bytes=-5000", 0, 1999),
        ("BYTES=1-2", 1, 2),
    ],
)
def test_a_range(wanted: str, first: int, last: int, blob: str, repository: Repository) -> None:
    """From here to there, from here on, or the last so many bytes: 206 with those, their place, and the tag."""
    answer = repository.ask("GET", blob, headers={"Range": wanted})
    assert (answer.status, answer.body) == (206, DATA[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["Content-Length"] == str(last - first + 1)
    whole = repository.ask("GET", blob)
    assert etag(answer) == etag(whole) is not None
    for header in ("Docker-Content-Digest", "Content-Type"):
        assert answer.headers[header] == whole.headers[header]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ranges_are_offered(method: str, blob: str, repository: Repository) -> None:
    """Clients that look before they ask see that parts of a blob can be had."""
    assert repository.ask(method, blob).headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("wanted", ["bytes=2000-", "bytes=5000-10000", "bytes=-0", "bytes=500-0"])
def test_a_range_that_is_not_there(wanted: str, blob: str, repository: Repository) -> None:
    """A range with none of the bytes is 416, and the answer says how many there are."""
    answer = repository.ask("GET", blob, headers={"Range": wanted})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=-1, 0-0"])
def test_several_ranges(wanted: str, blob: str, repository: Repository) -> None:
    """Several ranges in one request are answered with the whole blob."""
    answer = repository.ask("GET", blob, headers={"Range": wanted})
    assert (answer.status, answer.body) == (200, DATA)


@pytest.mark.parametrize("wanted", ["items=0-1", "lines=5-", "chapters=a"])
def test_a_range_in_an_unknown_unit(wanted: str, blob: str, repository: Repository) -> None:
    """A range that is not in bytes is ignored."""
    answer = repository.ask("GET", blob, headers={"Range": wanted})
    assert (answer.status, answer.body) == (200, DATA)


def test_a_range_of_a_head(blob: str, repository: Repository) -> None:
    """Ranges are for GET: a HEAD tells about the whole blob."""
    answer = repository.ask("HEAD", blob, headers={"Range": "bytes=0-1"})
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))
    assert "Content-Range" not in answer.headers


# --- conditions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_etag(method: str, blob: str, repository: Repository) -> None:
    """The entity tag of content is its digest, by whichever address it is read."""
    digest = repository.push(image(), "v1")
    for path, expected in ((blob, digest_of(DATA)), ("manifests/v1", digest), (f"manifests/{digest}", digest)):
        assert etag(repository.ask(method, path)) == f'"{expected}"'


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("known", ["{tag}", "W/{tag}", '"other", {tag}', '"a,b" , W/"c",{tag}', "*"])
def test_content_that_the_client_has(known: str, method: str, blob: str, repository: Repository) -> None:
    """When a tag that the client names is that of the content, strong or weak, 304 comes with the tag and no body."""
    repository.push(image(), "v1")
    for path in (blob, "manifests/v1"):
        tag = etag(repository.ask("HEAD", path))
        answer = repository.ask(method, path, headers={"If-None-Match": known.format(tag=tag)})
        assert (answer.status, answer.body, etag(answer)) == (304, b"", tag)


@pytest.mark.parametrize("known", ['"other"', 'W/"other", "more"', f'"{ABSENT}"'])
def test_content_that_the_client_has_not(known: str, blob: str, repository: Repository) -> None:
    """Tags of other content change nothing."""
    answer = repository.ask("GET", blob, headers={"If-None-Match": known})
    assert (answer.status, answer.body) == (200, DATA)


def test_a_condition_comes_before_a_range(blob: str, repository: Repository) -> None:
    """A client that has the content is told so, whatever part of it it asked for."""
    headers = {"If-None-Match": f'"{digest_of(DATA)}"', "Range": "bytes=0-1"}
    assert repository.ask("GET", blob, headers=headers).status == 304
    assert repository.ask("GET", blob, headers=headers | {"Range": "bytes=5000-"}).status == 304


@pytest.mark.parametrize(
    ("known", "status"),
    [
        (f'"{digest_of(DATA)}"', 206),
        (f'W/"{digest_of(DATA)}"', 200),
        ('"other"', 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
    ],
)
def test_a_range_of_what_the_client_knows(known: str, status: int, blob: str, repository: Repository) -> None:
    """A part is sent only to go with the content that the client has a part of; else it gets the whole."""
    answer = repository.ask("GET", blob, headers={"If-Range": known, "Range": "bytes=0-9"})
    assert (answer.status, answer.body) == (status, DATA[:10] if status == 206 else DATA)


# --- answers ------------------------------------------------------------------------------------------------------


def _on_the_line(daemon: Daemon, method: str, path: str, *fields: str) -> tuple[bytes, bytes]:
    """The head of an answer, and every byte that comes after it until the connection ends."""
    host, port = daemon.host.split(":")
    lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *fields, "", "")
    with socket.create_connection((host, int(port)), timeout=60.0) as connection:
        connection.sendall("\r\n".join(lines).encode())
        head, _, rest = b"".join(_received(connection)).partition(b"\r\n\r\n")
    return head, rest


def _received(connection: socket.socket) -> Iterator[bytes]:
    while data := connection.recv(65536):
        yield data


@pytest.mark.parametrize(
    ("below", "status"),
    [
        ("{blob}", 200),
        ("manifests/v1", 200),
        ("manifests/v2", 404),
        ("blobs/sha256:short", 400),
        ("blobs/uploads/", 405),
    ],
)
def test_a_head_has_no_body(below: str, status: int, blob: str, repository: Repository, daemon: Daemon) -> None:
    """After the head of an answer to HEAD nothing comes, success or refusal."""
    repository.push(image(), "v1")
    head, rest = _on_the_line(daemon, "HEAD", repository.path(below.format(blob=blob)))
    assert (head.split()[1], rest) == (str(status).encode(), b"")


@pytest.mark.parametrize("below", ["{blob}", "manifests/v1"])
def test_a_head_has_the_headers_of_the_get(below: str, blob: str, repository: Repository) -> None:
    """What a GET would say about the content, the HEAD says too."""
    repository.push(image(), "v1")
    head, get = (dict(repository.ask(method, below.format(blob=blob)).headers) for method in ("HEAD", "GET"))
    for answer in (head, get):
        for passing in ("Date", "X-Request-Id"):
            answer.pop(passing)
    assert head == get


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_no_content_has_no_length(method: str, repository: Repository, daemon: Daemon) -> None:
    """204 means that nothing comes, so no length of it is given."""
    head, rest = _on_the_line(daemon, method, repository.wire.begin(repository.name))
    assert (head.split()[1], rest) == (b"204", b"")
    assert b"content-length" not in head.lower()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_not_modified_has_no_other_length(method: str, blob: str, repository: Repository, daemon: Daemon) -> None:
    """304 comes without a body; the only length it may give is that of the content."""
    known = f'If-None-Match: "{digest_of(DATA)}"'
    head, rest = _on_the_line(daemon, method, repository.path(blob), known)
    assert (head.split()[1], rest) == (b"304", b"")
    lengths = [line.split()[1] for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    assert set(lengths) <= {str(SIZE).encode()}


@pytest.mark.parametrize(
    ("method", "below", "allowed"),
    [
        ("PATCH", "manifests/v1", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PUT", f"blobs/{ABSENT}", {"GET", "HEAD", "DELETE"}),
        ("DELETE", "blobs/uploads/", {"POST"}),
        ("POST", "tags/list", {"GET"}),
        ("DELETE", f"referrers/{ABSENT}", {"GET"}),
    ],
)
def test_a_method_that_is_not_there(method: str, below: str, allowed: set[str], repository: Repository) -> None:
    """405 says which methods there are."""
    answer = repository.ask(method, below)
    assert answer.status == 405
    assert allowed <= {name.strip() for name in answer.headers["Allow"].split(",")} <= allowed | {"HEAD"}


@pytest.mark.parametrize(
    ("method", "below"), [("GET", "manifests/v1"), ("GET", "manifests/v2"), ("POST", "blobs/uploads/")]
)
def test_every_answer_is_dated(method: str, below: str, repository: Repository) -> None:
    """Success or refusal, an answer says when it was given."""
    repository.push(image(), "v1")
    assert repository.ask(method, below).headers["Date"].endswith("GMT")


def test_content_has_a_type(blob: str, repository: Repository) -> None:
    """Blobs are bytes of no known kind, manifests what they were pushed as; both say so."""
    repository.push(image(), "v1")
    assert repository.ask("GET", blob).headers["Content-Type"] == "application/octet-stream"
    assert repository.ask("GET", "manifests/v1").headers["Content-Type"] == OCI.manifest
