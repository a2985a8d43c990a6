"""Other tools on the same store: what they make, move and remove is seen at once, and what they break is said."""

import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.faults.host import Host, Pushed
from tests.rig.images import Layout, build_image, busybox
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, finishing


def _refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


def test_the_lease_of_an_open_upload(host: Host) -> None:
    """Without it the bytes are collected: at its end the client is told to begin anew, and that works."""
    data = Pushed.fresh(1_000_000).layer
    location = host.wire.begin(host.repository)
    assert host.wire.ask("PATCH", location, data[:700_000]).status == 202
    host.remove_leases("upload/")
    answer = host.wire.ask("PUT", finishing(location, digest_of(data)), data[700_000:])
    assert _refused(answer) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert answer.error["detail"] == "what it held was removed from containerd"
    assert host.wire.ask("GET", location).status == 404
    host.wire.push_blob(host.repository, data)
    assert host.blob(data, "GET").body == data


def _remove_content(host: Host, image: Pushed) -> None:
    host.remove_content(*image.blobs)


def _remove_leases(host: Host, _: Pushed) -> None:
    host.remove_leases()


@pytest.mark.parametrize("remove", [_remove_content, _remove_leases])
def test_between_blobs_and_manifest(host: Host, remove: Callable[[Host, Pushed], None]) -> None:
    """The manifest is refused by the digest that is missing, which the client is not told is here any more."""
    image = Pushed.fresh()
    host.push_blobs(image)
    remove(host, image)
    answer = host.tag(image)
    assert _refused(answer) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert answer.error["detail"] == digest_of(image.config)
    assert [host.blob(blob).status for blob in image.blobs] == [404, 404]
    host.push(image)
    host.becomes("replicated")
    assert host.is_upstream(image)


@pytest.mark.parametrize("remove", [Host.remove_images, Host.remove_leases])
def test_what_one_of_two_still_holds(host: Host, remove: Callable[[Host], None]) -> None:
    """An acknowledged image has a name and a lease: removing all of one kind while it waits is no harm."""
    image = Pushed.fresh()
    host.registry.pause()
    host.push(image)
    remove(host)
    host.registry.resume()
    host.becomes("replicated")
    assert host.is_upstream(image)


@pytest.mark.parametrize("remove", [Host.remove_images, Host.remove_leases])
def test_what_one_of_two_still_holds_during_a_job(host: Host, remove: Callable[[Host], None]) -> None:
    """The same while its layer is being sent."""
    image = Pushed.fresh(1_000_000)
    with host.sending(image):
        remove(host)
    host.becomes("replicated")
    assert host.is_upstream(image)


def test_what_nothing_holds_any_more(host: Host) -> None:
    """A person is told by name what is lost; pushed again it arrives."""
    image = Pushed.fresh()
    host.registry.kill()
    host.push(image)
    host.remove_images()
    host.outage_is_noticed()
    host.remove_leases("job/")  # not before, as each attempt makes it again
    host.registry.start()
    reason = host.becomes("parked")["reason"]
    assert reason.startswith("lost: ")
    assert image.digest in reason
    host.push(image)
    host.becomes("replicated")
    assert host.is_upstream(image)


@pytest.mark.parametrize("elsewhere", [True, False], ids=["upstream", "nowhere"])
def test_a_layer_of_an_image_on_its_way(host: Host, *, elsewhere: bool) -> None:
    """It is brought back from the upstream if an earlier image took it there; else a person is told that it is lost."""
    image = Pushed.fresh()
    if elsewhere:
        host.push(Pushed(Pushed.fresh().config, image.layer), "earlier")
        host.becomes("replicated", "earlier")
    host.registry.kill()
    host.push(image)
    host.remove_content(image.layer)
    host.registry.start()
    if elsewhere:
        host.becomes("replicated")
        assert host.is_here(image)
        assert host.is_upstream(image)
    else:
        assert digest_of(image.layer) in host.becomes("parked")["reason"]
        assert host.registry.manifest(host.repository, "v1") is None


