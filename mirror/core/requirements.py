"""What a manifest must be like to be taken: one decision, made from the settings and the manifest alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mirror.oci.manifest import Descriptor, Manifest


@dataclass(frozen=True, slots=True)
class Requirements:
    """What every manifest that is pushed must be like, whatever it is; 0 is no limit, and an empty set takes all.

    `media_types` are those of manifests, `blob_media_types` those of configs and layers. `layers` is how many there may
    be, `layer_bytes` how large each, `image_bytes` how large all blobs together, each counted once. `annotations` must
    be there, with the value that is given, or with any where that is empty.
    """

    media_types: frozenset[str] = frozenset()
    blob_media_types: frozenset[str] = frozenset()
    layers: int = 0
    layer_bytes: int = 0
    image_bytes: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)

    def refusal(self, manifest: Manifest) -> str | None:
        """Why a manifest is not taken, None if it is."""
        return next(self._refusals(manifest), None)

    def _refusals(self, manifest: Manifest) -> Iterator[str]:
        layers = _layers(manifest)
        yield from self._kinds(manifest, layers)
        yield from self._sizes(manifest, layers)
        yield from self._missing(manifest.annotations)

    def _kinds(self, manifest: Manifest, layers: list[Descriptor]) -> Iterator[str]:
        if self.media_types and manifest.media_type not in self.media_types:
            yield f"manifests of type {manifest.media_type!r} are not taken"
        for blob in (*((manifest.config,) if manifest.config else ()), *layers):
            if self.blob_media_types and blob.media_type not in self.blob_media_types:
                yield f"{blob.digest} is of type {blob.media_type!r}, which is not taken"

    def _sizes(self, manifest: Manifest, layers: list[Descriptor]) -> Iterator[str]:
        if self.layers and len(layers) > self.layers:
            yield f"{len(layers)} layers are more than {self.layers}"
        for layer in layers:
            if self.layer_bytes and layer.size > self.layer_bytes:
                yield f"{layer.digest} has {layer.size} bytes, more than {self.layer_bytes}"
        size = sum({blob.digest: blob.size for blob in (*manifest.blobs, *layers)}.values())
        if self.image_bytes and size > self.image_bytes:
            yield f"{size} bytes altogether are more than {self.image_bytes}"

    def _missing(self, annotations: Mapping[str, str]) -> Iterator[str]:
        for name, value in self.annotations.items():
            if name not in annotations:
                yield f"the annotation {name!r} is missing"
            elif value and annotations[name] != value:
                yield f"the annotation {name!r} is not {value!r}"


def _layers(manifest: Manifest) -> list[Descriptor]:
    """All blobs but the config: a build cache lists its layers in an index."""
    return [*manifest.layers, *(child for child in manifest.manifests if not child.is_manifest)]
