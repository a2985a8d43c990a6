"""Blobs that go on where they stopped, at an upstream that keeps what a broken upload brought."""

from collections.abc import Iterator

import pytest

from tests.faults.way import BEGIN, HALF, LAYER, UPLOAD, Way
from tests.rig.faults import Cut, Reply, Rewrite, Stall
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.resumable import UPLOAD as ANY_UPLOAD
from tests.rig.resumable import Resumable
from tests.rig.until import until
from tests.rig.wire import Wire

JSON = {"Content-Type": "application/json"}
IMPATIENT = {"replication": {"stall": 3.0}}


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    """The upstream; what breaks a request is done before it comes to the part that keeps its bytes."""
    with Proxy(registry.host) as keeping, Proxy(keeping.host) as proxy:
        keeping.arm(Resumable(Wire(registry.url)), path=ANY_UPLOAD, times=None)
        yield proxy


@pytest.mark.parametrize("after", [2, HALF, len(LAYER) - 1])
def test_reset_in_a_blob(way: Way, after: int) -> None:
    """The upload goes on where it stopped: every byte is sent once, in one upload."""
    way.proxy.arm(Cut(after), "PUT|PATCH", UPLOAD)
    way.arrives(way.push())
    assert sum(way.sent()) == len(LAYER)
    assert len(way.proxy.seen("POST", BEGIN)) == 1


@pytest.mark.parametrize("after", [0, 1])
def test_one_byte_or_none(way: Way, after: int) -> None:
    """An upstream says `0-0` of both, so that nobody can tell how to go on: the blob arrives all the same."""
    way.proxy.arm(Cut(after), "PUT|PATCH", UPLOAD)
    way.arrives(way.push())


def test_reset_again_and_again(way: Way) -> None:
    """Each attempt brings it further, until it is there."""
    way.proxy.arm(Cut(1_000_000), "PUT|PATCH", UPLOAD, times=3)
    way.arrives(way.push())
    assert sum(way.sent()) == len(LAYER)


@pytest.mark.parametrize("settings", [IMPATIENT])
def test_killed_in_the_middle_of_a_blob(way: Way) -> None:
    """A daemon that is killed asks the upstream after its restart how far it came, and goes on from there.

    The kernel still sends what the dead daemon had written, for as long as it was told that a stall may take.
    """
    way.proxy.arm(Stall(HALF), "PUT|PATCH", UPLOAD)
    raw = way.push()
    until(lambda: HALF in way.sent(), "half of the blob is sent")
    way.daemon.kill()
    way.daemon.start()
    way.arrives(raw)
    assert sum(way.sent()) == len(LAYER)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [IMPATIENT])
def test_a_stall_in_a_blob(way: Way) -> None:
    """It is given up after a while without progress, and goes on where it stopped."""
    way.proxy.arm(Stall(HALF), "PUT|PATCH", UPLOAD)
    way.arrives(way.push())
    assert sum(way.sent()) == len(LAYER)


@pytest.mark.parametrize(
    "refusal", [Reply(404, JSON, b'{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}'), Reply(416)], ids=["404", "416"]
)
def test_an_upload_that_is_refused_when_it_goes_on(way: Way, refusal: Reply) -> None:
    """The refusal is of that upload and not of the blob, which is sent again and arrives."""
    way.proxy.arm(Cut(HALF), "PUT|PATCH", UPLOAD)
    way.proxy.arm(refusal, "PUT|PATCH", UPLOAD)
    way.arrives(way.push())
    assert len(way.sent()) == 3


def test_a_range_that_cannot_be(way: Way) -> None:
    """An upstream that claims to have more than there is gets the blob from its start."""
    way.proxy.arm(Cut(HALF), "PUT|PATCH", UPLOAD)
    way.proxy.arm(Rewrite("Range", lambda _: f"0-{len(LAYER) * 2}"), "GET", UPLOAD, times=None)
    way.arrives(way.push())


def test_another_host_keeps_the_upload(way: Way, registry: Registry) -> None:
    """It goes on at the host that the Location named, which still sees no credentials."""
    with Proxy(registry.host) as keeping, Proxy(keeping.host) as other:
        keeping.arm(Resumable(Wire(registry.url)), path=ANY_UPLOAD, times=None)
        moved = Rewrite("Location", lambda value: value.replace(way.proxy.url, other.url))
        way.proxy.arm(moved, "POST", BEGIN, times=None)
        other.arm(Cut(HALF), "PUT|PATCH", UPLOAD)
        way.arrives(way.push())
        assert sum(request.taken for request in other.requests) == len(LAYER)
        assert [request for request in other.requests if request.is_authorized] == []
