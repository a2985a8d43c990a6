"""Which machine an image is for, and which of several images a machine runs best.

The order is containerd's own, so that what is unpacked is what it will start.
Source: OCI image-spec, "Platform Variants"; containerd's `platforms`, "Normalization".
"""

from mirror.oci.manifest import Platform

_UNSAID = {"amd64": "v1", "arm64": "v8"}
"""The variants that nobody writes."""
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "arm": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}
_LOWEST_ARM = 5


def parse_platform(text: str) -> Platform:
    """Read `os/architecture` or `os/architecture/variant`, in Go's words or those of `uname -m`.

    Raises:
        ValueError: it is not of that form.
    """
    parts = text.split("/")
    if len(parts) not in {2, 3} or not all(parts):
        raise ValueError(f"{text!r} is not os/architecture or os/architecture/variant")
    return _normal(Platform(*parts))


def preference(image: Platform, machine: Platform) -> int | None:
    """How well an image suits a machine: 0 is best, None is not at all.

    What a machine does not say of its variant is not held against an image: a higher one comes last.
    """
    order, image = _runs(_normal(machine)), _normal(image)
    if image in order:
        return order.index(image)
    machine = order[0]
    same = (image.os, image.architecture) == (machine.os, machine.architecture)
    return len(order) if same and not machine.variant else None


def _normal(platform: Platform) -> Platform:
    """The one way to write a platform."""
    system, architecture, variant = (part.lower() for part in (platform.os, platform.architecture, platform.variant))
    architecture, implied = _ALIASES.get(architecture, (architecture, ""))
    variant = f"v{variant}" if variant[:1].isdecimal() else variant
    return Platform(system, architecture, "" if variant == _UNSAID.get(architecture) else variant or implied)


def _runs(machine: Platform) -> list[Platform]:
    """All that a machine runs, the best first: its own variant, lower ones, and those of its 32-bit sibling."""
    own = [Platform(machine.os, machine.architecture, variant) for variant in _variants(machine)]
    match machine.architecture:
        case "amd64":
            return [*own, Platform(machine.os, "386")]
        case "arm64":
            return [*own, *_runs(Platform(machine.os, "arm", "v8"))]
    return own


def _variants(machine: Platform) -> list[str]:
    """Its variant and those below that an image may ask for; one that nobody writes is empty."""
    number = machine.variant.removeprefix("v")
    if not number.isdecimal():
        return [machine.variant]
    lowest = {"amd64": 1, "arm64": 8, "arm": _LOWEST_ARM}.get(machine.architecture, int(number))
    unsaid = _UNSAID.get(machine.architecture)
    below = [f"v{lower}" for lower in range(int(number), lowest - 1, -1)]
    return ["" if variant == unsaid else variant for variant in below] or [machine.variant]
