"""Which images get a variant, and how others find it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mirror.core.access import covers
from mirror.oci.names import Repository


class Mode(StrEnum):
    """How a variant is found by whoever wants it; nobody else meets it, but for INDEX."""

    REFERRER = "referrer"
    """Among the referrers of the original."""
    TAG_SUFFIX = "tag-suffix"
    """Under the tag of the original with `-zstd` behind it."""
    INDEX = "index"
    """Under the tag of the original, in an index that lists that first."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted: a mode, the `level` of zstd, and by which share the layers must get smaller at `least`."""

    mode: Mode
    level: int = 3
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class VariantRule:
    """What is wanted for the repositories that fit any of `patterns`, of any registry or of `registries` alone.

    Without a `wish` there is nothing to be made for them.
    """

    patterns: tuple[str, ...]
    wish: Wish | None
    registries: frozenset[str] = frozenset()

    def fits(self, repository: Repository) -> bool:
        """Whether it is about this repository."""
        if self.registries and repository.registry not in self.registries:
            return False
        return any(covers(pattern, repository.path) for pattern in self.patterns)


def choose(rules: Sequence[VariantRule], repository: Repository) -> Wish | None:
    """What the first rule wants that fits; None if nothing is to be made."""
    return next((rule.wish for rule in rules if rule.fits(repository)), None)
