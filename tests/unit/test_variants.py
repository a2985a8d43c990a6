"""Variants: which images get one, how their manifests are written, and what they make way for."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mirror.core.ports import Recompressed
from mirror.core.progress import Progress
from mirror.core.variants.manifests import ARTIFACT_TYPE, PREFERRED, VARIANT_OF, Image, index, may_have_one, variant
from mirror.core.variants.modes import Mode, VariantRule, Wish, choose
from mirror.core.variants.quiet import Pace, Quiet, anyway
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest, Platform, parse_manifest
from mirror.oci.names import Digest, Repository, digest_of
from mirror.runtime import load
from tests.rig.images import MEDIA, MediaName
from tests.unit.clock import ManualClock

ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
BUILT_BY = {"org.example.builder": "ours"}


def described(name: str, media_type: str, **more: object) -> dict[str, Any]:
    """A descriptor of bytes that nobody has."""
    return {"mediaType": media_type, "digest": digest_of(name.encode()), "size": len(name), **more}


def image(media: MediaName = "oci", *, name: str = "", **more: object) -> Manifest:
    """An image with layers of gzip, one of them twice, one that says more of itself, and one that is plain."""
    kinds = MEDIA[media]
    about = {"containerd.io/snapshot/stargz/toc.digest": "sha256:0", "org.example.kind": "base"}
    layers = [
        described(f"base{name}", kinds.layer_type("gzip"), annotations=about),
        described("plain", kinds.layer),
        described("top", kinds.layer_type("gzip")),
        described("top", kinds.layer_type("gzip")),
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": kinds.manifest,
        "config": described(f"config{name}", kinds.config),
        "layers": layers,
        "annotations": BUILT_BY,
        **more,
    }
    return parse_manifest(json.dumps(document).encode())


def listing(*images: Manifest, more: tuple[dict[str, Any], ...] = ()) -> Manifest:
    """An index of images, each for a machine of its own."""
    entries = [
        {**entry(each), "platform": {"os": "linux", "architecture": f"arch{number}"}}
        for number, each in enumerate(images)
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, *more]}
    return parse_manifest(json.dumps(document).encode())


def entry(manifest: Manifest) -> dict[str, Any]:
    """What an index says of a manifest."""
    return {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.raw)}


def made_of(manifest: Manifest) -> dict[Digest, Recompressed]:
    """Something for each of its layers of gzip."""
    gzips = [layer for layer in manifest.layers if layer.media_type.endswith("gzip")]
    return {layer.digest: Recompressed(digest_of(layer.digest.encode()), 1, 9) for layer in gzips}


def variants_of(*images: Manifest, mode: Mode) -> dict[Digest, tuple[Image, Manifest]]:
    """A variant for each."""
    return {
        each.digest: (Image(each, Platform("linux", "arm64", "v8")), variant(each, made_of(each), mode))
        for each in images
    }


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("mode", Mode)
def test_an_image(media: MediaName, mode: Mode) -> None:
    """All but the layers of gzip is as it was, in the words of OCI; what is said of these stays, but where what is."""
    original = image(media)
    found = variant(original, made := made_of(original), mode)
    document = json.loads(found.raw)
    assert document["mediaType"] == OCI_MANIFEST == found.media_type
    assert document["config"] == described("config", MEDIA["oci"].config)
    base, plain, top, again = document["layers"]
    assert base == {"mediaType": ZSTD, **_bytes(made, "base"), "annotations": {"org.example.kind": "base"}}
    assert plain == described("plain", MEDIA["oci"].layer)
    assert top == again == {"mediaType": ZSTD, **_bytes(made, "top")}
    assert document["annotations"] == {**BUILT_BY, VARIANT_OF: original.digest}
    assert document.get("artifactType") == (ARTIFACT_TYPE if mode is Mode.REFERRER else None)
    assert document.get("subject") == (entry(original) if mode is Mode.REFERRER else None)
    assert variant(original, made, mode).raw == found.raw


def _bytes(made: dict[Digest, Recompressed], name: str) -> dict[str, Any]:
    blob = made[digest_of(name.encode())]
    return {"digest": blob.digest, "size": blob.size}


def test_an_index_of_one_image() -> None:
    """The original first, with its machine, then the variant, with what makes readers who know it prefer it."""
    original = image("docker")
    variants = variants_of(original, mode=Mode.INDEX)
    first, second = json.loads(index(original, variants, Mode.INDEX).raw)["manifests"]
    machine = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    assert first == {**entry(original), "platform": machine}
    made = variants[original.digest][1]
    assert second == {**entry(made), "platform": machine, "annotations": {PREFERRED: "true"}}


@pytest.mark.parametrize("mode", Mode)
def test_an_index_of_several(mode: Mode) -> None:
    """Of what has no variant the original stays; what is said about an original does not, unless that is there."""
    one, two, plain = image(name="1"), image(name="2"), image(name="3")
    about = {**described("provenance", OCI_MANIFEST), "annotations": {"vnd.docker.reference.digest": one.digest}}
    original = listing(one, two, plain, more=(about,))
    entries = json.loads(original.raw)["manifests"]
    variants = variants_of(one, two, mode=mode)
    made = [{**entries[number], **entry(variants[each.digest][1])} for number, each in enumerate((one, two))]
    document = json.loads(index(original, variants, mode).raw)
    assert document["annotations"] == {VARIANT_OF: original.digest}
    if mode is Mode.INDEX:
        assert document["manifests"] == [*entries, *({**each, "annotations": {PREFERRED: "true"}} for each in made)]
    else:
        assert document["manifests"] == [*made, entries[2]]
    assert document.get("subject") == (entry(original) if mode is Mode.REFERRER else None)


def test_what_may_have_one() -> None:
    """An image with a layer of gzip, or an index; not what is a variant, or says something about another manifest."""
    ours = image(annotations={VARIANT_OF: digest_of(b"")})
    about = image(subject=entry(image(name="1")))
    preferred = listing(image(), more=({**described("made", OCI_MANIFEST), "annotations": {PREFERRED: "true"}},))
    plain = parse_manifest(
        json.dumps({**json.loads(image().raw), "layers": [described("p", MEDIA["oci"].layer)]}).encode()
    )
    chart = image(config=described("chart", "application/vnd.cncf.helm.config.v1+json"))
    for mode in Mode:
        for has_tag in (True, False):
            can_be_found = has_tag or mode is Mode.REFERRER
            for manifest in (image(), image("docker"), listing(image())):
                assert may_have_one(manifest, mode, has_tag=has_tag) == can_be_found
            for manifest in (ours, about, preferred, plain, chart):
                assert not may_have_one(manifest, mode, has_tag=has_tag)


def test_rules() -> None:
    """The first one that fits counts, also if it wants nothing."""
    wish, other = Wish(Mode.INDEX), Wish(Mode.REFERRER, 9)
    rules = [
        VariantRule(("team/private/**",), None),
        VariantRule(("team/*", "other"), wish, frozenset({"registry.example.com"})),
        VariantRule(("**",), other),
    ]

    def chosen(path: str, registry: str = "registry.example.com") -> Wish | None:
        return choose(rules, Repository(registry, path))

    assert chosen("team/app") == chosen("other") == wish
    assert chosen("team/app", "elsewhere.example.com") == chosen("team/a/b") == other
    assert chosen("team/private/app") is None
    assert choose(rules[:2], Repository("elsewhere.example.com", "team/app")) is None


def test_what_is_more_urgent() -> None:
    """Pushes, unpackings, others on the processors."""
    counts = {"pushes": 0, "unpacks": 0}
    quiet = Quiet(lambda: counts["pushes"], lambda: counts["unpacks"], lambda: 0.5, 0.5)
    assert quiet.disturbed() == anyway() == ""
    quiet.most = 0.4
    assert quiet.disturbed() == "others on the processors"
    counts["unpacks"] = 1
    assert quiet.disturbed() == "an unpacking"
    counts["pushes"] = 1
    assert quiet.disturbed() == "a push"


async def _pieces(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield bytes(size)


async def test_the_pace() -> None:
    """Each piece has its turn; whether it is still wanted is asked once a second, also while it waits."""
    clock, asked, progress = ManualClock(), [0], Progress(of=10)
    disturbed = ["a push"]

    async def still() -> None:
        asked[0] += 1

    async def come_and_go() -> None:
        for _ in range(4):
            await clock.until_asleep(0.5)
            clock.advance(0.5)
        disturbed.clear()

    pace = Pace(clock, lambda: disturbed[0] if disturbed else "", still, progress)
    async with asyncio.TaskGroup() as group:
        group.create_task(come_and_go())
        passed = [len(piece) async for piece in pace.keep(_pieces(4, 4, 4), 10)]
    assert passed == [4, 4, 4]
    assert asked == [3]
    assert progress.done == 10
    await pace.turn()
    assert asked == [3]


def test_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nice, idle, or waits for a disk is free; guests are counted where they run."""
    stat = tmp_path / "stat"
    monkeypatch.setattr(load, "_STAT", stat)
    monkeypatch.setattr(load, "_EVERY", 0.0)
    stat.write_text("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1\n")
    processors = load.Processors()
    assert processors.share() == 0.2
    stat.write_text("cpu  20 100 20 110 20 5 5 10 5 0\n")
    assert processors.share() == 40 / 190
    assert processors.share() == 40 / 190
    stat.unlink()
    assert load.Processors().share() == 0.0
