"""An upstream at its worst: whatever it does, what was acknowledged gets there, or a person is told why not."""

import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.faults.way import BEGIN, HALF, LAYER, UPLOAD, Way, layer
from tests.rig.faults import Cut, CutAnswer, Fault, Reply, Rewrite, Stall
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until

MANIFEST = "/manifests/sha256:"
TAG = "/manifests/v1$"


@pytest.mark.parametrize("after", [0, 1, HALF, len(LAYER) - 1])
def test_reset_in_a_blob(way: Way, after: int) -> None:
    """An upstream that forgets uploads that broke, as docker-registry does, gets the blob from its start."""
    way.proxy.arm(Cut(after), "PUT|PATCH", UPLOAD)
    way.arrives(way.push())
    assert way.sent() == [after, len(LAYER)]


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/blobs/"), ("POST", BEGIN), ("PUT", MANIFEST), ("PUT", TAG)])
@pytest.mark.parametrize("fault", [Cut(0), Reply(500)])
def test_anything_that_breaks(way: Way, method: str, path: str, fault: Fault) -> None:
    """Whichever request it is that fails, and however: it is made again, and the blob is sent but once."""
    way.proxy.arm(fault, method, path, times=3)
    way.arrives(way.push())
    assert way.sent() == [len(LAYER)]
    assert len(way.proxy.seen(method, path)) > 3


@pytest.mark.parametrize(("did_it", "times_sent"), [(True, 1), (False, 2)])
def test_500_after_the_whole_blob(way: Way, *, did_it: bool, times_sent: int) -> None:
    """Whether the upstream has the blob is asked and not guessed: it is sent again only if it is missing."""
    way.proxy.arm(Reply(500, forward=did_it), "PUT|PATCH", UPLOAD)
    way.arrives(way.push())
    assert way.sent() == [len(LAYER)] * times_sent


@pytest.mark.parametrize("path", [UPLOAD, MANIFEST, TAG])
def test_an_answer_that_never_comes(way: Way, path: str) -> None:
    """The upstream did the work and the connection broke: the next attempt finds it done."""
    way.proxy.arm(CutAnswer(), "PUT", path)
    way.arrives(way.push())
    assert way.sent() == [len(LAYER)]


@pytest.mark.parametrize("path", [UPLOAD, MANIFEST, TAG])
def test_201_and_it_is_missing(way: Way, path: str) -> None:
    """A 201 is not believed: what is not there when asked for is sent again."""
    way.proxy.arm(Reply(201), "PUT", path)
    way.arrives(way.push())
    assert len(way.proxy.seen("PUT", path)) == 2


def test_429_with_retry_after(way: Way) -> None:
    """No request of the job comes before the time that the upstream asked for is over."""
    way.proxy.arm(Reply(429, {"Retry-After": "2"}), "PUT", MANIFEST)
    way.arrives(way.push())
    assert way.pause_after(429) >= 2  # a lower bound, which a slow machine can only keep the better


def _relative(location: str) -> str:
    url = urlsplit(location)
    return f"{url.path}?{url.query}"


@pytest.mark.parametrize("change", [_relative, str], ids=["relative", "absolute"])
def test_a_location_of_its_own(way: Way, change: Callable[[str], str]) -> None:
    """Relative or absolute, it is followed with the credentials."""
    way.proxy.arm(Rewrite("Location", change), times=None)
    way.arrives(way.push())
    assert [request.is_authorized for request in way.proxy.seen("PUT|PATCH", UPLOAD)] == [True]


def test_a_location_of_another_host(way: Way, registry: Registry) -> None:
    """The blob goes to the host that the upstream names, the credentials do not."""
    with Proxy(registry.host) as other:
        way.proxy.arm(
            Rewrite("Location", lambda value: value.replace(way.proxy.url, other.url)), "POST", BEGIN, times=None
        )
        way.arrives(way.push())
        assert sum(request.taken for request in other.requests) == len(LAYER)
        assert [request for request in other.requests if request.is_authorized] == []
        assert way.sent() == []


@pytest.mark.parametrize("fault", [Reply(404), Reply(416), Reply(204)], ids=["404", "416", "no Range"])
def test_no_range_support(way: Way, fault: Fault) -> None:
    """An upstream that does not say how far an upload has come gets the blob from its start."""
    way.proxy.arm(Cut(HALF), "PUT|PATCH", UPLOAD)
    way.proxy.arm(fault, "GET", UPLOAD, times=None)
    way.arrives(way.push())
    assert way.sent() == [HALF, len(LAYER)]


def test_killed_in_the_middle_of_a_blob(way: Way, registry: Registry) -> None:
    """An upstream that dies with half of a blob has all of it after its restart."""
    way.proxy.arm(Stall(HALF), "PUT|PATCH", UPLOAD)
    raw = way.push()
    until(lambda: way.sent() == [HALF], "half of the blob is sent")
    registry.kill()
    way.proxy.cut_all()
    registry.start()
    way.arrives(raw)


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "NAME_INVALID"), (403, "DENIED"), (404, "NAME_UNKNOWN"), (413, "SIZE_INVALID"), (415, "UNSUPPORTED")],
)
def test_a_refusal_for_good(way: Way, status: int, code: str) -> None:
    """It is not tried again: the operator is shown the upstream's own words, and the image is kept."""
    words = {"errors": [{"code": code, "message": f"ask the {code} team"}]}
    way.proxy.arm(Reply(status, {"Content-Type": "application/json"}, json.dumps(words).encode()), "POST", BEGIN)
    way.push()
    assert f"{status} {code}: ask the {code} team" in way.task("parked")["reason"]
    assert f"{status} {code}: ask the {code} team" in way.daemon.cli("status").stdout
    assert len(way.proxy.seen("POST", BEGIN)) == 1
    assert way.is_held()


def test_a_layer_that_vanished(way: Way, registry: Registry) -> None:
    """Taken out of containerd in an outage, by somebody who did not ask, and upstream neither: a person is told."""
    registry.kill()
    way.push()
    way.remove(LAYER)
    registry.start()
    assert way.task("parked")["reason"].startswith("lost: ")


def test_other_images_go_on(way: Way) -> None:
    """A job that is parked holds up no other."""
    way.proxy.arm(Reply(403), "POST", BEGIN)
    way.push()
    way.task("parked")
    other = layer(8)
    way.arrives(way.push(other, "v2"), other, "v2")