def test_what_nothing_holds_any_more_during_a_job(host: Host) -> None:
    """What was sent of its layer is not the layer, so a person is told, and the tag is not there."""
    image = Pushed.fresh(1_000_000)
    with host.sending(image):
        host.remove_images()
        host.remove_leases("job/")
        assert host.is_gone(image)
    assert host.becomes("parked")["reason"].startswith("lost: ")
    assert host.registry.manifest(host.repository, "v1") is None


def test_tags_made_moved_and_removed(host: Host) -> None:
    """They are served and listed as they are in containerd at that moment."""
    first, second = Pushed.fresh(), Pushed.fresh()
    host.push(first, "v1")
    host.push(second, "v2")
    host.containerd.ctr("images", "tag", host.name("v1"), host.name("latest"))
    assert host.manifest("latest", "GET").body == first.raw
    assert host.tags() == ["latest", "v1", "v2"]
    host.containerd.ctr("images", "tag", "--force", host.name("v2"), host.name("latest"))
    assert host.manifest("latest").headers["Docker-Content-Digest"] == second.digest
    host.containerd.ctr("images", "rm", host.name("latest"))
    assert host.manifest("latest").status == 404
    assert host.tags() == ["v1", "v2"]


def test_all_names_are_removed(host: Host) -> None:
    """As kubelet does it when the disk is full: the image is gone for builders too, and can be pushed again."""
    image = Pushed.fresh()
    host.push(image)
    host.settled()
    host.remove_images()
    until(lambda: host.is_gone(image), "nothing holds it")
    assert [host.manifest(reference, "GET").status for reference in ("v1", image.digest)] == [404, 404]
    assert host.tags() == []
    assert [host.blob(blob).status for blob in image.blobs] == [404, 404]
    host.push(image)
    assert host.manifest("v1", "GET").body == image.raw
    assert host.is_here(image)


def _import(host: Host, layout: Layout, archive: Path) -> None:
    """Put an image into containerd under a name of ours, as `ctr images import` or a pull does."""
    with tarfile.open(archive, "w") as tar:
        tar.add(layout.directory, ".")
    host.containerd.ctr("images", "import", "--no-unpack", "--base-name", host.name().rpartition(":")[0], str(archive))


def _statuses(answers: Iterable[Answer]) -> list[int]:
    return [answer.status for answer in answers]


def test_an_image_that_the_host_had(host: Host, directory: Path) -> None:
    """It does not exist for builders, neither its name nor a blob, until somebody pushes the very bytes of it."""
    layout = build_image(directory / "layout", [busybox(host.repository)])
    blobs = [layout.blob(child.digest).read_bytes() for child in layout.children]
    _import(host, layout, directory / "archive")
    assert host.containerd.images()[host.name()] == layout.digest
    for method in ("HEAD", "GET"):
        assert _statuses(host.manifest(reference, method) for reference in ("v1", layout.digest)) == [404, 404]
        assert _statuses(host.blob(blob, method) for blob in blobs) == [404] * len(blobs)
    assert _refused(host.wire.push_manifest(host.repository, "v2", layout.manifest)) == (404, "MANIFEST_BLOB_UNKNOWN")
    mount = f"/v2/{host.repository}/blobs/uploads/?mount={digest_of(blobs[0])}"
    assert host.wire.ask("POST", mount).status == 202
    Wire(host.daemon.url).push(host.repository, "v1", layout)
    assert host.manifest("v1", "GET").body == layout.manifest
    assert host.tags() == ["v1"]
    host.becomes("replicated")


def test_a_tag_to_what_was_never_pushed(host: Host, directory: Path) -> None:
    """A repository that holds something has no such tag either; its own manifests are served by any name."""
    layout, image = build_image(directory / "layout", [busybox(host.repository)]), Pushed.fresh()
    _import(host, layout, directory / "archive")
    host.push(image, "v2")
    assert host.tags() == ["v2"]
    assert host.manifest("v1").status == 404
    host.containerd.ctr("images", "tag", "--force", host.name("v2"), host.name("v1"))
    assert host.manifest("v1", "GET").body == image.raw
    assert f"{UPSTREAM}/{host.repository}:v1" in host.containerd.images()
