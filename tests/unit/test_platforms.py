"""Platforms: one way to write each, and which images a machine prefers."""

import pytest

from mirror.oci.manifest import Platform
from mirror.oci.platforms import parse_platform, preference


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("Linux/aarch64", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armv6l", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/i686", "linux/386"),
        ("linux/riscv64", "linux/riscv64"),
    ],
)
def test_one_way_to_write_it(text: str, platform: str) -> None:
    """Go's words and those of `uname -m` come to the same."""
    assert str(parse_platform(text)) == platform


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux//v7"])
def test_what_is_no_platform(text: str) -> None:
    """It is refused in words that show it."""
    with pytest.raises(ValueError, match="is not os/architecture"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("machine", "best_first"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386", "linux/amd64/v2"]),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]),
        ("linux/arm64", ["linux/arm64", "linux/arm/v8", "linux/arm", "linux/arm/v6", "linux/arm/v5", "linux/arm64/v9"]),
        ("linux/arm64/v9", ["linux/arm64/v9", "linux/arm64", "linux/arm/v7"]),
        ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]),
        ("linux/s390x", ["linux/s390x"]),
    ],
)
def test_the_order(machine: str, best_first: list[str]) -> None:
    """The very same, then lower variants, then the 32-bit sibling; last what the machine only might run."""
    ranks = [preference(parse_platform(image), parse_platform(machine)) for image in best_first]
    known = [rank for rank in ranks if rank is not None]
    assert known == sorted(set(known))
    assert (len(known), known[0]) == (len(ranks), 0)


@pytest.mark.parametrize(
    ("machine", "image"),
    [
        ("linux/amd64", "windows/amd64"),
        ("linux/amd64", "linux/arm64"),
        ("linux/386", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v3"),
        ("linux/arm/v6", "linux/arm/v7"),
        ("linux/arm", "linux/arm64"),
    ],
)
def test_what_it_cannot_run(machine: str, image: str) -> None:
    """Another system or machine, and what asks for more than this one says it has."""
    assert preference(parse_platform(image), parse_platform(machine)) is None


def test_who_says_nothing_suits_nobody() -> None:
    """A config without a platform, and an attestation's, which is unknown."""
    for image in (Platform(), Platform("unknown", "unknown")):
        assert preference(image, parse_platform("linux/amd64")) is None
