"""Every way to push a blob, and every way to get it wrong."""

import random
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import pytest

from tests.http.conftest import OTHER, Held
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of, finishing

DATA = random.Random(1).randbytes(3_000_000)  # noqa: S311 - the same in each run
REPOSITORY = "team/app"


def _single_post(wire: Wire, data: bytes) -> int:
    return wire.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(data)}", data).status


def _post_put(wire: Wire, data: bytes) -> int:
    return wire.ask("PUT", finishing(wire.begin(REPOSITORY), digest_of(data)), data).status


def _streamed_patch(wire: Wire, data: bytes) -> int:
    location = wire.begin(REPOSITORY)
    answer = wire.ask("PATCH", location, (data[n : n + 70_000] for n in range(0, len(data), 70_000)))
    assert answer.headers["Range"] == f"0-{max(len(data) - 1, 0)}"
    return wire.ask("PUT", finishing(answer.headers["Location"], digest_of(data)), b"").status


def _ranged_patches(wire: Wire, data: bytes) -> int:
    location = wire.begin(REPOSITORY)
    for start in range(0, len(data), 1_000_000):
        chunk = data[start : start + 1_000_000]
        answer = wire.ask("PATCH", location, chunk, {"Content-Range": f"{start}-{start + len(chunk) - 1}"})
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{start + len(chunk) - 1}")
    return wire.ask("PUT", finishing(location, digest_of(data)), b"").status


def _last_chunk_in_put(wire: Wire, data: bytes) -> int:
    location = wire.begin(REPOSITORY)
    half = len(data) // 2
    wire.ask("PATCH", location, data[:half])
    last = {"Content-Range": f"{half}-{len(data) - 1}"} if data else {}
    return wire.ask("PUT", finishing(location, digest_of(data)), data[half:], last).status


@pytest.mark.parametrize("size", [0, 1, len(DATA)])
@pytest.mark.parametrize("way", [_single_post, _post_put, _streamed_patch, _ranged_patches, _last_chunk_in_put])
def test_a_blob_arrives_whole(way: Callable[[Wire, bytes], int], size: int, wire: Wire, containerd: Containerd) -> None:
    """Whatever way the bytes take, they are in containerd and are served again as they were sent."""
    data = (way.__name__.encode() + DATA)[:size]
    assert way(wire, data) == 201
    digest = digest_of(data)
    assert containerd.content(digest) == data
    answer = wire.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}")
    assert (answer.status, answer.body) == (200, data)
    head = wire.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}")
    assert (head.status, head.headers["Content-Length"], head.headers["Docker-Content-Digest"]) == (
        200,
        str(size),
        digest,
    )


def test_the_same_blob_twice(wire: Wire, held: Callable[[], Held]) -> None:
    """A second upload of a blob succeeds too, and leaves no second lease behind."""
    wire.push_blob(REPOSITORY, b"pushed twice")
    before = held()
    wire.push_blob(REPOSITORY, b"pushed twice")
    after = held()
    assert (after.contents, after.sessions, len(after.leases)) == (
        before.contents,
        before.sessions,
        len(before.leases),
    )


def test_an_uploaded_blob_outlives_garbage_collection(wire: Wire, held: Callable[[], Held]) -> None:
    """Between its upload and its manifest a blob is held by a lease."""
    digest = wire.push_blob(REPOSITORY, b"waiting for its manifest")
    assert digest in held().contents


def test_status_and_cancel(wire: Wire, held: Callable[[], Held]) -> None:
    """A session says how far it is without changing, and is gone with all it had when it is cancelled."""
    before = held()
    location = wire.begin(REPOSITORY)
    wire.ask("PATCH", location, b"0123456789")
    for _ in range(2):
        answer = wire.ask("GET", location)
        assert (answer.status, answer.headers["Range"], answer.body) == (204, "0-9", b"")
    assert wire.ask("DELETE", location).status == 204
    assert wire.ask("GET", location).code == "BLOB_UPLOAD_UNKNOWN"
    assert held() == before


