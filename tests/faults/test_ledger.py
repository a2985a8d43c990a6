"""What holds what: from its first byte until something refers to it, nothing that was said to be here is collected."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.host import Host, Pushed
from tests.rig.until import until
from tests.rig.wire import digest_of, finishing


def test_an_upload_that_is_open(host: Host) -> None:
    """Its bytes are held by the lease of the session, whether their stream is open or the daemon was killed since."""
    data = Pushed.fresh(1_000_000).layer
    location = host.wire.begin(host.repository)
    host.containerd.collect_garbage()
    for start in (0, 400_000):
        assert host.wire.ask("PATCH", location, data[start : start + 400_000]).status == 202
        host.containerd.collect_garbage()
    host.daemon.kill()
    host.containerd.collect_garbage()
    host.daemon.start()
    assert host.wire.ask("PUT", finishing(location, digest_of(data)), data[800_000:]).status == 201
    assert host.blob(data, "GET").body == data


def test_a_blob_before_its_manifest(host: Host) -> None:
    """It is held by the lease of its upload, and by the image from then on."""
    image = Pushed.fresh()
    host.push_blobs(image)
    host.containerd.collect_garbage()
    assert host.tag(image).status == 201
    host.settled()
    host.containerd.collect_garbage()
    assert host.is_here(image)
    assert not host.leases("upload/")


def test_a_blob_that_was_mounted(host: Host) -> None:
    """It is held by a lease of its own, even if all names of where it was mounted from are removed."""
    image, other = Pushed.fresh(), f"{host.repository}/other"
    host.push(image)
    host.settled()
    for blob in image.blobs:
        mount = f"/v2/{other}/blobs/uploads/?mount={digest_of(blob)}&from={host.repository}"
        assert host.wire.ask("POST", mount).status == 201
    host.remove_images()
    assert host.tag(image, repository=other).status == 201


def test_a_blob_that_a_builder_was_told_of(host: Host) -> None:
    """A HEAD answers that it is here, so it is not pushed: it is still here when the manifest comes."""
    image = Pushed.fresh()
    host.push(image)
    host.settled()
    assert [host.blob(blob).status for blob in image.blobs] == [200, 200]
    host.remove_images()
    assert host.tag(image, "v2").status == 201
    host.becomes("replicated", "v2")


def test_a_manifest_that_a_builder_was_told_of(host: Host) -> None:
    """It is still here, with all below it, when the index comes that names it."""
    told, untold = Pushed.fresh(), Pushed.fresh()
    for image in (told, untold):
        host.push(image, image.digest)
        host.settled(image.digest)
    assert host.manifest(told.digest).status == 200
    host.remove_images()
    until(lambda: host.is_gone(untold), "nothing holds what nobody was told of")
    host.push_index(told)
    host.becomes("replicated")
    host.containerd.collect_garbage()
    assert host.is_here(told)


def test_a_manifest_before_its_index(host: Host) -> None:
    """It is held by its own image record, and by its job if that is removed; then by the index."""
    image = Pushed.fresh()
    host.registry.pause()
    host.push(image, image.digest)
    assert host.containerd.images()[host.name(image.digest)] == image.digest
    host.remove_images()
    host.push_index(image)
    host.registry.resume()
    for reference in (image.digest, "v1"):
        host.settled(reference)
    host.containerd.collect_garbage()
    assert host.is_here(image)
    assert host.is_upstream(image, image.digest)


def test_an_image_before_it_is_upstream(host: Host) -> None:
    """It is held by its job, whatever becomes of its names."""
    image = Pushed.fresh()
    host.registry.pause()
    host.push(image)
    host.remove_images()
    assert host.is_here(image)
    host.registry.resume()
    host.becomes("replicated")
    assert host.is_upstream(image)


@contextmanager
def _collected_all_the_time(host: Host) -> Iterator[None]:
    over = threading.Event()

    def collect() -> None:
        while not over.is_set():
            host.containerd.collect_garbage()

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        yield
    finally:
        over.set()
        collector.join()


def test_collected_all_the_time(host: Host) -> None:
    """Pushes of a builder that skips what is here, each of whose images takes the layer of the last, and its name."""
    image = Pushed.fresh()
    host.push(image)
    with _collected_all_the_time(host):
        for _ in range(20):
            image = Pushed(Pushed.fresh().config, image.layer)
            for blob in image.blobs:
                if host.blob(blob).status == 404:
                    host.wire.push_blob(host.repository, blob)
            host.containerd.ctr("images", "rm", host.name())
            assert host.tag(image).status == 201
    host.settled()
    assert host.is_upstream(image)
