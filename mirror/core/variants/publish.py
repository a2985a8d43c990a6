"""Acknowledging a variant, and whatever leads to it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from mirror.core.ports import Images, Recompressed
from mirror.core.publish import ManifestPush
from mirror.core.variants.errand import Errand, UnwantedError
from mirror.core.variants.manifests import SUFFIX, Image, index, variant
from mirror.core.variants.modes import Mode
from mirror.core.variants.originals import Originals
from mirror.oci.manifest import Manifest
from mirror.oci.names import Digest, Reference, parse_tag

Check = Callable[[], Awaitable[None]]
"""Raises whatever says that a variant is not wanted any more."""


class Publisher:
    """What a builder would do at the end, by the same use case: the manifests from the leaves up, the tag last."""

    def __init__(self, images: Images, originals: Originals, manifests: ManifestPush) -> None:
        self._images = images
        self._originals = originals
        self._manifests = manifests

    async def publish(
        self, errand: Errand, images: Sequence[Image], made: Mapping[Digest, Recompressed], check: Check
    ) -> tuple[str, Digest]:
        """Acknowledge the variants of `images`, what leads to them last; returns the name by which they are found.

        Raises:
            UnwantedError: somebody else has that tag.
            RegistryError: as `ManifestPush.derive`; whatever `check` raises.
        """
        original, mode = errand.manifest, errand.wish.mode
        variants = {image.manifest.digest: (image, variant(image.manifest, made, mode)) for image in images}
        leads, tops = mode is Mode.INDEX or bool(original.manifests), [each for _, each in variants.values()]
        top = index(original, variants, mode) if leads else tops.pop()
        if mode is Mode.INDEX and original.manifests:
            # Nothing else leads to it any more, once the tag does not.
            tops.append(original)
        for each in tops:
            await self._put(errand, Reference(None, each.digest), each, check)
        reference = await self._found_by(errand, top)
        await self._put(errand, reference, top, check)
        return errand.repository.image(reference), top.digest

    async def _found_by(self, errand: Errand, top: Manifest) -> Reference:
        """What a variant is found by."""
        if errand.wish.mode is Mode.REFERRER:
            return Reference(None, top.digest)
        if errand.wish.mode is Mode.INDEX:
            return errand.reference
        reference = parse_tag(f"{errand.reference}{SUFFIX}")
        record = await self._images.get(errand.repository.image(reference))
        if record and not await self._originals.is_variant(errand.repository, record.target.digest):
            raise UnwantedError(f"the tag {reference} is not of a variant")
        return reference

    async def _put(self, errand: Errand, reference: Reference, manifest: Manifest, check: Check) -> None:
        """Acknowledge a manifest, unless it was already, and is there."""
        record = await self._images.get(errand.repository.image(reference))
        if record is None or record.target.digest != manifest.digest:
            await self._manifests.derive(errand.repository, reference, manifest, check)
