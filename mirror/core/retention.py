"""The pure rules of retention: which images go, in which order and why.

An image goes as a whole: what an index lists, and what refers to it (signatures, SBOMs), goes with it and stays with
it, unless a tag of its own keeps it. What is pinned stays whatever the rules say, and so does what it belongs to.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mirror.oci.names import Digest, Repository

_LONGEST_ARRIVAL = 3600.0

# The tags under which clients keep what refers to a manifest (distribution-spec, "Referrers Tag Schema"); those of
# cosign have an ending.
_REFERRERS_TAG = re.compile(r"sha256-([a-f0-9]{64})(?:\.[a-z0-9]+)?")


class Pin(StrEnum):
    """Why an image stays, whatever the rules say."""

    NOT_UPSTREAM = "not upstream yet"
    UNPACKING = "being unpacked"
    IN_USE = "a container was made from it"
    ARRIVING = "came by digest a moment ago: a tag may follow"


@dataclass(frozen=True, slots=True)
class Held:
    """An image record and what it holds here.

    `tag` is None for a record by digest; a greater `pushed` was pushed later, 0 was pulled; `used` is Unix time.
    `content` is all that it leads to (digest → bytes), `manifests` those of it that are manifests, its own included.
    """

    name: str
    repository: Repository
    tag: str | None
    digest: Digest
    pushed: int
    used: float
    content: Mapping[Digest, int]
    manifests: frozenset[Digest]
    subject: Digest | None = None
    pins: frozenset[Pin] = frozenset()

    @property
    def about(self) -> Digest | None:
        """The manifest that it says something about, by its subject or by its tag."""
        match = _REFERRERS_TAG.fullmatch(self.tag or "")
        return Digest(f"sha256:{match[1]}") if match else self.subject

    @property
    def is_tagged(self) -> bool:
        """Whether a person gave it its tag."""
        return self.tag is not None and not _REFERRERS_TAG.fullmatch(self.tag)

    def belongs_to(self, other: "Held") -> bool:
        """Whether it has no life without another image of its repository."""
        below = self.tag is None and self.digest in other.manifests
        return self.name != other.name and (below or self.about in other.manifests)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept; 0 is no limit.

    Of each repository the `tags` that were pushed last; what was used in the last `age` seconds; `bytes` of content
    altogether. Where there is a limit on tags, what none leads to is kept for `untagged` seconds after its last use.
    """

    tags: int = 0
    age: float = 0.0
    bytes: int = 0
    untagged: float = 86400.0

    @property
    def are_set(self) -> bool:
        """Whether there is any limit."""
        return bool(self.tags or self.age or self.bytes)

    @property
    def arrival(self) -> float:
        """For how many seconds what came by digest may be a part of an image that is still to come."""
        return min(self.untagged, _LONGEST_ARRIVAL)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to go beyond the rules: so many `bytes` of content, or with `everything` all that may."""

    bytes: int = 0
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """An image with what belongs to it; the image itself comes first. `pins` are those of all of them."""

    members: tuple[Held, ...]
    pins: frozenset[Pin]

    @property
    def root(self) -> Held:
        """The image that the others belong to."""
        return self.members[0]

    @property
    def used(self) -> float:
        """When any of it was used last (Unix time)."""
        return max(member.used for member in self.members)


@dataclass(frozen=True, slots=True)
class Going:
    """Images of a repository that go together, and why.

    `bytes` of content go with them, once those before them are gone; `unneeded` is what nothing in their repository
    leads to any more.
    """

    repository: Repository
    images: tuple[Held, ...]
    reason: str
    bytes: int
    unneeded: tuple[Digest, ...]


def families(images: Sequence[Held], rules: Rules, now: float) -> list[Family]:
    """The images with what belongs to them, those first that were not used for longest.

    What belongs to several images is in each of their families.
    """
    by_name = {image.name: image for image in images}
    roots = _roots(images)
    members: dict[str, list[Held]] = {name: [by_name[name]] for names in roots.values() for name in sorted(names)}
    for image in images:
        for root in roots[image.name] - {image.name}:
            members[root].append(image)
    found = [_family(family, rules, now) for family in members.values()]
    return sorted(found, key=lambda family: (family.used, family.root.pushed, family.root.name))


def plan(found: Sequence[Family], rules: Rules, now: float, wish: Wish) -> list[Going]:
    """What goes: first what the rules on tags and age say, then what the limit on bytes and the wish ask for.

    Each time that which was not used for longest is the first.
    """
    ledger, newest = _Ledger(found), _newest(found, rules.tags)
    free = [family for family in found if not family.pins]
    verdicts = [_verdict(family, newest, rules, now) for family in free]
    going = [ledger.take(family, reason) for family, reason in zip(free, verdicts, strict=True) if reason]
    for family in (family for family, reason in zip(free, verdicts, strict=True) if not reason):
        if rules.bytes and ledger.total > rules.bytes:
            going.append(ledger.take(family, f"the images here are more than {rules.bytes} bytes"))
        elif wish.everything or ledger.gone < wish.bytes:
            going.append(ledger.take(family, "room is needed"))
    return going


def _roots(images: Sequence[Held]) -> dict[str, frozenset[str]]:
    """For each image the names of those that it belongs to in the end; its own, when it belongs to none."""
    owners = _owners(images)
    return {image.name: _ends(image.name, owners) for image in images}


def _owners(images: Sequence[Held]) -> dict[str, list[str]]:
    holding: dict[tuple[Repository, Digest], list[Held]] = defaultdict(list)
    for image in images:
        for manifest in image.manifests:
            holding[image.repository, manifest].append(image)
    owners: dict[str, list[str]] = {}
    for image in images:
        wanted = {image.digest, image.about} - {None}
        others = [other for digest in wanted if digest for other in holding[image.repository, digest]]
        owners[image.name] = [other.name for other in others if image.belongs_to(other)]
    return owners


def _ends(name: str, owners: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Where the ways up from a name end; tags may lead in a ring, and one of it is the end then."""
    seen, ahead = {name}, [name]
    while ahead:
        above = set(owners[ahead.pop()]) - seen
        seen |= above
        ahead += above
    return frozenset(one for one in seen if not owners[one]) or frozenset({min(seen)})


