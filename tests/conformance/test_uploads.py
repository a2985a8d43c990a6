"""Push, blobs: in one request, in two, in chunks, or mounted from another repository."""

import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conformance.repository import Repository
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, finishing

DATA = b"0123456789"
DIGEST = digest_of(DATA)


def _is_created(answer: Answer, data: bytes, repository: Repository) -> bool:
    """Whether an answer is 201, and the blob can be pulled from its Location."""
    assert answer.status == 201, answer
    pulled = repository.wire.ask("GET", answer.headers["Location"])
    return (pulled.status, pulled.body) == (200, data)


@pytest.mark.parametrize("way", ["POST", "PUT"])
@pytest.mark.parametrize(
    "digest",
    [
        "",
        "digits",
        "sha256:short",
        "sha256:" + DIGEST[7:].upper(),
        "sha512:" + "0" * 128,
        "md5:" + "0" * 32,
        digest_of(b"other bytes"),
    ],
)
def test_an_invalid_digest(way: str, digest: str, repository: Repository) -> None:
    """A digest that is malformed, of an algorithm other than sha256 or of other bytes is 400, however it is pushed."""
    path = finishing(repository.wire.begin(repository.name), digest)
    answer = repository.wire.ask(
        way, path if way == "PUT" else repository.path(f"blobs/uploads/?digest={digest}"), DATA
    )
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert repository.ask("HEAD", f"blobs/{DIGEST}").status == 404


