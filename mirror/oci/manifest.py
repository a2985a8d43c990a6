"""Manifests and image configs: what is read out of them, never how they are written.

The raw bytes are what is stored, served and replicated; the structures here only say what the bytes refer to.
Source: OCI image-spec, "Image Manifest", "Image Index", "Image Configuration"; Docker "Image Manifest V2, Schema 2".
"""

import hashlib
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from mirror.oci.ambiguity import check_names
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Digest, digest_of, parse_digest

_T = TypeVar("_T")

MAX_MANIFEST = 4 * 1024 * 1024
"""The largest manifest accepted, in bytes: the limit that the distribution spec asks registries to allow."""

_MAX_SIZE = 2**63 - 1
"""The largest size that every reader of a descriptor can hold: it is an int64 in Go."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_IMAGE_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
_FOREIGN_LAYERS = ("application/vnd.oci.image.layer.nondistributable.", "application/vnd.docker.image.rootfs.foreign.")


class Platform(msgspec.Struct, frozen=True):
    """For which machine an image is, in Go's words (`linux`, `amd64`, `v8`)."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A typed pointer to content: media type, digest and size in bytes."""

    digest: Digest
    size: int
    media_type: str = ""
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: dict[str, str] | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether it is a layer that its owner wants fetched from elsewhere, so no registry need hold it."""
        return self.media_type.startswith(_FOREIGN_LAYERS)

    @property
    def is_manifest(self) -> bool:
        """Whether whoever runs images would follow it: it says that it is an image or an index."""
        return self.media_type in IMAGES | INDEXES


# Unset and null differ: Go writes an empty list as null.
_Descriptors = list[Descriptor] | None | msgspec.UnsetType


class _Document(msgspec.Struct, rename="camel"):
    """All that any kind of manifest refers to; `blobs` is the word of artifact manifests for layers."""

    schema_version: int = 0
    media_type: str | None = None
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: _Descriptors = msgspec.UNSET
    blobs: _Descriptors = msgspec.UNSET
    manifests: _Descriptors = msgspec.UNSET
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None

    def children(self) -> list[Descriptor]:
        """Every descriptor, the subject included."""
        single = [child for child in (self.config, self.subject) if child]
        return [*single, *(self.layers or ()), *(self.blobs or ()), *(self.manifests or ())]


class _Typed(msgspec.Struct, rename="camel"):
    media_type: str | None = None


class _RootFS(msgspec.Struct):
    type: str = "layers"
    diff_ids: list[str] = []


class ImageConfig(msgspec.Struct, frozen=True):
    """The part of an image config that unpacking needs: its platform and its uncompressed layer digests."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    rootfs: _RootFS = msgspec.field(default_factory=_RootFS)

    @property
    def platform(self) -> Platform:
        """The machine the image is for."""
        return Platform(os=self.os, architecture=self.architecture, variant=self.variant)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest beside its raw bytes.

    An image has a config and layers, an index has `manifests`; artifacts of other kinds may have any of them, or
    nothing that we know of. `subject` is the manifest that this one says something about.
    """

    raw: bytes
    digest: Digest
    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def descriptor(self) -> Descriptor:
        """The pointer by which others name this manifest."""
        return Descriptor(digest=self.digest, size=len(self.raw), media_type=self.media_type)

    @property
    def referrer(self) -> Descriptor:
        """The pointer by which this manifest is listed among the referrers of its subject.

        Source: distribution-spec, "Listing Referrers": an image without an artifact type has that of its config.
        """
        artifact_type = self.artifact_type or (self.config.media_type if self.config else "")
        return msgspec.structs.replace(
            self.descriptor, artifact_type=artifact_type, annotations=self.annotations or None
        )

    @property
    def is_runnable(self) -> bool:
        """Whether this is an image that can be unpacked, and no index, attestation, cache or chart."""
        return self.config is not None and self.config.media_type in _IMAGE_CONFIGS

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers, each digest once, in the order of the manifest."""
        every = (*((self.config,) if self.config else ()), *self.layers)
        return tuple({child.digest: child for child in every}.values())

    def edges(self) -> dict[str, Descriptor]:
        """Every child by its place: `config`, `l.<n>` for layers, `m.<n>` for the manifests of an index."""
        config = {"config": self.config} if self.config else {}
        layers = {f"l.{n}": layer for n, layer in enumerate(self.layers)}
        return config | layers | {f"m.{n}": child for n, child in enumerate(self.manifests)}


