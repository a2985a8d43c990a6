"""What images an archive holds, and their content by digest.

Source: OCI image-spec, "Image Layout"; what `docker save` writes, of old (`manifest.json`, and layers in directories)
and since version 25 (an OCI layout with a `manifest.json` beside it).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import TypeVar

import msgspec

from mirror.archives.files import ArchiveError, Files
from mirror.oci.errors import RegistryError
from mirror.oci.manifest import (
    DOCKER_MANIFEST,
    MAX_MANIFEST,
    OCI_INDEX,
    Descriptor,
    Manifest,
    parse_config,
    parse_manifest,
)
from mirror.oci.names import Digest, digest_of

_T = TypeVar("_T")
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Image:
    """What can be pushed by one name: an image, or an index of some. `names` are those that the archive gives it.

    A name may be no more than a tag.
    """

    manifest: Manifest
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """The images of an archive, and where their content is."""

    files: Files
    images: Sequence[Image]
    places: dict[Digest, str]
    """The names of files, for digests that do not say it themselves."""

    def size(self, digest: Digest) -> int | None:
        """How many bytes a blob or manifest has, None when it is not in here."""
        return self.files.size(self._place(digest))

    def open(self, digest: Digest) -> BufferedReader:
        """A blob from its beginning. Raises ArchiveError: it is not in here."""
        return self.files.open(self._place(digest))

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """A manifest of an index. Raises ArchiveError: it is not in here, or damaged."""
        return _manifest(self.files, self._place(descriptor.digest), descriptor)

    def _place(self, digest: Digest) -> str:
        return self.places.get(digest) or _blob(digest)


def read_archive(files: Files) -> Archive:
    """Find the images of an archive.

    Raises:
        ArchiveError: it has none, or is damaged.
    """
    if files.size("index.json") is not None:
        return Archive(files, _of_layout(files), {})
    if files.size("manifest.json") is not None:
        return _saved(files)
    raise ArchiveError("is neither an OCI layout (index.json) nor what `docker save` writes (manifest.json)")


def _of_layout(files: Files) -> list[Image]:
    index = _parsed(_read(files, "index.json"), OCI_INDEX, "index.json")
    names: dict[Digest, list[str]] = {}
    for entry in index.manifests:
        said = (entry.annotations or {}).get
        names.setdefault(entry.digest, []).extend(dict.fromkeys(filter(None, map(said, _NAMES))))
    entries = {entry.digest: entry for entry in index.manifests}
    return [
        Image(_manifest(files, _blob(digest), entry), tuple(dict.fromkeys(names[digest])))
        for digest, entry in entries.items()
    ]


class _Saved(msgspec.Struct, rename="pascal"):
    """An image in `manifest.json`."""

    config: str
    layers: list[str]
    repo_tags: list[str] | None = None


def _saved(files: Files) -> Archive:
    """Images without manifests: those are made of what there is, in Docker's own form."""
    places: dict[Digest, str] = {}
    images = [_image(files, saved, places) for saved in _decoded(_read(files, "manifest.json"), list[_Saved])]
    return Archive(files, images, places)


def _image(files: Files, saved: _Saved, places: dict[Digest, str]) -> Image:
    raw = _read(files, saved.config)
    try:
        diff_ids = parse_config(raw).rootfs.diff_ids
    except RegistryError as error:
        raise ArchiveError(f"{saved.config}: {error.detail}") from error
    if len(diff_ids) != len(saved.layers):
        raise ArchiveError(f"{saved.config} is of {len(diff_ids)} layers, but {len(saved.layers)} are named")
    places[digest_of(raw)] = saved.config
    layers = [_layer(files, name, diff_id, places) for name, diff_id in zip(saved.layers, diff_ids, strict=True)]
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": _CONFIG, "size": len(raw), "digest": digest_of(raw)},
        "layers": layers,
    }
    return Image(_parsed(json.dumps(document).encode(), DOCKER_MANIFEST, saved.config), tuple(saved.repo_tags or ()))


def _layer(files: Files, name: str, diff_id: str, places: dict[Digest, str]) -> dict[str, object]:
    """The descriptor of a layer; what is not packed must have the digest that the config says."""
    with files.open(name) as layer:
        is_packed = layer.read(len(_GZIP)) == _GZIP
        layer.seek(0)
        digest = Digest(f"sha256:{hashlib.file_digest(layer, 'sha256').hexdigest()}")
    if not is_packed and digest != diff_id:
        raise ArchiveError(f"{name} is damaged: it has the digest {digest}, not {diff_id}")
    places[digest] = name
    return {"mediaType": _LAYER + ".gzip" * is_packed, "size": files.size(name), "digest": digest}


def _manifest(files: Files, name: str, descriptor: Descriptor) -> Manifest:
    raw = _read(files, name)
    if digest_of(raw) != descriptor.digest:
        raise ArchiveError(f"{name} is damaged: it has the digest {digest_of(raw)}")
    return _parsed(raw, descriptor.media_type, name)


def _parsed(raw: bytes, media_type: str, name: str) -> Manifest:
    try:
        return parse_manifest(raw, media_type)
    except RegistryError as error:
        raise ArchiveError(f"{name}: {error.detail}") from error


def _decoded(raw: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except ValueError as error:
        raise ArchiveError(f"manifest.json: {error}") from error


def _read(files: Files, name: str) -> bytes:
    """What is small: manifests and configs."""
    with files.open(name) as file:
        raw = file.read(MAX_MANIFEST + 1)
    if len(raw) > MAX_MANIFEST:
        raise ArchiveError(f"{name} is larger than {MAX_MANIFEST} bytes")
    return raw


def _blob(digest: Digest) -> str:
    return "blobs/" + digest.replace(":", "/", 1)
