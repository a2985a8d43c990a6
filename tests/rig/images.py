"""Real images, made file by file: OCI layouts on disk, whose every byte is known and the same in each run.

A layer is streamed through tar, hash and compressor to its file, so that its size is bound by the disk only.
"""

import hashlib
import io
import json
import os
import platform
import random
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import zstandard

Compression = Literal["none", "gzip", "zstd"]
MediaName = Literal["oci", "docker"]

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
"""This machine's, in Go's words."""

_CHUNK = 1 << 20
_LETTERS = b"etaoinshrdlucmfwyp"
_PHRASE = 24


@dataclass(frozen=True)
class Media:
    """The media types of one of the two families."""

    manifest: str
    index: str
    config: str
    layer: str
    """Of an uncompressed layer."""
    suffixes: Mapping[Compression, str]
    """What a compression adds to it; Docker's family never got zstd."""

    def layer_type(self, compression: Compression) -> str:
        """The media type of a layer."""
        return self.layer + self.suffixes[compression]


MEDIA: Mapping[MediaName, Media] = {
    "oci": Media(
        manifest="application/vnd.oci.image.manifest.v1+json",
        index="application/vnd.oci.image.index.v1+json",
        config="application/vnd.oci.image.config.v1+json",
        layer="application/vnd.oci.image.layer.v1.tar",
        suffixes={"none": "", "gzip": "+gzip", "zstd": "+zstd"},
    ),
    "docker": Media(
        manifest="application/vnd.docker.distribution.manifest.v2+json",
        index="application/vnd.docker.distribution.manifest.list.v2+json",
        config="application/vnd.docker.container.image.v1+json",
        layer="application/vnd.docker.image.rootfs.diff.tar",
        suffixes={"none": "", "gzip": ".gzip"},
    ),
}


@dataclass(frozen=True)
class File:
    """A regular file of a layer."""

    path: str
    content: bytes
    mode: int = 0o644

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content)

    def chunks(self) -> Iterator[bytes]:
        """Its content, piece by piece."""
        yield self.content


@dataclass(frozen=True)
class Noise:
    """A regular file of `size` bytes that do not compress, the same each time; they exist only while they are read."""

    path: str
    size: int
    mode: int = 0o644

    def chunks(self) -> Iterator[bytes]:
        """Its content, piece by piece."""
        source = random.Random(self.size)  # noqa: S311 - it must repeat itself
        for start in range(0, self.size, _CHUNK):
            yield source.randbytes(min(_CHUNK, self.size - start))


