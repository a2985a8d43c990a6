"""Images as they are deployed: four layers, and another image that differs in the last of them."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.rig.images import Compression, Content, File, Layer, Layout, Noise, Text, build_image, busybox

NAME = "bench"
"""The repository that they are pushed to."""

Shape = Literal["files", "weights"]
"""Many files, most of them text; or a file in each layer that does not compress, as the weights of a model."""

# What the image is made of, each layer a share of it: base, runtime, dependencies, application. Half of the files have
# less than 4 KB, their mean is 20 KB: 24,000 files in 500 MB. Three of four are text, which compresses to about a
# third; the others are noise, as pictures and archives are to a compressor.
_SHARES = (0.2, 0.25, 0.45, 0.1)
_LOG_MEDIAN, _LOG_SIGMA = 8.3, 1.8
_TEXTS = 0.75
_FILES_IN_A_DIRECTORY = 50


@dataclass(frozen=True)
class Release:
    """One of the images, by its tag; a container from it prints its greeting."""

    tag: str

    @property
    def name(self) -> str:
        """With its repository."""
        return f"{NAME}:{self.tag}"

    @property
    def greeting(self) -> str:
        """The one line that it prints."""
        return f"{self.tag} runs\n"


FIRST, SECOND = Release("v1"), Release("v2")
"""They have all layers in common but that of the application."""


def make_image(
    directory: Path, size: int, compression: Compression, release: Release = FIRST, shape: Shape = "files"
) -> Layout:
    """A release, whose files have `size` bytes in all, beside the program that it starts."""
    names = [*map(str, range(len(_SHARES) - 1)), release.tag]
    layers = [[*_CONTENTS[shape](name, int(size * share))] for name, share in zip(names, _SHARES, strict=True)]
    layers[0] += busybox("").files
    layers[-1].append(File("marker", release.greeting.encode()))
    return build_image(directory, [Layer(files, compression) for files in layers], tag=release.tag)


def make_releases(directory: Path, size: int, compression: Compression, shape: Shape = "files") -> list[Layout]:
    """Both releases."""
    releases = (FIRST, SECOND)
    return [make_image(directory / release.tag, size, compression, release, shape) for release in releases]


def _files(layer: str, size: int) -> Iterator[Content]:
    """The files of one layer, the same in each run."""
    source = random.Random(layer)  # noqa: S311 - it must repeat itself
    number = 0
    while size:
        length = min(size, 1 + int(source.lognormvariate(_LOG_MEDIAN, _LOG_SIGMA)))
        kind = Text if source.random() < _TEXTS else Noise
        yield kind(f"srv/{layer}/{number // _FILES_IN_A_DIRECTORY}/{number}", length)
        size, number = size - length, number + 1


def _weights(layer: str, size: int) -> Iterator[Content]:
    """The one file of a layer."""
    yield Noise(f"srv/{layer}", size)


_CONTENTS: Mapping[Shape, Callable[[str, int], Iterator[Content]]] = {"files": _files, "weights": _weights}