@pytest.mark.parametrize("start", [0, 4, 6, 10**17])
def test_a_chunk_out_of_order_is_refused_and_the_session_goes_on(start: int, wire: Wire) -> None:
    """A gap, an overlap and a replay are 416 with the range that is there; the right chunk is taken afterwards."""
    location = wire.begin(REPOSITORY)
    wire.ask("PATCH", location, b"01234", {"Content-Range": "0-4"})
    for method, address in (("PATCH", location), ("PUT", finishing(location, digest_of(b"0123456789")))):
        answer = wire.ask(method, address, b"56789", {"Content-Range": f"{start}-{start + 4}"})
        assert (answer.status, answer.code, answer.headers["Range"]) == (416, "BLOB_UPLOAD_INVALID", "0-4")
    assert wire.ask("PATCH", location, b"56789", {"Content-Range": "5-9"}).status == 202
    assert wire.ask("PUT", finishing(location, digest_of(b"0123456789")), b"").status == 201


@pytest.mark.parametrize("method", ["PATCH", "PUT", "GET", "DELETE"])
def test_an_unknown_upload(method: str, wire: Wire) -> None:
    """A session that is not there, or is another repository's, is 404 for every request."""
    foreign = wire.begin("team/other").replace("team/other", REPOSITORY)
    for location in (f"/v2/{REPOSITORY}/blobs/uploads/nothing", foreign):
        answer = wire.ask(method, finishing(location, digest_of(b"")), b"")
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def _wrong_digest_in_put(wire: Wire) -> tuple[int, str]:
    answer = wire.ask("PUT", finishing(wire.begin(REPOSITORY), digest_of(b"one")), b"another")
    return answer.status, answer.code


def _wrong_digest_in_post(wire: Wire) -> tuple[int, str]:
    answer = wire.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(b'one')}", b"another")
    return answer.status, answer.code


def _malformed_digest_in_post(wire: Wire) -> tuple[int, str]:
    answer = wire.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest=sha256:no", b"another")
    return answer.status, answer.code


def _no_digest_in_put(wire: Wire) -> tuple[int, str]:
    location = wire.begin(REPOSITORY)
    answer = wire.ask("PUT", location, b"bytes")
    wire.ask("DELETE", location)
    return answer.status, answer.code


def _longer_than_its_range(wire: Wire) -> tuple[int, str]:
    location = wire.begin(REPOSITORY)
    answer = wire.ask("PATCH", location, b"0123456789", {"Content-Range": "0-4"})
    wire.ask("DELETE", location)
    return answer.status, answer.code


def _streamed_shorter_than_its_range(wire: Wire) -> tuple[int, str]:
    answer = wire.ask("PATCH", wire.begin(REPOSITORY), iter([b"01", b"23"]), {"Content-Range": "0-9"})
    return answer.status, answer.code


def _range_that_is_none(wire: Wire) -> tuple[int, str]:
    location = wire.begin(REPOSITORY)
    answer = wire.ask("PATCH", location, b"01234", {"Content-Range": "from the start"})
    wire.ask("DELETE", location)
    return answer.status, answer.code


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (_wrong_digest_in_put, (400, "DIGEST_INVALID")),
        (_wrong_digest_in_post, (400, "DIGEST_INVALID")),
        (_malformed_digest_in_post, (400, "DIGEST_INVALID")),
        (_no_digest_in_put, (400, "DIGEST_INVALID")),
        (_longer_than_its_range, (400, "SIZE_INVALID")),
        (_streamed_shorter_than_its_range, (400, "SIZE_INVALID")),
        (_range_that_is_none, (400, "BLOB_UPLOAD_INVALID")),
    ],
)
def test_a_mistake_leaves_nothing_behind(
    mistake: Callable[[Wire], tuple[int, str]], expected: tuple[int, str], wire: Wire, held: Callable[[], Held]
) -> None:
    """Bad input gets its code, and no content, ingest, lease or session stays."""
    before = held()
    assert mistake(wire) == expected
    assert held() == before


def test_a_digest_cannot_be_claimed_without_its_bytes(wire: Wire) -> None:
    """What another repository pushed is not given to one that sends other bytes, or none, under its digest."""
    digest = wire.push_blob("team/secret", b"for the team only")
    for body in (b"", b"something else"):
        answer = wire.ask("PUT", finishing(wire.begin("somebody/else"), digest), body)
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
        answer = wire.ask("POST", f"/v2/somebody/else/blobs/uploads/?digest={digest}", body)
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert wire.ask("HEAD", f"/v2/somebody/else/blobs/{digest}").status == 404