@dataclass(frozen=True)
class Text:
    """A regular file of `size` bytes that compress as code and prose do, to about a third; each path has its own."""

    path: str
    size: int
    mode: int = 0o644

    def chunks(self) -> Iterator[bytes]:
        """Its content, piece by piece."""
        source = random.Random(self.path)  # noqa: S311 - it must repeat itself
        for start in range(0, self.size, _CHUNK):
            wanted = min(_CHUNK, self.size - start)
            yield b"".join(source.choices(_phrases(), k=wanted // _PHRASE + 1))[:wanted]


@dataclass(frozen=True)
class Special:
    """Any entry of a tar, as its header says: a link, a device, a file with an owner, a time, attributes."""

    header: tarfile.TarInfo
    content: bytes = b""

    @property
    def path(self) -> str:
        """Where it is."""
        return self.header.name

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content)

    def chunks(self) -> Iterator[bytes]:
        """Its content, piece by piece."""
        yield self.content


@dataclass(frozen=True)
class Copied:
    """A file of this machine's, where it is."""

    source: Path

    @property
    def path(self) -> str:
        """The same in the image."""
        return str(self.source.relative_to("/"))

    @property
    def size(self) -> int:
        """In bytes."""
        return self.source.stat().st_size

    @property
    def mode(self) -> int:
        """Who may do what with it."""
        return self.source.stat().st_mode & 0o7777

    def chunks(self) -> Iterator[bytes]:
        """Its content, piece by piece."""
        with self.source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


@cache
def _phrases() -> Sequence[bytes]:
    """Some words in a row, each time as many bytes; one by one they would take too long to string together."""
    source = random.Random(0)  # noqa: S311 - it must repeat itself
    words = [bytes(source.choices(_LETTERS, k=source.randint(2, 9))) for _ in range(1000)]
    return [b" ".join(source.choices(words, k=_PHRASE))[:_PHRASE] for _ in range(1 << 16)]


Content = File | Noise | Text | Special | Copied


@dataclass(frozen=True)
class Layer:
    """What goes into one layer, and how it is packed: of gzip at a level, which is the quickest else."""

    files: Sequence[Content]
    compression: Compression = "gzip"
    level: int = 1


@dataclass(frozen=True)
class Packed:
    """A layer whose very bytes are a test's own, be they a layer or not, and what is said of them."""

    data: bytes
    compression: Compression = "gzip"


@dataclass(frozen=True)
class Platform:
    """The machine an image is for."""

    architecture: str = ARCHITECTURE
    os: str = "linux"


@dataclass(frozen=True)
class Descriptor:
    """A typed pointer to a blob."""

    media_type: str
    digest: str
    size: int

    def json(self) -> dict[str, object]:
        """As it stands in a manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Layout:
    """An OCI image layout that holds one tag: what clients push from."""

    directory: Path
    tag: str
    top: Descriptor
    """The manifest or index of the tag."""
    children: list["Descriptor"] = field(default_factory=list)
    """Everything below it: config and layers, or manifests and what is below them."""

    @property
    def digest(self) -> str:
        """The digest of the tag."""
        return self.top.digest

    @property
    def manifest(self) -> bytes:
        """The bytes of the tag's manifest or index."""
        return self.blob(self.digest).read_bytes()

    def blob(self, digest: str) -> Path:
        """The file of a blob."""
        return self.directory / "blobs" / digest.replace(":", "/")


def busybox(marker: str, compression: Compression = "gzip") -> Layer:
    """A root file system that can run, with a file `/marker` that tells one image from another."""
    program = File("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755)
    return Layer([program, File("marker", marker.encode())], compression)


def build_image(
    directory: Path,
    layers: Sequence[Layer | Packed],
    *,
    media: MediaName = "oci",
    target: Platform | None = None,
    tag: str = "v1",
) -> Layout:
    """Write an image that prints its `/marker` when it runs."""
    builder = _Builder(directory, MEDIA[media])
    manifest, children = builder.image(layers, target or Platform())
    builder.finish(tag, manifest)
    return Layout(directory, tag, manifest, children)


def build_index(
    directory: Path, images: Mapping[Platform, Sequence[Layer]], *, media: MediaName = "oci", tag: str = "v1"
) -> Layout:
    """Write an index with one image for each platform."""
    builder = _Builder(directory, MEDIA[media])
    entries: list[dict[str, object]] = []
    everything: list[Descriptor] = []
    for target, layers in images.items():
        manifest, children = builder.image(layers, target)
        machine = {"os": target.os, "architecture": target.architecture}
        entries.append({**manifest.json(), "platform": machine})
        everything += [manifest, *children]
    index = builder.document(MEDIA[media].index, {"manifests": entries})
    builder.finish(tag, index)
    return Layout(directory, tag, index, everything)


class _Builder:
    """Writes the blobs of one layout."""

    def __init__(self, directory: Path, media: Media) -> None:
        self._directory = directory
        self._blobs = directory / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)
        self._media = media

    def image(self, layers: Sequence[Layer | Packed], target: Platform) -> tuple[Descriptor, list[Descriptor]]:
        """Write config, layers and manifest; return the manifest and its children."""
        packed = [self._packed(layer) if isinstance(layer, Packed) else self._layer(layer) for layer in layers]
        config = self._config(target, [diff_id for _, diff_id in packed])
        blobs = [blob for blob, _ in packed]
        body = {"config": config.json(), "layers": [blob.json() for blob in blobs]}
        return self.document(self._media.manifest, body), [config, *blobs]

    def document(self, media_type: str, body: Mapping[str, object]) -> Descriptor:
        """Write a manifest or an index."""
        return self._blob(media_type, _json({"schemaVersion": 2, "mediaType": media_type, **body}))

    def finish(self, tag: str, top: Descriptor) -> None:
        """Write what makes a directory a layout, with `top` as its only tag."""
        entry = {**top.json(), "annotations": {"org.opencontainers.image.ref.name": tag}}
        (self._directory / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [entry]}))
        (self._directory / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))

    def _config(self, target: Platform, diff_ids: list[str]) -> Descriptor:
        config = {
            "architecture": target.architecture,
            "os": target.os,
            "config": {"Cmd": ["/bin/busybox", "cat", "/marker"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        return self._blob(self._media.config, _json(config))

    def _layer(self, layer: Layer) -> tuple[Descriptor, str]:
        """Pack one layer to its file; return it and its diff ID."""
        plain, packed = hashlib.sha256(), hashlib.sha256()
        partial = self._blobs / "partial"
        with partial.open("wb") as file:
            for chunk in _compressed(_hashed(_tar(layer.files), plain), layer):
                packed.update(chunk)
                file.write(chunk)
        blob = partial.rename(self._blobs / packed.hexdigest())
        media_type = self._media.layer_type(layer.compression)
        return Descriptor(
            media_type, f"sha256:{packed.hexdigest()}", blob.stat().st_size
        ), f"sha256:{plain.hexdigest()}"

    def _packed(self, layer: Packed) -> tuple[Descriptor, str]:
        """Write a layer as it is; nobody unpacks it, so its diff ID is any."""
        blob = self._blob(self._media.layer_type(layer.compression), layer.data)
        return blob, blob.digest

    def _blob(self, media_type: str, data: bytes) -> Descriptor:
        encoded = hashlib.sha256(data).hexdigest()
        (self._blobs / encoded).write_bytes(data)
        return Descriptor(media_type, f"sha256:{encoded}", len(data))


def _tar(files: Sequence[Content]) -> Iterator[bytes]:
    for file in files:
        header = _header(file)
        header.size = file.size
        yield header.tobuf()
        yield from file.chunks()
        yield bytes(-file.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(file: Content) -> tarfile.TarInfo:
    if isinstance(file, Special):
        return file.header
    header = tarfile.TarInfo(file.path)
    header.mode = file.mode
    return header


def _hashed(chunks: Iterator[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _compressed(chunks: Iterator[bytes], layer: Layer) -> Iterator[bytes]:
    if layer.compression == "none":
        yield from chunks
        return
    gzip = 16 + zlib.MAX_WBITS
    squeeze = (
        zlib.compressobj(layer.level, wbits=gzip)
        if layer.compression == "gzip"
        else zstandard.ZstdCompressor().compressobj()
    )
    for chunk in chunks:
        yield squeeze.compress(chunk)
    yield squeeze.flush()


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def large_layer(file: Path) -> Path:
    """An image's root with one large file that cannot be compressed, as `docker import` takes it."""
    content = os.urandom(96 << 20)
    with tarfile.open(file, "w") as archive:
        member = tarfile.TarInfo("content")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file