def _family(members: Sequence[Held], rules: Rules, now: float) -> Family:
    root = members[0]
    pins = frozenset().union(*(member.pins for member in members))
    if root.tag is None and root.pushed and abs(now - root.used) < rules.arrival:
        pins |= {Pin.ARRIVING}
    return Family(tuple(members), pins)


def _newest(found: Iterable[Family], tags: int) -> frozenset[str]:
    """The names of the tags of each repository that were pushed last."""
    by_repository: dict[Repository, list[Held]] = defaultdict(list)
    for root in (family.root for family in found if family.root.is_tagged):
        by_repository[root.repository].append(root)
    ranked = (sorted(roots, key=lambda root: -root.pushed)[:tags] for roots in by_repository.values())
    return frozenset(root.name for roots in ranked for root in roots)


def _verdict(family: Family, newest: frozenset[str], rules: Rules, now: float) -> str:
    """Why the rules on tags and age want a family gone; empty when they do not."""
    root, idle = family.root, now - family.used
    if rules.tags and root.is_tagged and root.name not in newest:
        return f"{rules.tags} tags of its repository are newer"
    if rules.tags and not root.is_tagged and idle > rules.untagged:
        return "no tag leads to it"
    return f"not used for more than {rules.age:g} seconds" if rules.age and idle > rules.age else ""


class _Ledger:
    """What is still here while families go: `total` bytes of content, of which so many are `gone`."""

    def __init__(self, found: Iterable[Family]) -> None:
        families_of = Counter(member.name for family in found for member in family.members)
        images = {member.name: member for family in found for member in family.members}.values()
        self._families_of = families_of
        self._here = Counter(digest for image in images for digest in image.content)
        self._there = Counter((image.repository, digest) for image in images for digest in image.content)
        self.total = sum({digest: size for image in images for digest, size in image.content.items()}.values())
        self.gone = 0

    def take(self, family: Family, reason: str) -> Going:
        """Let a family go, but for what belongs to others too."""
        self._families_of.subtract(member.name for member in family.members)
        images = tuple(member for member in family.members if not self._families_of[member.name])
        freed = sum(self._drop(image) for image in images)
        self.total -= freed
        self.gone += freed
        repository = family.root.repository
        return Going(repository, images, reason, freed, self._unneeded(repository, images))

    def _drop(self, image: Held) -> int:
        self._here.subtract(image.content.keys())
        self._there.subtract((image.repository, digest) for digest in image.content)
        return sum(size for digest, size in image.content.items() if not self._here[digest])

    def _unneeded(self, repository: Repository, images: Iterable[Held]) -> tuple[Digest, ...]:
        every = {digest for image in images for digest in image.content}
        return tuple(sorted(digest for digest in every if not self._there[repository, digest]))
