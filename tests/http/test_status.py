"""What a builder is told about what it pushed."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.http.conftest import OTHER
from tests.rig.registry import Registry
from tests.rig.sse import events
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of, manifest

REPOSITORY = "team/told"
SSE = {"Accept": "text/event-stream"}
PREFER = {"Prefer": "respond-async, wait=upstream", "Content-Type": "application/vnd.oci.image.manifest.v1+json"}


@pytest.fixture
def image(wire: Wire, request: pytest.FixtureRequest) -> bytes:
    """A manifest whose config is pushed and which is no other test's."""
    config = request.node.name.encode()
    wire.push_blob(REPOSITORY, config)
    return manifest(config)


@pytest.fixture
def paused(upstream: Registry) -> Iterator[Registry]:
    """The upstream, which answers nothing until the test resumes it."""
    upstream.pause()
    yield upstream
    upstream.resume()


def status(wire: Wire, reference: str, query: str = "") -> dict[str, object]:
    """Where something stands."""
    answer = wire.ask("GET", f"/v2/{REPOSITORY}/_mirror/status/{reference}{query}")
    assert answer.status == 200, answer
    found: dict[str, object] = json.loads(answer.body)
    return found


def moments(wire: Wire, reference: str) -> dict[str, Any]:
    """When it got how far."""
    found = status(wire, reference)["timeline"]
    assert isinstance(found, dict)
    return found


def test_from_the_push_to_the_upstream(wire: Wire, image: bytes, paused: Registry) -> None:
    """By tag and by digest; while the upstream does not answer it is replicating, and then replicated."""
    assert wire.push_manifest(REPOSITORY, "v1", image).status == 201
    until(lambda: status(wire, "v1")["bytes"], "the attempt has begun, and knows how much there is to send")
    assert status(wire, "v1")["phase"] == "replicating"
    until(lambda: "skipped" in str(status(wire, "v1")["unpack"]), "it turned out to be no image")
    assert status(wire, digest_of(image)) == status(wire, "v1")
    paused.resume()
    until(lambda: status(wire, "v1")["phase"] == "replicated", "it is upstream")
    told = status(wire, "v1")
    assert (told["image"], told["digest"]) == (f"{UPSTREAM}/{REPOSITORY}:v1", digest_of(image))
    assert (told["attempts"], told["reason"], told["next_try"], told["bytes"]) == (0, "", None, None)


def test_the_moments_of_a_push(wire: Wire) -> None:
    """From the first byte to the upstream, one after the other; the second tag found its blob here."""
    begun = time.time()
    wire.push_blob(REPOSITORY, b"moments")
    both = manifest(b"moments", b"moments")
    for tag in ("first", "second"):
        assert wire.push_manifest(REPOSITORY, tag, both).status == 201
    until(lambda: status(wire, "first")["phase"] == "replicated", "it is upstream")
    until(lambda: status(wire, "second")["phase"] == "replicated", "it is upstream, too")
    until(lambda: moments(wire, "first")["unpacked"], "there was nothing to unpack")
    first, second = moments(wire, "first"), moments(wire, "second")
    way = [first[name] for name in ("first_byte", "last_byte", "acknowledged", "replication_begun", "replicated")]
    in_order = [begun, *way, time.time()]
    assert in_order == sorted(in_order)
    assert first["acknowledged"] <= first["unpack_begun"] <= first["unpacked"]
    assert (first["sent"], first["present"]) == ({"blobs": 1, "bytes": 7}, {"blobs": 0, "bytes": 0})
    assert (second["sent"], second["present"]) == ({"blobs": 0, "bytes": 0}, {"blobs": 1, "bytes": 7})
    assert first["acknowledged"] <= second["first_byte"] == second["last_byte"] <= second["acknowledged"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{REPOSITORY}/_mirror/status/nobody-pushed-this", 404, "MANIFEST_UNKNOWN"),
        (f"{REPOSITORY}/_mirror/status/{digest_of(b'nor this')}", 404, "MANIFEST_UNKNOWN"),
        (f"{REPOSITORY}/_mirror/status/-tag", 400, "MANIFEST_INVALID"),
        ("UPPER/_mirror/status/v1", 400, "NAME_INVALID"),
        (f"{REPOSITORY}/_mirror/status/v1?ns=unknown.example.com", 404, "NAME_UNKNOWN"),
        (f"{REPOSITORY}/_mirror/manifests/v1", 400, "NAME_INVALID"),
    ],
)
def test_what_has_no_status(wire: Wire, path: str, status: int, code: str) -> None:
    """It is refused as a manifest of that name would be, also where events are asked for."""
    for headers in ({}, SSE):
        answer = wire.ask("GET", f"/v2/{path}", headers=headers)
        assert (answer.status, answer.code) == (status, code)


