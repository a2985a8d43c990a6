"""The faster variants of images."""

from typing import Annotated, Literal

import msgspec

from mirror.config.kinds import AtOnce, Section, Text
from mirror.core.access import check_pattern

Level = Annotated[int, msgspec.Meta(ge=1, le=19)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Gain = Annotated[int, msgspec.Meta(ge=0, le=99, extra={"unit": "percent"})]


class VariantRule(Section, frozen=True):
    """Which repositories it is about, and what is made for them. Of several rules that fit, the first one counts."""

    registries: frozenset[Text] = frozenset()
    """For which upstreams; empty is all of them.

    Example: ["registry.example.com"]
    """
    repositories: tuple[str, ...] = ("**",)
    """For which repositories: `*` is a part of one component of a path, `**` any number of components."""
    mode: Literal["off", "referrer", "tag-suffix", "index"] = "off"
    """How the variant is found. `referrer`: among the referrers of the original; `tag-suffix`: under the tag with
    `-zstd` behind it; `index`: under the tag itself, in an index that has the original first, which is what hosts that
    know nothing of zstd take."""
    level: Level = 3
    """The level of zstd."""
    gain: Gain = 0
    """By how much the layers must get smaller, or there is no variant; 0: they must not get larger."""

    def __post_init__(self) -> None:
        for pattern in self.repositories:
            check_pattern(pattern)


class Variants(Section, frozen=True):
    """Variants of images with layers of zstd, which are smaller and unpack faster elsewhere; without rules, none.

    They are made after the original was unpacked here and is upstream, while nothing else is to be done.
    """

    threads: AtOnce = 2
    """How many threads compress a layer."""
    load: Share = 0.75
    """The share of the processors that others may use; beyond it, no variant is made."""
    rules: dict[str, VariantRule] = msgspec.field(default_factory=dict)
