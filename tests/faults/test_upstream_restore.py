"""Content that vanished from containerd while its job waited."""

from tests.faults.way import CONFIG, LAYER, REPOSITORY, Way, layer
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of, manifest


def test_a_layer_that_is_upstream(way: Way, registry: Registry) -> None:
    """It is taken back from the upstream, where an earlier image brought it, and the new image is whole here too."""
    way.arrives(way.push())
    registry.kill()
    wire, other = Wire(way.daemon.url), layer(8)
    wire.push_blob(REPOSITORY, other)
    raw = manifest(CONFIG, LAYER, other)
    assert wire.push_manifest(REPOSITORY, "v2", raw).status == 201
    way.remove(LAYER)
    registry.start()
    way.arrives(raw, other, "v2")
    until(lambda: digest_of(LAYER) in way.containerd.contents(), "the layer is back")
    assert way.containerd.content(digest_of(LAYER)) == LAYER


def test_a_manifest_that_is_upstream(way: Way, registry: Registry) -> None:
    """It is taken back from the upstream, which gets the tag that was acknowledged."""
    raw = way.push()
    way.arrives(raw)
    registry.kill()
    assert way.push(tag="v2") == raw
    way.remove(raw)
    registry.start()
    way.arrives(raw, tag="v2")


def test_a_manifest_that_is_nowhere(way: Way, registry: Registry) -> None:
    """A person is told what is lost."""
    registry.kill()
    raw = way.push()
    way.remove(raw)
    registry.start()
    reason = way.task("parked")["reason"]
    assert reason.startswith("lost: ")
    assert digest_of(raw) in reason