def test_one_registry_does_not_tell_of_another(wire: Wire, image: bytes) -> None:
    """A status is that of the registry that `ns=` names."""
    wire.push_manifest(REPOSITORY, "mine", image)
    assert status(wire, "mine", f"?ns={UPSTREAM}")
    assert wire.ask("GET", f"/v2/{REPOSITORY}/_mirror/status/mine?ns={OTHER}").status == 404


def test_events(wire: Wire, image: bytes, paused: Registry) -> None:
    """The first event says how it stands, and the stream ends with the last: replicated and unpacked."""
    wire.push_manifest(REPOSITORY, "followed", image)
    until(lambda: status(wire, "followed")["phase"] == "replicating", "the attempt has begun")
    phases = []
    with wire.stream(f"/v2/{REPOSITORY}/_mirror/status/followed", SSE) as stream:
        for event in events(stream):
            assert event.name == "status"
            phases.append(event.data["phase"])
            paused.resume()
    assert phases[0] == "replicating"
    assert phases[-1] == "replicated"
    assert event.data == status(wire, "followed")


def test_too_many_listeners(wire: Wire, image: bytes, paused: Registry) -> None:
    """A hundred streams at once are enough; one that hangs up makes room for another."""
    assert paused
    wire.push_manifest(REPOSITORY, "watched", image)
    path = f"/v2/{REPOSITORY}/_mirror/status/watched"
    streams = [wire.stream(path, SSE) for _ in range(100)]
    answer = wire.ask("GET", path, headers=SSE)
    assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
    assert wire.ask("GET", path).status == 200
    for stream in streams:
        stream.close()
    paused.resume()  # what it has to tell is what it finds them gone by
    until(lambda: wire.ask("GET", path, headers=SSE).status == 200, "there is room again")


def test_an_acknowledgement_that_waits(wire: Wire, image: bytes) -> None:
    """With `Prefer: wait=upstream` the 201 comes when the upstream has the image, under each of its tags."""
    path = f"/v2/{REPOSITORY}/manifests/{digest_of(image)}?tag=a&tag=b"
    answer = wire.ask("PUT", path, image, PREFER)
    assert (answer.status, answer.headers["Preference-Applied"]) == (201, "wait=upstream")
    assert answer.headers["Registry-Mirror-Status"] == "replicated"
    for reference in ("a", "b", digest_of(image)):
        assert status(wire, reference)["phase"] == "replicated"


def test_an_acknowledgement_that_waits_in_vain(wire: Wire, image: bytes, paused: Registry) -> None:
    """When the time is over it is a 201 all the same, which says how far the image is."""
    assert paused
    headers = PREFER | {"Prefer": "wait=upstream, wait=1"}
    answer = wire.ask("PUT", f"/v2/{REPOSITORY}/manifests/slow", image, headers)
    assert (answer.status, answer.headers["Preference-Applied"]) == (201, "wait=upstream")
    assert answer.headers["Registry-Mirror-Status"] in {"local", "replicating"}
    assert answer.headers["Docker-Content-Digest"] == digest_of(image)


def test_an_acknowledgement_that_nobody_wants_to_wait_for(wire: Wire, image: bytes, paused: Registry) -> None:
    """Without the preference it comes at once and says nothing of it."""
    assert paused
    answer = wire.ask("PUT", f"/v2/{REPOSITORY}/manifests/at-once", image, PREFER | {"Prefer": "wait=10"})
    assert answer.status == 201
    assert not {"Preference-Applied", "Registry-Mirror-Status"} & answer.headers.keys()