@pytest.mark.parametrize("algorithm", ["sha512", "sha384", "md5", "nonsense"])
def test_an_algorithm_that_is_unsupported(algorithm: str, repository: Repository) -> None:
    """The store has sha256 only, so a client that announces another algorithm is told before it sends anything."""
    answer = repository.ask("POST", f"blobs/uploads/?digest-algorithm={algorithm}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_the_algorithm_that_is_supported(repository: Repository) -> None:
    """A client may announce sha256, and then pushes as ever."""
    answer = repository.ask("POST", "blobs/uploads/?digest-algorithm=sha256")
    assert answer.status == 202
    closed = repository.wire.ask("PUT", finishing(answer.headers["Location"], DIGEST), DATA)
    assert _is_created(closed, DATA, repository)


def test_a_session_opens(repository: Repository) -> None:
    """202 with a Location below our own root, in which a UUID stands for the session, another one each time."""
    seen = set()
    for _ in range(3):
        answer = repository.ask("POST", "blobs/uploads/", headers={"Content-Length": "0"})
        assert answer.status == 202
        location = urlsplit(answer.headers["Location"])
        assert (location.scheme, location.netloc) == ("", "")
        seen.add(uuid.UUID(location.path.removeprefix(repository.path("blobs/uploads/"))))
    assert len(seen) == 3


def test_post_then_put(repository: Repository) -> None:
    """A blob sent whole to the session's Location is 201, and can be pulled from where the answer says."""
    location = repository.wire.begin(repository.name)
    headers = {"Content-Type": "application/octet-stream"}
    assert _is_created(repository.wire.ask("PUT", finishing(location, DIGEST), DATA, headers), DATA, repository)


def test_a_single_post(repository: Repository) -> None:
    """A blob sent with the very first request is 201, and can be pulled from where the answer says."""
    assert _is_created(repository.ask("POST", f"blobs/uploads/?digest={DIGEST}", DATA), DATA, repository)


def test_a_body_shorter_than_announced(repository: Repository, daemon: Daemon) -> None:
    """What arrives before a connection breaks is no blob, even when the digest asked for is that of this part."""
    path = repository.path("blobs/uploads/")
    repository.wire.hang_up("POST", f"{path}?digest={DIGEST}", announced=len(DATA) + 1, sent=DATA)
    until(lambda: any(line.get("path") == path for line in daemon.log_lines()), "the request has ended")
    assert repository.ask("HEAD", f"blobs/{DIGEST}").status == 404


@pytest.mark.parametrize("sizes", [[10], [4, 6], [1, 1, 8], [4, 4, 2]])
@pytest.mark.parametrize("last", ["PATCH", "PUT"])
def test_chunks(sizes: Sequence[int], last: str, repository: Repository) -> None:
    """Each chunk is 202 with the next Location and the bytes so far; the last one may come in the closing PUT."""
    location = repository.wire.begin(repository.name)
    chunks = list(_chunks(sizes))
    closing = chunks.pop() if last == "PUT" else ("", b"")
    for content_range, chunk in chunks:
        answer = repository.wire.ask("PATCH", location, chunk, {"Content-Range": content_range})
        end = content_range.partition("-")[2]
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{end}")
        location = answer.headers["Location"]
    headers = {"Content-Range": closing[0]} if closing[0] else {}
    closed = repository.wire.ask("PUT", finishing(location, DIGEST), closing[1], headers)
    assert _is_created(closed, DATA, repository)


def _chunks(sizes: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """`DATA` in pieces, each with its Content-Range."""
    start = 0
    for size in sizes:
        yield f"{start}-{start + size - 1}", DATA[start : start + size]
        start += size


def test_the_least_chunk_is_advice(repository: Repository) -> None:
    """The size that chunks had better have is announced, and smaller ones are taken all the same."""
    answer = repository.ask("POST", "blobs/uploads/")
    assert answer.headers["OCI-Chunk-Min-Length"] == "65536"
    location = answer.headers["Location"]
    for content_range, chunk in _chunks([1, 9]):
        assert repository.wire.ask("PATCH", location, chunk, {"Content-Range": content_range}).status == 202


@pytest.mark.parametrize("content_range", ["", "0", "0-", "-9", "9-0", "0 - 9", "a-b", "0-9-9", "items 0-9"])
def test_a_range_out_of_the_grammar(content_range: str, repository: Repository) -> None:
    """A chunk whose place cannot be read is refused, and adds nothing."""
    location = repository.wire.begin(repository.name)
    answer = repository.wire.ask("PATCH", location, DATA, {"Content-Range": content_range})
    assert answer.status == 400
    assert answer.code in {"BLOB_UPLOAD_INVALID", "SIZE_INVALID"}


@pytest.mark.parametrize("content_range", ["0-8", "0-10"])
def test_both_ends_of_a_range_count(content_range: str, repository: Repository) -> None:
    """Ten bytes are `0-9`: a range that is shorter or longer than its chunk, by the one byte, is refused."""
    location = repository.wire.begin(repository.name)
    answer = repository.wire.ask("PATCH", location, DATA, {"Content-Range": content_range})
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(("held", "start"), [(0, 1), (0, 100), (4, 0), (4, 3), (4, 5), (4, 100)])
def test_a_chunk_out_of_order(method: str, held: int, start: int, repository: Repository) -> None:
    """A gap or an overlap is 416, with how far the upload is; then the chunk that was due is still taken."""
    location = repository.wire.begin(repository.name)
    repository.wire.ask("PATCH", location, DATA[:held])
    due, closing = DATA[held:], finishing(location, DIGEST)
    wrong = {"Content-Range": f"{start}-{start + len(due) - 1}"}
    answer = repository.wire.ask(method, location if method == "PATCH" else closing, due, wrong)
    assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID")
    assert answer.headers["Range"] == f"0-{max(held - 1, 0)}"
    right = {"Content-Range": f"{held}-{len(DATA) - 1}"}
    assert _is_created(repository.wire.ask("PUT", closing, due, right), DATA, repository)


def test_only_the_closing_put_makes_a_blob(repository: Repository) -> None:
    """All bytes may be there: without the PUT there is no blob."""
    location = repository.wire.begin(repository.name)
    assert repository.wire.ask("PATCH", location, DATA).status == 202
    assert repository.ask("HEAD", f"blobs/{DIGEST}").status == 404
    assert repository.wire.ask("PUT", finishing(location, DIGEST), b"").status == 201
    assert repository.ask("HEAD", f"blobs/{DIGEST}").status == 200


@pytest.mark.parametrize("query", ["", f"?digest={digest_of(DATA[4:])}"])
def test_the_closing_put_names_the_whole_blob(query: str, repository: Repository) -> None:
    """No digest, or that of the last chunk alone, ends in a refusal."""
    location = repository.wire.begin(repository.name)
    repository.wire.ask("PATCH", location, DATA[:4])
    answer = repository.wire.ask("PUT", location + query, DATA[4:], {"Content-Range": "4-9"})
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_the_status_of_an_upload(repository: Repository) -> None:
    """204 says where to go on and how far the upload is; asking changes nothing, and the upload goes on from there."""
    location = repository.wire.begin(repository.name)
    repository.wire.ask("PATCH", location, DATA[:4])
    for _ in range(2):
        answer = repository.wire.ask("GET", location)
        assert (answer.status, answer.headers["Range"], answer.body) == (204, "0-3", b"")
        location = answer.headers["Location"]
    assert repository.wire.ask("PATCH", location, DATA[4:], {"Content-Range": "4-9"}).status == 202
    assert _is_created(repository.wire.ask("PUT", finishing(location, DIGEST), b""), DATA, repository)


def test_a_cancelled_upload(repository: Repository) -> None:
    """204, and the session is gone."""
    location = repository.wire.begin(repository.name)
    repository.wire.ask("PATCH", location, DATA)
    assert repository.wire.ask("DELETE", location).status == 204
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = repository.wire.ask(method, finishing(location, DIGEST), b"")
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_forgotten_upload(scratch: Path, containerd: Containerd, upstream: Registry) -> None:
    """A session that nobody comes back to is dropped once it is as old as the settings say."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    settings = {"uploads": {"max_age": 1.0}}
    with Daemon(directory, containerd.address, {UPSTREAM: upstream.url}, settings=settings) as daemon:
        wire = Wire(daemon.url)
        location = wire.begin("conformance/forgotten")
        until(lambda: wire.ask("GET", location).status == 404, "the upload is dropped")


@pytest.mark.parametrize("source", ["&from={other}", ""])
def test_a_blob_is_mounted(source: str, repository: Repository) -> None:
    """201, and the blob can be pulled here: from the repository that is named, or from whichever holds it."""
    data = f"mounted {repository.name}".encode()
    other = repository.sibling
    digest = other.push_blob(data)
    answer = repository.ask("POST", f"blobs/uploads/?mount={digest}{source.format(other=other.name)}")
    assert _is_created(answer, data, repository)
    assert answer.headers["Docker-Content-Digest"] == digest


@pytest.mark.parametrize("source", ["&from={here}", "&from=nobody/pushed-here", ""])
def test_a_mount_that_cannot_be(source: str, repository: Repository) -> None:
    """Where the blob cannot be had, 202 opens an ordinary session, which then takes the bytes."""
    data = f"not mounted {repository.name}".encode()
    digest = digest_of(data)
    answer = repository.ask("POST", f"blobs/uploads/?mount={digest}{source.format(here=repository.sibling.name)}")
    assert answer.status == 202
    closed = repository.wire.ask("PUT", finishing(answer.headers["Location"], digest), data)
    assert _is_created(closed, data, repository)
