"""What came for a push, and when its first byte did."""

import json

from mirror.core.timeline import Arrival, Arrivals, Blobs
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest, parse_manifest
from mirror.oci.names import Repository, digest_of
from tests.rig.wire import manifest

HERE, ELSEWHERE = Repository("r", "here"), Repository("r", "elsewhere")
HOUR = 3600.0


def came(arrivals: Arrivals, data: bytes, first: float, last: float, repository: Repository = HERE) -> None:
    """A blob was uploaded."""
    arrivals.note(repository, digest_of(data), Arrival(first, last, Blobs(1, len(data))))


def image(*blobs: bytes) -> Manifest:
    """A manifest of blobs."""
    return parse_manifest(manifest(*blobs))


def index(*images: Manifest) -> Manifest:
    """An index of images."""
    entries = [{"mediaType": OCI_MANIFEST, "digest": one.digest, "size": len(one.raw)} for one in images]
    return parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode())


def test_what_was_sent_and_what_was_here() -> None:
    """From the first byte of the first blob to the last of the last; what other repositories were sent is not its."""
    arrivals = Arrivals()
    came(arrivals, b"config", 12.0, 13.0)
    came(arrivals, b"layer", 10.0, 15.0)
    came(arrivals, b"other", 1.0, 2.0, ELSEWHERE)
    found = arrivals.of(HERE, image(b"config", b"layer", b"other"), 20.0)
    assert found == Arrival(10.0, 15.0, Blobs(2, 11), Blobs(1, 5))


def test_nothing_was_sent() -> None:
    """Then it begins with the manifest itself."""
    assert Arrivals().of(HERE, image(b"c"), 20.0) == Arrival(20.0, 20.0, Blobs(), Blobs(1, 1))


def test_what_a_push_took_in_is_not_the_next_ones() -> None:
    """The same image under another tag finds its blobs here; one that was looked for and refused took nothing."""
    arrivals = Arrivals()
    came(arrivals, b"config", 1.0, 2.0)
    first, second = (arrivals.of(HERE, image(b"config"), now) for now in (3.0, 4.0))
    assert first == second
    arrivals.take(HERE, image(b"config"), first)
    assert arrivals.of(HERE, image(b"config"), 5.0) == Arrival(5.0, 5.0, Blobs(), Blobs(1, 6))


def test_an_index_counts_with_its_images() -> None:
    """From the first byte of the first of them; what one of them found here was here."""
    arrivals, images = Arrivals(), [image(b"config 1"), image(b"config 2", b"here")]
    for number, one in enumerate(images, 1):
        came(arrivals, f"config {number}".encode(), number, number + 0.5)
        arrivals.take(HERE, one, arrivals.of(HERE, one, number + 0.7))
    assert arrivals.of(HERE, index(*images), 9.0) == Arrival(1.0, 2.5, Blobs(2, 16), Blobs(1, 4))


def test_what_came_long_ago_was_here() -> None:
    """And of more than can be remembered, the oldest is forgotten; a blob that comes again is the newest."""
    arrivals = Arrivals(most=2)
    for data, moment in ((b"a", 1.0), (b"b", 2.0), (b"a", 3.0), (b"c", 4.0)):
        came(arrivals, data, moment, moment)
    assert [arrivals.of(HERE, image(data), 5.0).sent.count for data in (b"a", b"b", b"c")] == [1, 0, 1]
    assert arrivals.of(HERE, image(b"c"), 7 * HOUR).sent.count == 0
