"""Blobs to push: files of noise whose digests are known before any clock runs, and the image that names them."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rig.images import MEDIA, Descriptor
from tests.rig.wire import digest_of

_PIECE = 1 << 20
_EMPTY = b"{}"


@dataclass(frozen=True)
class Blob:
    """A file, and what it is called once it is pushed."""

    path: Path
    digest: str
    size: int


def make_blobs(directory: Path, count: int, size: int) -> list[Blob]:
    """Write so many files, each with `size` bytes of its own, the same in each run."""
    directory.mkdir(parents=True)
    return [_make(directory / str(number), number, size) for number in range(count)]


def _make(path: Path, number: int, size: int) -> Blob:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in _noise(number, size):
            digest.update(piece)
            file.write(piece)
    return Blob(path, f"sha256:{digest.hexdigest()}", size)


def _noise(number: int, size: int) -> Iterator[bytes]:
    source = random.Random(number)  # noqa: S311 - it must repeat itself
    for start in range(0, size, _PIECE):
        yield source.randbytes(min(_PIECE, size - start))


def write_config(directory: Path) -> Blob:
    """The config of an image that is never to run."""
    path = directory / "config"
    path.write_bytes(_EMPTY)
    return Blob(path, digest_of(_EMPTY), len(_EMPTY))


def manifest_of(config: Blob, layers: Sequence[Blob]) -> bytes:
    """A manifest that names blobs as the layers of an image."""
    media = MEDIA["oci"]
    body = {
        "schemaVersion": 2,
        "mediaType": media.manifest,
        "config": Descriptor(media.config, config.digest, config.size).json(),
        "layers": [Descriptor(media.layer, layer.digest, layer.size).json() for layer in layers],
    }
    return json.dumps(body).encode()
