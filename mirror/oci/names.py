"""Names of the distribution spec: repositories, tags, digests, and what they make together.

Source: OCI distribution-spec, "Pulling manifests" (the grammars of `<name>` and `<reference>`) and OCI
image-spec, "Digests".
"""

import hashlib
import re
from dataclasses import dataclass
from typing import NewType

from mirror.oci.errors import Problem, RegistryError

Digest = NewType("Digest", str)
"""A checked `sha256:<64 hex digits>`; containerd's content store knows no other algorithm."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")
MAX_PATH = 255
"""The most characters of a repository's path."""


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """One repository of one registry, for example `registry.example.com` and `team/app`."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"

    def image(self, reference: "Reference") -> str:
        """The containerd image name: `<registry>/<path>:<tag>` or `<registry>/<path>@<digest>`."""
        return f"{self}{reference.separator}{reference}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What a manifest is asked for by: exactly one of a tag and a digest."""

    tag: str | None
    digest: Digest | None

    @property
    def separator(self) -> str:
        """What stands between a repository and this reference in an image name."""
        return ":" if self.digest is None else "@"

    def __str__(self) -> str:
        return self.tag or self.digest or ""


def parse_path(text: str, longest: int = MAX_PATH) -> str:
    """Check a repository path.

    Raises:
        RegistryError: NAME_INVALID when it breaks the grammar or is longer than `longest` characters.
    """
    if len(text) > longest or not _PATH.fullmatch(text):
        raise RegistryError(Problem.NAME_INVALID, f"{text[:MAX_PATH]!r} is not a repository name")
    return text


def parse_digest(text: str) -> Digest:
    """Check a digest.

    Raises:
        RegistryError: DIGEST_INVALID for anything but lower-case sha256.
    """
    if not _SHA256.fullmatch(text):
        raise RegistryError(Problem.DIGEST_INVALID, f"{text[:MAX_PATH]!r} is not a sha256 digest")
    return Digest(text)


def parse_reference(text: str) -> Reference:
    """Check a `<reference>`: a digest when it holds a colon, else a tag.

    Raises:
        RegistryError: DIGEST_INVALID or TAG_INVALID.
    """
    return Reference(tag=None, digest=parse_digest(text)) if ":" in text else parse_tag(text)


def parse_tag(text: str) -> Reference:
    """Check a tag.

    Raises:
        RegistryError: TAG_INVALID.
    """
    if not _TAG.fullmatch(text):
        raise RegistryError(Problem.TAG_INVALID, f"{text[:MAX_PATH]!r} is not a tag")
    return Reference(tag=text, digest=None)


def split_image(image: str, registries: frozenset[str], default: str) -> tuple[Repository, Reference]:
    """Read an image name as a person types it.

    `registries` decides whether the first segment is a registry; without one the `default` is meant,
    without a reference the tag `latest`, as with every container tool; a digest wins over a tag beside it.

    Raises:
        RegistryError: the name, the tag or the digest breaks its grammar.
    """
    first, slash, rest = image.partition("/")
    registry, remainder = (first, rest) if slash and first in registries else (default, image)
    name, at, digest = remainder.partition("@")
    path, colon, tag = name.partition(":")
    reference = parse_tag(tag if colon else "latest")
    if at:
        reference = Reference(tag=None, digest=parse_digest(digest))
    return Repository(registry, parse_path(path)), reference


def digest_of(data: bytes) -> Digest:
    """The sha256 digest of bytes held in memory (manifests; never layers)."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())
