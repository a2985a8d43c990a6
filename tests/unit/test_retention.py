"""Which images go, in which order and why: the rules one by one, and what always holds."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.core.retention import Going, Held, Pin, Rules, Wish, families, plan
from mirror.oci.names import Digest, Repository, digest_of

NOW = 1_000_000.0
DAY = 86400.0
APP = Repository("registry.example.com", "team/app")
OTHER = Repository("registry.example.com", "team/other")
NOTHING = Wish()
ALL = Wish(everything=True)


def digest(name: str) -> Digest:
    """The digest that stands for a name."""
    return digest_of(name.encode())


def held(  # noqa: PLR0913 - each by name, and most of them left out
    reference: str,
    *,
    manifest: str = "",
    below: Iterable[str] = (),
    blobs: Iterable[str] = (),
    about: str = "",
    idle: float = 2 * DAY,
    pushed: int = 1,
    pins: Iterable[Pin] = (),
    repository: Repository = APP,
) -> Held:
    """An image record: a tag, or `@` and the name of a manifest; every blob has 100 bytes, every manifest 1."""
    tag = None if reference.startswith("@") else reference
    own = digest(manifest or reference.removeprefix("@"))
    manifests = {own, *map(digest, below)}
    return Held(
        name=f"{repository}{'@' if tag is None else ':'}{own if tag is None else tag}",
        repository=repository,
        tag=tag,
        digest=own,
        pushed=pushed,
        used=NOW - idle,
        content=dict.fromkeys(manifests, 1) | {digest(blob): 100 for blob in blobs},
        manifests=frozenset(manifests),
        subject=digest(about) if about else None,
        pins=frozenset(pins),
    )


def run(images: list[Held], rules: Rules = Rules(), wish: Wish = NOTHING) -> list[Going]:  # noqa: B008 - it is frozen
    """What goes."""
    return plan(families(images, rules, NOW), rules, NOW, wish)


def names(going: Iterable[Going]) -> list[str]:
    """The references of what goes, in order: tags, or what names the digest."""
    return [image.tag or image.digest for one in going for image in one.images]


def test_nothing_goes_by_default() -> None:
    """Without a limit all stays, however old."""
    assert run([held("v1", idle=1000 * DAY), held("@lost", idle=1000 * DAY)]) == []


def test_the_newest_tags_stay() -> None:
    """Those that were pushed last, in each repository by itself, whenever they were used."""
    images = [held(f"v{n}", pushed=n, idle=n * DAY) for n in (1, 2, 3, 4)]
    images += [held("v1", pushed=1, repository=OTHER)]
    assert names(run(images, Rules(tags=2))) == ["v2", "v1"]
    assert run(images, Rules(tags=2))[0].reason == "2 tags of its repository are newer"


def test_age_counts_from_the_last_use() -> None:
    """Of the image, or of anything that belongs to it."""
    images = [
        held("old", idle=5 * DAY),
        held("young", idle=DAY),
        held("index", below=["child"], idle=5 * DAY),
        held("@child", idle=DAY),
    ]
    assert names(run(images, Rules(age=2 * DAY))) == ["old"]


def test_bytes_are_counted_once() -> None:
    """What several images share is there once, and goes with the last of them."""
    images = [held("a", blobs=["base", "x"], idle=3 * DAY), held("b", blobs=["base", "y"], idle=DAY)]
    assert run(images, Rules(bytes=302)) == []
    going = run(images, Rules(bytes=301))
    assert (names(going), going[0].bytes) == (["a"], 101)
    assert [one.bytes for one in run(images, wish=ALL)] == [101, 201]


def test_room_is_made_by_what_was_not_used_for_longest() -> None:
    """No more of it than is needed."""
    images = [held(f"v{n}", blobs=[f"b{n}"], idle=n * DAY) for n in (1, 3, 2)]
    assert names(run(images, wish=Wish(bytes=102))) == ["v3", "v2"]
    assert names(run(images, wish=Wish(bytes=101))) == ["v3"]


@pytest.mark.parametrize("pin", list(Pin))
def test_what_is_pinned_stays(pin: Pin) -> None:
    """Whatever is asked for, and the index that it is a part of with it."""
    images = [held("index", below=["child"]), held("@child", pins=[pin]), held("free")]
    assert names(run(images, Rules(tags=1, age=1, bytes=1), ALL)) == ["free"]


def test_children_go_with_the_last_of_their_indexes() -> None:
    """A child that two indexes list stays with the second."""
    images = [
        held("v1", below=["both", "own"], pushed=1, idle=4 * DAY),
        held("v2", below=["both"], pushed=2, idle=3 * DAY),
        held("@both"),
        held("@own"),
    ]
    going = run(images, Rules(tags=1, untagged=1))
    assert names(going) == ["v1", digest("own")]
    assert set(going[0].unneeded) == {digest("v1"), digest("own")}
    assert set(names(run(images, wish=ALL))) == {"v1", "v2", digest("both"), digest("own")}


def test_a_child_with_a_tag_of_its_own() -> None:
    """It is an image like any other, and what it holds is still needed when the index has gone."""
    images = [held("index", below=["arm"], pushed=1), held("arm", pushed=2, idle=DAY)]
    going = run(images, Rules(tags=1))
    assert names(going) == ["index"]
    assert going[0].unneeded == (digest("index"),)


def test_one_manifest_under_a_tag_and_a_digest() -> None:
    """A record by digest goes with the tag of the same manifest."""
    images = [held("v1", manifest="m", pushed=1), held("@m"), held("v2", pushed=2, idle=DAY)]
    assert names(run(images, Rules(tags=1))) == ["v1", digest("m")]


@pytest.mark.parametrize(
    "referrer",
    [
        held("@signature", about="v1"),
        held(f"sha256-{digest('v1').partition(':')[2]}.sig", manifest="signature", pushed=9),
        held(f"sha256-{digest('v1').partition(':')[2]}", manifest="signature", pushed=9),
    ],
    ids=["by its subject", "by cosign's tag", "by the fallback tag"],
)
def test_referrers_go_with_their_subject(referrer: Held) -> None:
    """And count as no tag: what was signed last is not older for it. A referrer of a referrer goes with both."""
    more = held("@attestation", about="signature")
    one, two = held("v1", pushed=1), held("v2", pushed=2)
    assert set(names(run([one, two, referrer, more], Rules(tags=2)))) == set()
    gone = names(run([one, two, referrer, more], Rules(tags=1)))
    assert set(gone) == {"v1", referrer.tag or referrer.digest, more.digest}


def test_what_no_tag_leads_to() -> None:
    """Where there is a limit on tags it goes after its time: children of an index that is gone, lost referrers."""
    images = [held("@child"), held("@lost", about="gone"), held(f"sha256-{'0' * 64}.sig"), held("@young", idle=DAY / 2)]
    assert len(run(images, Rules(tags=1))) == 3
    assert run(images, Rules(tags=1))[0].reason == "no tag leads to it"
    assert run(images) == []


def test_what_may_still_get_a_tag() -> None:
    """The children of an index come before it: for an hour nothing takes them, unless the settings say less."""
    images = [held("@child", idle=3599)]
    assert run(images, wish=ALL) == []
    assert names(run(images, Rules(untagged=60), ALL)) == [digest("child")]
    assert names(run([held("@child", idle=3600)], wish=ALL)) == [digest("child")]


def test_what_was_pulled() -> None:
    """No tag will follow: it goes as soon as room is needed."""
    assert names(run([held("@pulled", idle=1, pushed=0)], wish=Wish(everything=True))) == [digest("pulled")]
    assert run([held("@pushed", idle=1)], wish=Wish(everything=True)) == []


def test_tags_in_a_ring() -> None:
    """Two that claim to be about each other go like one image."""
    a, b = digest("a").partition(":")[2], digest("b").partition(":")[2]
    images = [held(f"sha256-{b}", manifest="a"), held(f"sha256-{a}", manifest="b")]
    assert len(run(images, wish=ALL)) == 1
    assert len(names(run(images, wish=ALL))) == 2


@st.composite
def stores(draw: st.DrawFn) -> list[Held]:
    """Some images of two repositories, which share blobs and manifests and refer to each other."""
    manifests = st.sampled_from("mnopq")
    references = st.one_of(st.sampled_from("abcde"), manifests.map("@{}".format))
    images = {
        (image.repository, image.name): image
        for image in [
            held(
                draw(references),
                manifest="" if draw(st.booleans()) else draw(manifests),
                below=draw(st.sets(manifests, max_size=2)),
                blobs=draw(st.sets(st.sampled_from("xyz"), max_size=3)),
                about=draw(st.one_of(st.just(""), manifests)),
                idle=draw(st.floats(0, 5 * DAY)),
                pushed=draw(st.integers(0, 9)),
                pins=draw(st.sets(st.sampled_from(Pin), max_size=1)),
                repository=draw(st.sampled_from([APP, OTHER])),
            )
            for _ in range(draw(st.integers(0, 8)))
        ]
    }
    return list(images.values())


RULES = st.builds(
    Rules, tags=st.integers(0, 3), age=st.floats(0, 5 * DAY), bytes=st.integers(0, 400), untagged=st.floats(1, DAY)
)
WISHES = st.builds(Wish, bytes=st.integers(0, 400), everything=st.booleans())


def size(images: Iterable[Held]) -> int:
    """Their bytes, what they share counted once."""
    every = {digest: size for image in images for digest, size in image.content.items()}
    return sum(every.values())


@settings(max_examples=30)  # of eight images each
@given(stores(), RULES, WISHES)
def test_always(images: list[Held], rules: Rules, wish: Wish) -> None:
    """Nothing pinned goes, nothing goes twice, and bytes and grants go that nothing else needs, and no others."""
    found = families(images, rules, NOW)
    going = plan(found, rules, NOW, wish)
    gone = [image for one in going for image in one.images]
    kept = [image for image in images if image not in gone]
    assert {member.name for family in found for member in family.members} == {image.name for image in images}
    assert not any(image.pins for image in gone)
    assert all(member in kept for family in found if family.pins for member in family.members)
    assert len({image.name for image in gone}) == len(gone)
    assert sum(one.bytes for one in going) == size(images) - size(kept)
    needed = {(image.repository, digest) for image in kept for digest in image.content}
    dropped = {(one.repository, digest) for one in going for digest in one.unneeded}
    assert dropped == {(image.repository, digest) for image in gone for digest in image.content} - needed


@settings(max_examples=30)  # of eight images each
@given(stores(), RULES)
def test_exactly_the_newest(images: list[Held], rules: Rules) -> None:
    """By the rule on tags alone, what stays of a repository's own tags is the newest, and what is pinned."""
    rules = Rules(tags=rules.tags or 1, untagged=rules.untagged)
    found = families(images, rules, NOW)
    gone = {image.name for one in plan(found, rules, NOW, NOTHING) for image in one.images}
    for repository in (APP, OTHER):
        roots = [f for f in found if f.root.is_tagged and f.root.repository == repository]
        newest = sorted((family.root.pushed for family in roots), reverse=True)[: rules.tags]
        for family in roots:
            if family.root.name in gone:
                assert len(newest) == rules.tags
                assert family.root.pushed <= min(newest)
            elif not family.pins:
                assert family.root.pushed >= min(newest)


@settings(max_examples=30)  # of eight images each
@given(stores(), WISHES)
def test_the_oldest_first(images: list[Held], wish: Wish) -> None:
    """Nothing goes for its room that was used later than something that may go and stays."""
    found = families(images, Rules(), NOW)
    gone = {image.name for one in plan(found, Rules(), NOW, wish) for image in one.images}
    free = [family for family in found if not family.pins]
    used = [family.used for family in free if family.root.name in gone]
    assert all(family.used >= max(used, default=0.0) for family in free if family.root.name not in gone)
