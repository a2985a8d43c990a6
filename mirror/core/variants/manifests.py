"""The manifests of variants. Pure: the same original and the same layers make the same bytes.

Source: OCI image-spec, "Image Manifest", "Image Index", "Image Layer Filesystem Changeset"; for the annotation of an
index, containers/image, which skopeo, podman, buildah and CRI-O pull with.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from mirror.core.ports import Recompressed
from mirror.core.variants.modes import Mode
from mirror.oci.manifest import (
    INDEXES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    Platform,
    parse_manifest,
)
from mirror.oci.names import Digest

ARTIFACT_TYPE = "application/vnd.registry-mirror.variant.zstd.v1"
"""What a variant is listed as among the referrers of its original."""

SUFFIX = "-zstd"
"""What is behind a tag under which a variant is found."""

VARIANT_OF = "vnd.registry-mirror.variant-of"
"""The annotation of what was made here: the digest of its original."""

PREFERRED = "io.github.containers.compression.zstd"
"""The annotation by which containers/image takes an image of an index before others for the same machine."""

GZIP_LAYERS = frozenset(
    {"application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"}
)
"""The media types of layers that can be converted."""

_ZSTD_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
# An OCI manifest may not name what only Docker's may; the bytes are the same.
_IN_OCI = {
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.container.image.v1+json": "application/vnd.oci.image.config.v1+json",
}
# They say where in the gzip what is.
_ABOUT_GZIP = ("containerd.io/snapshot/stargz/", "io.containers.estargz.")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that could be converted; `platform` is what its config, or the index that lists it, says."""

    manifest: Manifest
    platform: Platform


def gzip_layers(manifest: Manifest) -> list[Descriptor]:
    """The layers that can be converted, each once."""
    layers = (layer for layer in manifest.layers if layer.media_type in GZIP_LAYERS)
    return list({layer.digest: layer for layer in layers}.values())


def may_have_one(manifest: Manifest, mode: Mode, *, has_tag: bool) -> bool:
    """Whether it is worth looking closer at what was pushed.

    Without a tag only referrers can be found; the images of an index are pushed before it, without one.
    """
    if not has_tag and mode is not Mode.REFERRER:
        return False
    if manifest.subject or VARIANT_OF in manifest.annotations or is_preferred(manifest.manifests):
        return False
    return bool(manifest.manifests) or (manifest.is_runnable and bool(gzip_layers(manifest)))


def is_preferred(entries: Iterable[Descriptor]) -> bool:
    """Whether any of the images of an index is of zstd already."""
    return any((entry.annotations or {}).get(PREFERRED) == "true" for entry in entries)


def variant(original: Manifest, made: Mapping[Digest, Recompressed], mode: Mode) -> Manifest:
    """An image with the same config, and with `made` in the place of the layers that were converted."""
    document = _begun(OCI_MANIFEST, mode)
    raw = json.loads(original.raw)
    document["config"] = _entry(raw["config"])
    document["layers"] = [_layer(layer, made.get(layer["digest"])) for layer in raw["layers"]]
    return _ended(document, original, mode)


def index(original: Manifest, variants: Mapping[Digest, tuple[Image, Manifest]], mode: Mode) -> Manifest:
    """What leads to the variants of an image, or of those of an index; each by the digest of its own original.

    With INDEX all of the original comes first, as readers that know of no such variants take what comes first. With
    others there is a variant for each that has one, and of what has none, the original; but nothing that says something
    about another manifest of the index, which is not there.
    """
    document = _begun(OCI_INDEX, mode)
    entries = json.loads(original.raw)["manifests"] if original.media_type in INDEXES else _alone(variants)
    if mode is Mode.INDEX:
        images = [entry for entry in entries if entry["digest"] in variants]
        document["manifests"] = entries + [_replaced(entry, variants, {PREFERRED: "true"}) for entry in images]
    else:
        kept = (entry for entry in entries if entry["digest"] in variants or not _is_about_another(entry))
        document["manifests"] = [_replaced(entry, variants, {}) for entry in kept]
    return _ended(document, original, mode)


def _begun(media_type: str, mode: Mode) -> dict[str, Any]:
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type}
    if mode is Mode.REFERRER:
        document["artifactType"] = ARTIFACT_TYPE
    return document


def _ended(document: dict[str, Any], original: Manifest, mode: Mode) -> Manifest:
    if mode is Mode.REFERRER:
        document["subject"] = msgspec.to_builtins(original.descriptor)
    document["annotations"] = {**original.annotations, VARIANT_OF: original.digest}
    raw = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return parse_manifest(raw, document["mediaType"])


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    """A descriptor as an OCI manifest may have it."""
    return {**entry, "mediaType": _IN_OCI.get(entry["mediaType"], entry["mediaType"])}


def _layer(layer: dict[str, Any], made: Recompressed | None) -> dict[str, Any]:
    if made is None:
        return _entry(layer)
    annotations = {
        name: text for name, text in (layer.get("annotations") or {}).items() if not name.startswith(_ABOUT_GZIP)
    }
    new: dict[str, Any] = {"mediaType": _ZSTD_LAYER, "digest": made.digest, "size": made.size}
    return {**new, "annotations": annotations} if annotations else new


def _alone(variants: Mapping[Digest, tuple[Image, Manifest]]) -> list[dict[str, Any]]:
    """What an index would say of the one image that there is."""
    return [
        {**msgspec.to_builtins(image.manifest.descriptor), "platform": _platform(image.platform)}
        for image, _ in variants.values()
    ]


def _platform(platform: Platform) -> dict[str, str]:
    words = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return {name: word for name, word in words.items() if word}


def _replaced(
    entry: dict[str, Any], variants: Mapping[Digest, tuple[Image, Manifest]], more: Mapping[str, str]
) -> dict[str, Any]:
    """An entry of an index with its variant in its place, if it has one."""
    if entry["digest"] not in variants:
        return entry
    _, made = variants[entry["digest"]]
    annotations = {**(entry.get("annotations") or {}), **more}
    new = {**entry, "mediaType": made.media_type, "digest": made.digest, "size": len(made.raw)}
    return {**new, "annotations": annotations} if annotations else new


def _is_about_another(entry: dict[str, Any]) -> bool:
    """As BuildKit's attestations are.

    Source: BuildKit, docs/attestations/attestation-storage.md, "vnd.docker.reference.digest".
    """
    return "vnd.docker.reference.digest" in (entry.get("annotations") or {})
