"""What every client of the matrix can do, in whatever words its own command line has for it."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import ClassVar, Literal

from tests.rig.images import (
    ARCHITECTURE,
    Compression,
    File,
    Layer,
    Layout,
    MediaName,
    Platform,
    build_image,
    build_index,
    busybox,
)
from tests.rig.programs import Programs
from tests.rig.web import Login

OTHER_ARCHITECTURE = "arm64" if ARCHITECTURE == "amd64" else "amd64"

SYSTEM = Path("/etc/ssl/certs")
"""The authorities that the whole machine believes."""


@dataclass(frozen=True)
class Image:
    """An image in a client's store: the name it has there, and how it and its layers are to be packed."""

    name: str
    compression: Compression | Literal["zstd:chunked"] = "gzip"
    media: MediaName = "oci"


class Client(ABC):
    """A real program that pushes to and pulls from `host:port/repository:tag`, with a store of its own.

    It speaks HTTPS where it is told the authority `ca` of the registry's certificate, or told nothing and `SYSTEM`'s
    authorities count; else plain HTTP.
    Every method raises RuntimeError with the program's own words.
    """

    program: ClassVar[str]
    compressions: ClassVar[tuple[Compression, ...]] = ("gzip",)
    """What it can make layers of."""
    makes_indexes: ClassVar[bool] = True
    mounts: ClassVar[bool] = True
    """Whether it asks to mount what another repository of the registry has."""
    mounts_config: ClassVar[bool] = False
    """Whether it does so for configs too, which others upload again."""

    def __init__(self, programs: Programs, ca: Path | None = None) -> None:
        self.programs = programs
        self.ca = ca
        self._serial = count()

    @property
    def is_installed(self) -> bool:
        """Whether there is such a program here."""
        return self.programs.has(self.program)

    @abstractmethod
    def make(self, marker: str, compression: Compression = "gzip") -> Image:
        """Make an image of two layers, unlike that of any other marker."""

    @abstractmethod
    def push(self, image: Image, reference: str) -> str:
        """Push an image; return the digest that the client says it has there."""

    @abstractmethod
    def pull(self, reference: str) -> str:
        """Pull an image into a store that has nothing of it; return the digest that the client says it has."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Push what `pull` brought from `source` to another repository of the same registry."""

    def log_in(self, host: str, login: Login) -> None:
        """Log in to `host:port`, for all that comes then."""
        raise NotImplementedError(f"{self.program} cannot log in to {host} as {login.username}")

    def push_index(self, marker: str, reference: str) -> str:
        """Push an index of two platforms; return its digest."""
        raise NotImplementedError(f"{self.program} cannot push {marker} to {reference} as an index")

    def fresh(self) -> Path:
        """A path in its state that nothing has yet."""
        return self.programs.state / f"{self.program}-{next(self._serial)}"


def digest_in(output: str) -> str:
    """The digest that a client printed.

    Raises:
        RuntimeError: it named none.
    """
    found = re.search(r"sha256:[0-9a-f]{64}", output)
    if found is None:
        raise RuntimeError(f"no digest in: {output}")
    return found[0]


def image_layout(directory: Path, marker: str, compression: Compression = "gzip") -> Layout:
    """An image of two layers."""
    return build_image(directory, list(_layers(marker, compression)))


def index_layout(directory: Path, marker: str) -> Layout:
    """An index of this machine's platform and another."""
    return build_index(directory, {Platform(): list(_layers(marker)), Platform(OTHER_ARCHITECTURE): [_second(marker)]})


def _layers(marker: str, compression: Compression = "gzip") -> Iterator[Layer]:
    yield busybox(marker, compression)
    yield _second(marker, compression)


def _second(marker: str, compression: Compression = "gzip") -> Layer:
    return Layer([File("etc/second", marker.encode())], compression)
