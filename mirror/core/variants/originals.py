"""What variants are made of: images that are here, and their layers of gzip."""

from contextlib import suppress

from mirror.core.errors import ContentMissingError
from mirror.core.layers import extractions
from mirror.core.ports import Content, Grants
from mirror.core.pull import read_whole
from mirror.core.variants.layers import Gzip
from mirror.core.variants.manifests import VARIANT_OF, Image, gzip_layers, is_preferred
from mirror.oci.manifest import MAX_MANIFEST, ImageConfig, Manifest, parse_config, parse_manifest
from mirror.oci.names import Digest, Repository


class Originals:
    """Reads manifests and configs out of containerd; what is gone from there is a ContentMissingError."""

    def __init__(self, content: Content, grants: Grants) -> None:
        self._content = content
        self._grants = grants

    async def load(self, digest: Digest, media_type: str) -> Manifest:
        """A manifest."""
        return parse_manifest(await read_whole(self._content, digest, MAX_MANIFEST), media_type)

    async def find(self, repository: Repository, digest: Digest) -> Manifest | None:
        """A manifest that the repository holds; None if it does not."""
        media_type = await self._grants.media_type(repository, digest)
        return None if media_type is None else await self.load(digest, media_type)

    async def is_variant(self, repository: Repository, digest: Digest) -> bool:
        """Whether the repository holds it, and it was made by us."""
        with suppress(ContentMissingError):
            manifest = await self.find(repository, digest)
            return manifest is not None and VARIANT_OF in manifest.annotations
        return False

    async def images(self, repository: Repository, manifest: Manifest) -> list[Image]:
        """The images in a manifest that have layers of gzip: itself, or those of an index that are here."""
        if not manifest.manifests:
            if not gzip_layers(manifest) or manifest.config is None:
                return []
            return [Image(manifest, (await self._config(manifest.config.digest)).platform)]
        found: list[Image] = []
        for child in manifest.manifests:
            image = await self.find(repository, child.digest)
            if image and image.is_runnable and not image.manifests and not is_preferred([child]):
                found += await self.images(repository, image)
        return found

    async def gzips(self, manifest: Manifest) -> list[Gzip]:
        """Its layers of gzip, with what its config says of them. Raises BadLayerError: the two are at odds."""
        if manifest.config is None:
            return []
        config = await self._config(manifest.config.digest)
        diff_ids = {step.layer.digest: step.diff_id for step in extractions(manifest.layers, config.rootfs.diff_ids)}
        return [Gzip(layer, diff_ids[layer.digest]) for layer in gzip_layers(manifest)]

    async def _config(self, digest: Digest) -> ImageConfig:
        return parse_config(await read_whole(self._content, digest, MAX_MANIFEST))
