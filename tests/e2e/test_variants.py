"""When images get a variant, when they do not, and what there is of it then."""

import gzip
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.faults import HoldAnswer
from tests.rig.images import (
    MEDIA,
    Descriptor,
    File,
    Layer,
    Layout,
    MediaName,
    Noise,
    Platform,
    Text,
    build_image,
    build_index,
    busybox,
)
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of

ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
VARIANT_OF = "vnd.registry-mirror.variant-of"
PREFERRED = "io.github.containers.compression.zstd"
MIB = 1 << 20


@dataclass(frozen=True)
class Host:
    """A daemon that makes variants, its containerd and its upstream, and a repository that no other test has."""

    daemon: Daemon
    containerd: Containerd
    registry: Registry
    repository: str

    @property
    def name(self) -> str:
        """The repository, as images are called."""
        return f"{UPSTREAM}/{self.repository}"

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under a name."""
        return [line for line in self.daemon.log_lines() if line["event"] == name]

    def push(self, layout: Layout, tag: str = "v1", repository: str = "") -> str:
        """Push an image, or an index with the images in it."""
        repository = repository or self.repository
        wire = Wire(self.daemon.url)
        for child in layout.children:
            if "manifest" not in child.media_type:
                wire.push_blob(repository, layout.blob(child.digest).read_bytes())
        for child in layout.children:
            if "manifest" in child.media_type:
                raw = layout.blob(child.digest).read_bytes()
                assert wire.push_manifest(repository, child.digest, raw, child.media_type).status == 201
        assert wire.push_manifest(repository, tag, layout.manifest, layout.top.media_type).status == 201
        return layout.digest

    def made(self, number: int = 1) -> list[dict[str, Any]]:
        """The variants that were made, once there are so many and they are upstream."""
        found = until(
            lambda: variants if len(variants := self.events("variant.made")) >= number else None,
            "there is a variant",
            15,
        )
        for each in found:
            self.daemon.wait(each["variant"], "replicated")
            self.daemon.wait(each["variant"], "unpacked")
        return found

    def skipped(self, number: int = 1) -> str:
        """Why the last of so many conversions made nothing."""

        def over() -> list[dict[str, Any]]:
            ended = [line for line in self.events("task.finished") if line["kind"] == "convert"]
            return ended if len(ended) >= number else []

        last = until(over, "it is over")[-1]
        assert last["state"] == "skipped"
        reason: str = last["reason"]
        return reason

    def manifest(self, reference: str, repository: str = "") -> dict[str, Any]:
        """What the upstream has."""
        stored = self.registry.manifest(repository or self.repository, reference)
        assert stored
        document: dict[str, Any] = json.loads(stored.raw)
        return document

    def change(self, setting: str, other: str) -> None:
        """Have the daemon go over to another setting."""
        before = len(self.events("daemon.reloaded"))
        self.daemon.config.write_text(self.daemon.config.read_text().replace(setting, other))
        os.kill(self.daemon.pid, signal.SIGHUP)
        until(lambda: len(self.events("daemon.reloaded")) > before, "it is read")

    def is_clean(self) -> bool:
        """Whether nothing of a conversion is left, not even what only its leases held."""
        self.containerd.collect_garbage()
        held = {name for name in self.containerd.leases() if "/made-" in name or "/job/" in name}
        return not held | self.containerd.ingests()


TENANTS: dict[str, dict[str, object]] = {
    "identity": {"networks": {"127.0.0.0/8": "acme"}},
    "rules": {"all": {"tenants": ["*"]}},
}
"""Callers are told apart, so that what they push is looked at more closely."""


@contextmanager
def converting(
    directory: Path,
    containerd: Containerd,
    registry: Registry,
    *,
    upstream: str = "",
    load: float = 1.0,
    more: Mapping[str, dict[str, object]] | None = None,
    **rule: object,
) -> Iterator[Host]:
    """A host whose daemon has such a rule, and more settings."""
    variants = {"load": load, "rules": {"all": {"mode": "tag-suffix", "gain": 0, **rule}}}
    settings: dict[str, dict[str, object]] = {"variants": variants, **(more or {})}
    upstreams = {UPSTREAM: upstream or registry.url}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
        yield Host(daemon, containerd, registry, f"team/{directory.name}")
        assert not daemon.complaints()
        # What a tag does not lead to any more goes at the next look.
        findings = daemon.cli("check", "--json").stdout.splitlines()
        assert {json.loads(finding)["kind"] for finding in findings} <= {"stale grants"}


@pytest.fixture
def host(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Host]:
    """One that makes a variant under another tag, of everything."""
    with converting(directory, containerd, registry) as host:
        yield host


def image(directory: Path, *more: Layer, media: MediaName = "oci") -> Layout:
    """An image that can run, and that no other test has."""
    return build_image(directory / "layout", [busybox(directory.name), *more], media=media)


@pytest.mark.parametrize("media", MEDIA)
def test_the_manifest(host: Host, directory: Path, media: MediaName) -> None:
    """It has the same config, in the words of OCI, and only layers of gzip are others; the original is as it was."""
    layout = image(directory, Layer([File("plain", b"p" * 1000)], "none"), Layer([Text("text", MIB)]), media=media)
    host.push(layout)
    (made,) = host.made()
    document, original = host.manifest("v1-zstd"), json.loads(layout.manifest)
    assert document["mediaType"] == MEDIA["oci"].manifest
    assert document["annotations"] == {VARIANT_OF: layout.digest}
    assert document["config"] == {**original["config"], "mediaType": MEDIA["oci"].config}
    first, plain, last = document["layers"]
    assert first["mediaType"] == last["mediaType"] == ZSTD
    assert plain == {**original["layers"][1], "mediaType": MEDIA["oci"].layer}
    assert made["after"] == first["size"] + last["size"] < made["before"]
    stored = host.registry.manifest(host.repository, "v1")
    assert stored
    assert (stored.raw, stored.media_type) == (layout.manifest, layout.top.media_type)
    assert host.containerd.images()[f"{host.name}:v1"] == layout.digest
    assert host.containerd.run_container(f"{host.name}:v1-zstd").strip() == directory.name
    # What it unpacks to is known; nothing is unpacked once more.
    unpacked = [line["layer"] for line in host.events("layer.unpacked")]
    assert not {first["digest"], last["digest"]} & set(unpacked)
    until(host.is_clean, "nothing is left of it")


@pytest.mark.parametrize("more", [{}, TENANTS], ids=["open", "tenants"])
@pytest.mark.parametrize("mode", ["tag-suffix", "referrer", "index"])
def test_an_index(
    directory: Path, containerd: Containerd, registry: Registry, mode: str, more: Mapping[str, dict[str, object]]
) -> None:
    """Each image of it gets a variant, for the same platform, and there is a way to all of them."""
    platforms = [Platform(), Platform("riscv64")]
    images = {target: [busybox(f"{directory.name} {target.architecture}")] for target in platforms}
    layout = build_index(directory / "layout", images)
    originals = json.loads(layout.manifest)["manifests"]
    with converting(directory, containerd, registry, mode=mode, more=more) as host:
        host.push(layout)
        # With referrers the images have their own, which they get as soon as they are upstream.
        top = host.made(3 if mode == "referrer" else 1)[-1]
        document = host.manifest(top["manifest"])
        assert document["annotations"][VARIANT_OF] == layout.digest
        entries = document["manifests"]
        if mode == "index":
            assert containerd.images()[f"{host.name}@{layout.digest}"] == layout.digest
            assert entries[:2] == originals
            entries = entries[2:]
            assert all(entry.pop("annotations") == {PREFERRED: "true"} for entry in entries)
        assert [entry["platform"] for entry in entries] == [entry["platform"] for entry in originals]
        for entry, original in zip(entries, originals, strict=True):
            child = host.manifest(entry["digest"])
            assert child["annotations"] == {VARIANT_OF: original["digest"]}
            assert child["config"] == host.manifest(original["digest"])["config"]
            assert {layer["mediaType"] for layer in child["layers"]} == {ZSTD}
            assert child.get("subject", {}).get("digest") == (original["digest"] if mode == "referrer" else None)
        until(host.is_clean, "nothing is left of it")


def test_a_layer_is_converted_once(host: Host, directory: Path) -> None:
    """Whatever image and repository it is pushed to; one that was converted, and is gone since, once more."""
    base = [busybox(directory.name), Layer([Text("base", MIB)])]
    first = build_image(directory / "first", base)
    second = build_image(directory / "second", [*base, Layer([Text("more", MIB)])])
    host.push(first)
    host.push(second, repository=f"{host.repository}/other")
    host.made(2)
    new = json.loads(second.manifest)["layers"][2]["digest"]
    converted = [line["layer"] for line in host.events("layer.converted")]
    assert sorted(converted) == sorted({layer["digest"] for layer in json.loads(second.manifest)["layers"]})
    assert new in converted
    layers = host.manifest("v1-zstd")["layers"]
    assert host.manifest("v1-zstd", f"{host.repository}/other")["layers"][:2] == layers
    for name in [name for name in host.containerd.images() if directory.name in name]:
        host.containerd.ctr("images", "rm", "--sync", name)
    host.push(second)
    host.made(3)
    assert host.manifest("v1-zstd")["layers"][:2] == layers


def test_what_does_not_pay(directory: Path, containerd: Containerd, registry: Registry) -> None:
    """It is tried once, and nothing of it stays."""
    with converting(directory, containerd, registry, gain=5) as host:
        layout = build_image(directory / "layout", [Layer([Noise("noise", MIB), File("own", directory.name.encode())])])
        before = containerd.contents()
        host.push(layout)
        assert "smaller, and not 5%" in host.skipped()
        until(host.is_clean, "nothing is left of it")
        assert containerd.contents() - before == {layout.digest, *(child.digest for child in layout.children)}
        host.push(layout, "v2")
        assert "smaller, and not 5%" in host.skipped(2)
        assert len(host.events("layer.converted")) == 1
        assert registry.tags(host.repository) == {"v1", "v2"}


def damaged(layout: Layout, data: bytes) -> Layout:
    """The same image with other bytes for its last layer."""
    manifest = json.loads(layout.manifest)
    last = manifest["layers"][-1]
    old = last["digest"]
    last.update(digest=digest_of(data), size=len(data))
    raw = json.dumps(manifest).encode()
    for blob in (data, raw):
        layout.blob(digest_of(blob)).write_bytes(blob)
    children = [
        replace(child, digest=last["digest"], size=len(data)) if child.digest == old else child
        for child in layout.children
    ]
    return replace(layout, top=Descriptor(layout.top.media_type, digest_of(raw), len(raw)), children=children)


def test_bad_layers(host: Host, directory: Path) -> None:
    """Each is refused with its reason and leaves nothing behind; the original goes on untouched."""
    layout = image(directory, Layer([Text("text", MIB)]))
    good = layout.blob(layout.children[-1].digest).read_bytes()
    bad = {
        "cut off": good[: len(good) // 2],
        "gzip: ": good[:20_000] + bytes(100) + good[20_100:],
        "its config says": gzip.compress(b"something else" * 1000),
        "bytes inside": gzip.compress(bytes(200 * MIB)),
    }
    for number, (reason, data) in enumerate(bad.items(), 1):
        own = damaged(layout, data)
        host.push(own, f"v{number}")
        assert reason in host.skipped(number)
        host.daemon.wait(f"{host.name}:v{number}", "replicated")
        stored = host.registry.manifest(host.repository, f"v{number}")
        assert stored
        assert stored.raw == own.manifest
        assert host.registry.blob(host.repository, digest_of(data)) == data
        until(host.is_clean, "nothing is left of it")
    assert len(host.events("variant.refused")) == len(bad)
    assert host.registry.tags(host.repository) == {f"v{number}" for number in range(1, len(bad) + 1)}
    zstd = {line["blob"] for line in host.events("layer.converted")}
    assert not zstd & host.containerd.contents()


def test_a_tag_of_somebody_else(host: Host, directory: Path) -> None:
    """It stays what it is."""
    layout = image(directory, Layer([Text("text", MIB)]))
    plain = build_image(directory / "plain", [busybox(directory.name, "none")])
    host.push(plain, "v1-zstd")
    host.push(layout)
    assert host.skipped() == "the tag v1-zstd is not of a variant"
    host.daemon.wait(f"{host.name}:v1", "replicated")
    assert host.containerd.images()[f"{host.name}:v1-zstd"] == plain.digest
    until(host.is_clean, "nothing is left of it")


def test_it_makes_way(host: Host, directory: Path) -> None:
    """While somebody pushes nothing is converted; and it is given up once the tag moves on."""
    wire = Wire(host.daemon.url)
    first = image(directory, Layer([Text("text", MIB)]))
    second = build_image(directory / "second", [busybox(f"{directory.name} second")])
    location = wire.begin(host.repository)

    def slowly() -> Iterator[bytes]:
        """A body that goes on until there is something to wait for, and a later push."""
        yield b"x"
        host.push(first)
        (waits,) = until(lambda: host.events("variant.waits"), "it waits")
        assert waits["reason"] == "a push"
        host.push(second)
        assert not host.events("layer.converted")
        yield b"y"

    answer = wire.ask("PATCH", location, slowly())
    assert answer.status == 202
    (made,) = host.made()
    wire.ask("DELETE", answer.headers["Location"])
    moved = [line["image"] for line in host.events("task.finished") if line["reason"] == "the tag has moved on"]
    assert moved == [f"{host.name}:v1"]
    assert host.manifest(made["manifest"])["annotations"][VARIANT_OF] == second.digest


def test_originals_go_first(directory: Path, containerd: Containerd, registry: Registry) -> None:
    """A variant waits on its way for those of other images, and no original waits for it: not that of its own tag."""
    elsewhere, released = build_image(directory / "other", [busybox(f"{directory.name} other")]), threading.Event()
    with (
        Proxy(registry.host) as proxy,
        converting(directory, containerd, registry, mode="index", upstream=proxy.url) as host,
        ExitStack() as at_the_end,
    ):
        at_the_end.callback(released.set)
        proxy.arm(HoldAnswer(0, released), "HEAD", elsewhere.children[-1].digest)
        host.push(elsewhere, repository=f"{host.repository}/other")
        until(lambda: proxy.seen("HEAD", elsewhere.children[-1].digest), "an original is on its way")
        host.push(image(directory, Layer([Noise("noise", 30 * MIB)])))
        (made,) = until(lambda: host.events("variant.made"), "there is a variant", 15)
        until(lambda: proxy.seen("POST", f"{host.repository}/blobs/uploads/")[3:], "it is on its way")
        again = build_image(directory / "again", [busybox(f"{directory.name} again")])
        host.push(again)
        host.daemon.wait(f"{host.name}@{again.digest}", "replicated")
        assert not registry.manifest(host.repository, made["manifest"])
        moved = [line["image"] for line in host.events("task.finished") if line["reason"] == "the tag has moved on"]
        assert moved == [f"{host.name}:v1"]
        released.set()
        until(lambda: len(host.events("variant.made")) == 3, "the others get theirs", 15)
        for line in host.events("variant.made")[1:]:
            host.daemon.wait(line["variant"], "replicated")
        until(host.is_clean, "nothing is left of it")


def test_others_on_the_processors(directory: Path, containerd: Containerd, registry: Registry) -> None:
    """It waits for them, and a change of the settings counts at once; so does that nothing is wanted any more."""
    with converting(directory, containerd, registry, load=0.0) as host:
        host.push(image(directory, Layer([Text("text", MIB)])))
        (waits,) = until(lambda: host.events("variant.waits"), "it waits")
        assert waits["reason"] == "others on the processors"
        assert host.daemon.cli("jobs", "list").stdout.count("convert") == 1
        done = host.daemon.cli("convert", f"{host.name}:v1")  # a person does not wait for them
        assert done.stdout.startswith(f"{host.name}:v1-zstd"), done.stderr
        host.change('"load" = 0.0', '"load" = 1.0')
        host.made(2)
        assert len(host.events("layer.converted")) == 2
        host.change('"load" = 1.0', '"load" = 0.0')
        host.push(build_image(directory / "third", [busybox(f"{directory.name} third")]), "v3")
        until(lambda: len(host.events("variant.waits")) > 1, "it waits again")
        host.change('"tag-suffix"', '"off"')
        host.push(build_image(directory / "second", [busybox(f"{directory.name} second")]), "v2")
        host.daemon.wait(f"{host.name}:v2", "replicated")
        assert host.skipped(2) == "no variant is wanted of it any more"
        assert json.loads(host.daemon.cli("jobs", "list", "--json").stdout)["tasks"] == []
        # The one that made way was begun twice; of the last image none was.
        begun = [line["image"] for line in host.events("task.started") if line["kind"] == "convert"]
        assert begun == [f"{host.name}:v1", f"{host.name}:v1", f"{host.name}:v3"]


def test_it_is_given_up_by_hand(directory: Path, containerd: Containerd, registry: Registry) -> None:
    """One that waits is cancelled at once, and stays it; the original is as it was."""
    with converting(directory, containerd, registry, load=0.0) as host:
        host.push(image(directory, Layer([Text("text", MIB)])))
        (waits,) = until(lambda: host.events("variant.waits"), "it waits")
        job = str(waits["job"])
        done = host.daemon.cli("jobs", "cancel", job)
        assert (done.returncode, done.stdout) == (0, f"{job}: convert cancelled\n"), done
        (over,) = until(
            lambda: [line for line in host.events("task.finished") if line["kind"] == "convert"], "it is over"
        )
        assert (over["state"], over["reason"]) == ("cancelled", "cancelled by the operator")
        until(host.is_clean, "nothing is left of it")
        done = host.daemon.cli("jobs", "cancel", job)
        assert "nothing to cancel: convert cancelled, replicate done, unpack done" in done.stdout
        host.daemon.wait(f"{host.name}:v1", "replicated")
        assert not host.events("layer.converted")


def test_by_hand(directory: Path, containerd: Containerd, registry: Registry, daemon: Daemon) -> None:
    """A person gets it at once, and as asked for, also where the settings want none."""
    host = Host(daemon, containerd, registry, f"team/{directory.name}")
    layout = image(directory, Layer([Text("text", 4 * MIB)]))
    host.push(layout)
    daemon.wait(f"{host.name}:v1", "replicated")
    done = daemon.cli("convert", f"{host.name}:v1", "--level", "9", "--json")
    made = json.loads(done.stdout)
    assert (made["variant"], made["bytes"]["before"] > made["bytes"]["after"]) == (f"{host.name}:v1-zstd", True)
    daemon.wait(made["variant"], "replicated")
    assert host.manifest("v1-zstd")["annotations"] == {VARIANT_OF: layout.digest}
    for mode, found_by in (("referrer", f"{host.name}@sha256:"), ("index", f"{host.name}:v1: ")):
        done = daemon.cli("convert", f"{host.repository}:v1", "--level", "9", "--mode", mode)
        assert done.stdout.startswith(found_by)
        assert done.stdout.endswith("% smaller\n")
    assert len(host.events("layer.converted")) == 2
    refused = {
        f"{host.name}:v1": "nothing to convert in it for the mode tag-suffix",  # it is an index that has both now
        f"{host.name}:v1-zstd": "nothing to convert",
        f"{host.name}:nothing": "nothing",
        f"{host.name}@{layout.digest}": "nothing to convert in it for the mode tag-suffix",
    }
    for reference, reason in refused.items():
        done = daemon.cli("convert", reference)
        assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    until(host.is_clean, "nothing is left of it")