def test_a_patch_cut_short_can_be_continued(wire: Wire) -> None:
    """When a client is gone in mid-chunk, what arrived stays, the session says how much, and goes on from there."""
    location = wire.begin(REPOSITORY)
    wire.hang_up("PATCH", location, announced=len(DATA), sent=DATA[:2_000_000])

    def arrived() -> int:
        return int(wire.ask("GET", location).headers["Range"].removeprefix("0-")) + 1

    until(lambda: _accepts_more(wire, location), "the session is free again")
    start = arrived()
    assert 1 < start <= 2_000_000
    rest = {"Content-Range": f"{start}-{len(DATA) - 1}"}
    assert wire.ask("PATCH", location, DATA[start:], rest).status == 202
    assert wire.ask("PUT", finishing(location, digest_of(DATA)), b"").status == 201


def _accepts_more(wire: Wire, location: str) -> bool:
    """Whether nobody writes to a session any more: an empty chunk is taken."""
    return wire.ask("PATCH", location, b"").status == 202


def test_a_single_post_cut_short_leaves_nothing(wire: Wire, daemon: Daemon, held: Callable[[], Held]) -> None:
    """A push in one request that breaks off cannot be continued, so nothing of it stays."""
    before = held()
    path = "/v2/team/cut-short/blobs/uploads/"
    wire.hang_up("POST", f"{path}?digest={digest_of(DATA)}", announced=len(DATA), sent=DATA[:2_000_000])
    until(lambda: any(line.get("path") == path for line in daemon.log_lines()), "the request has ended")
    assert held() == before


@pytest.mark.parametrize("host", ["mirror.example.com", "mirror.example.com:5443", "[2001:db8::1]:5000"])
def test_a_location_for_whoever_was_redirected(host: str, wire: Wire) -> None:
    """Who names the registry gets whole URLs, of where he came to, at each step: some would ask the registry else."""
    path = f"/v2/{REPOSITORY}/blobs/uploads/?ns={OTHER}"
    for method in ("POST", "PATCH"):
        location = wire.ask(method, path, b"", {"Host": host}).headers["Location"]
        assert location.startswith(f"http://{host}/v2/{REPOSITORY}/blobs/uploads/")
        assert location.endswith(f"?ns={OTHER}")
        path = location.removeprefix(f"http://{host}")


def test_a_location_for_a_host_that_is_none(wire: Wire) -> None:
    """What a client says of itself is not handed on where it could be anything: the URL is relative then."""
    location = wire.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?ns={OTHER}", headers={"Host": "a<b>"}).headers[
        "Location"
    ]
    assert location.startswith(f"/v2/{REPOSITORY}/blobs/uploads/")


@pytest.mark.parametrize(
    "address",
    [
        "{path}?ns={ns}&digest={digest}",
        "{path}?digest={digest}&ns={ns}",
        "{path}?ns={ns}&digest={digest}&ns={ns}",
        "{path}?x-unknown=1&digest={encoded_digest}&y=&ns={encoded_ns}",
        "{encoded_path}?ns={encoded_ns}&digest={encoded_digest}",
    ],
)
def test_a_location_survives_what_clients_do_to_it(address: str, wire: Wire, containerd: Containerd) -> None:
    """Encoded anew, with `ns=` at another place or twice, and with parameters of others, it is the same session."""
    data = address.encode()
    path, digest = urlsplit(wire.begin(REPOSITORY, f"?ns={OTHER}")).path, digest_of(data)
    respelled = address.format(
        path=path,
        ns=OTHER,
        digest=digest,
        encoded_path="/".join("".join(f"%{ord(letter):02x}" for letter in part) for part in path.split("/")),
        encoded_ns=quote(OTHER, safe=""),
        encoded_digest=quote(digest, safe=""),
    )
    assert wire.ask("PUT", respelled, data).status == 201
    assert containerd.content(digest) == data
    assert wire.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}?ns={OTHER}").status == 200
