"""What is pushed, all of it drawn from the seed: the same seed gives the same pushes in the same order."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.rig.client import OTHER_ARCHITECTURE
from tests.rig.images import Compression, File, Layer, Layout, Platform, build_image, build_index

Kind = Literal["image", "index", "artifact"]
Way = Literal["put", "post", "patch", "skopeo"]
"""How a blob is sent: POST then PUT, a single POST, PATCHes, or by a real client."""

REPOSITORIES = ("soak/one", "soak/two", "soak/three/deep")
_TAGS = ("v1", "v2", "latest")
_COMPRESSIONS: Sequence[Compression] = ("none", "gzip", "zstd")
_KINDS: Sequence[Kind] = ("image", "image", "image", "index", "artifact")
_WAYS: Sequence[Way] = ("put", "post", "patch", "skopeo")
_SMALLEST, _LARGEST = 1_000, 20_000_000
_SHARED = 12
_REMEMBERED = 8
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True)
class Content:
    """The one file of a layer: `size` bytes of noise that `seed` stands for."""

    seed: int
    size: int
    compression: Compression

    def layer(self) -> Layer:
        """Make it."""
        noise = random.Random(self.seed).randbytes(self.size)  # noqa: S311 - it must repeat itself
        return Layer([File("data", noise)], self.compression)


@dataclass(frozen=True)
class Image:
    """Something to push: an image, an index of two platforms, or an artifact about what was pushed before."""

    kind: Kind
    contents: tuple[Content, ...]

    def build(self, directory: Path) -> Layout:
        """Write it to disk; of an artifact only the layers, as its subject is not known before it is pushed."""
        layers = [content.layer() for content in self.contents]
        if self.kind == "index":
            return build_index(directory, {Platform(): layers, Platform(OTHER_ARCHITECTURE): layers[:1]})
        return build_image(directory, layers)


@dataclass(frozen=True)
class Push:
    """One push: of what, to where, and how; `source` is another repository, to mount from what it has."""

    image: Image
    repository: str
    tag: str
    way: Way
    source: str
    abandons: bool
    """Whether an upload is begun beside it and never finished."""
    pause: float
    """Seconds to wait after it."""


def pushes(seed: int, pusher: int) -> Iterator[Push]:
    """The pushes of one pusher, without end."""
    chance = random.Random(f"{seed}/pusher/{pusher}")  # noqa: S311 - it must repeat itself
    shared = _shared(seed)
    before: deque[Image] = deque(maxlen=_REMEMBERED)
    while True:
        image = chance.choice(before) if before and chance.random() < 0.3 else _image(chance, shared)
        before.append(image)
        yield Push(
            image,
            repository=chance.choice(REPOSITORIES),
            tag=chance.choice(_TAGS),
            way=chance.choice(_WAYS),
            source=chance.choice(REPOSITORIES),
            abandons=chance.random() < 0.1,
            pause=chance.uniform(0, _LONGEST_PAUSE),
        )


def _shared(seed: int) -> list[Content]:
    """The layers that images of all pushers have in common."""
    chance = random.Random(f"{seed}/shared")  # noqa: S311 - it must repeat itself
    return [_content(chance) for _ in range(_SHARED)]


def _image(chance: random.Random, shared: Sequence[Content]) -> Image:
    below = chance.sample(shared, chance.randrange(3))
    return Image(chance.choice(_KINDS), (*below, _content(chance)))


def _content(chance: random.Random) -> Content:
    """Small ones and large ones, each order of magnitude as often as the next."""
    size = int(_SMALLEST * (_LARGEST / _SMALLEST) ** chance.random())
    return Content(chance.getrandbits(64), size, chance.choice(_COMPRESSIONS))