def parse_manifest(raw: bytes, content_type: str = "") -> Manifest:
    """Read a manifest; `content_type` is the pushing client's header, or what is known from an earlier push.

    No media type is refused but schema 1: of a kind that we do not know, we follow the references that we understand.

    Raises:
        RegistryError: MANIFEST_TOO_LARGE; MANIFEST_INVALID when it is no JSON object, at odds with its Content-Type,
            ambiguous (an image and an index at once), or not what its media type promises.
    """
    if len(raw) > MAX_MANIFEST:
        raise RegistryError(Problem.MANIFEST_TOO_LARGE)
    content_type = content_type.partition(";")[0].strip()
    document = _document(raw, content_type)
    media_type = _media_type(document, content_type)
    for child in document.children():
        _check(child)
    return Manifest(
        raw=raw,
        digest=digest_of(raw),
        media_type=media_type,
        config=document.config,
        layers=(*(document.layers or ()), *(document.blobs or ())),
        manifests=tuple(document.manifests or ()),
        subject=document.subject,
        artifact_type=document.artifact_type or "",
        annotations=document.annotations or {},
    )


def _document(raw: bytes, content_type: str) -> _Document:
    """Decode a manifest; one of an unknown kind may use our words for other things, and refers to nothing then."""
    try:
        return _decode(raw, _Document, "manifest")
    except RegistryError:
        media_type = _decode(raw, _Typed, "manifest").media_type or content_type
        if not media_type or media_type in IMAGES | INDEXES:
            raise
        return _Document(media_type=media_type)


def _media_type(document: _Document, content_type: str) -> str:
    """Settle the kind of a manifest, refusing what two readers could understand in two ways (CVE-2021-41190)."""
    is_image = document.config is not None or isinstance(document.layers, list)
    is_index = isinstance(document.manifests, list) or (document.manifests is None and not is_image)
    if document.schema_version == 1 or content_type.startswith(_SCHEMA_1):
        raise _invalid("schema 1 is not supported")
    if is_index and is_image:
        raise _invalid("an image and an index at once")
    if document.media_type and content_type and document.media_type != content_type:
        raise _invalid(f"Content-Type {content_type!r} but mediaType {document.media_type!r}")
    media_type = document.media_type or content_type or (OCI_INDEX if is_index else OCI_MANIFEST)
    if media_type in IMAGES | INDEXES:
        _check_known(document, media_type)
    return media_type


def _check_known(document: _Document, media_type: str) -> None:
    """Hold the four well-known kinds to what they promise."""
    if document.schema_version != 2:  # noqa: PLR2004 - the only schema version that OCI and Docker still define
        raise _invalid(f"schema version {document.schema_version} is not supported")
    if media_type in INDEXES and document.manifests is msgspec.UNSET:
        raise _invalid("an index needs manifests")
    if media_type in IMAGES and (document.config is None or document.layers is msgspec.UNSET):
        raise _invalid("an image needs a config and layers")


def _check(child: Descriptor) -> None:
    try:
        parse_digest(child.digest)
    except RegistryError as error:
        raise _invalid(error.detail) from error
    if not 0 <= child.size <= _MAX_SIZE:
        raise _invalid(f"{child.digest} cannot have {child.size} bytes")


def _decode(raw: bytes, kind: type[_T], what: str) -> _T:
    """Decode JSON as a whole: also what is not read must be UTF-8, or the upstream would refuse what we accepted."""
    try:
        return msgspec.json.decode(check_names(raw.decode()), type=kind)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"{what}: {error}") from error


def _invalid(detail: str) -> RegistryError:
    return RegistryError(Problem.MANIFEST_INVALID, detail)


def parse_config(raw: bytes) -> ImageConfig:
    """Read an image config.

    Raises:
        RegistryError: MANIFEST_INVALID when it is no JSON or its root filesystem is not made of layers.
    """
    config = _decode(raw, ImageConfig, "image config")
    if config.rootfs.type != "layers":
        raise _invalid(f"image config: rootfs type {config.rootfs.type!r}")
    return config


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chain ID of each layer: the digest of the layer applied on top of all below it.

    Source: OCI image-spec, "Layer ChainID": `ChainID(L0|…|Ln) = sha256(ChainID(L0|…|Ln-1) + " " + DiffID(Ln))`.
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        text = f"{chain[-1]} {diff_id}" if chain else ""
        chain.append("sha256:" + hashlib.sha256(text.encode()).hexdigest() if text else diff_id)
    return chain
