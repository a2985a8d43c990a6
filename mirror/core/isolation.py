"""What an image may name where tenants share a host.

Whoever starts an image by its record does not ask us: containerd reads what is named from the one store that all share,
by digest, and finds what is unpacked by chain IDs, which a config claims. So before an image has a record, all that it
names must be what its repository was given, as what it is named, and claims to what is unpacked already are compared.
"""

import json

from mirror.core.errors import BadLayerError
from mirror.core.layers import extractions
from mirror.core.ports import Content, Grants, Snapshots
from mirror.core.pull import read_whole
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import MAX_MANIFEST, Manifest, parse_config
from mirror.oci.names import Digest, Repository


class Isolation:
    """Refuses images by which somebody would get what others pushed."""

    def __init__(self, content: Content, grants: Grants, snapshots: Snapshots) -> None:
        self._content = content
        self._grants = grants
        self._snapshots = snapshots

    async def check_names(self, repository: Repository, manifest: Manifest) -> None:
        """Refuse a manifest that names anything that the repository does not hold.

        That is stricter than a registry has to be: elsewhere an index may be sparse, and layers of others need not be
        there. What an index lists must have been pushed as such a manifest, as only those were looked at.

        Raises:
            RegistryError: MANIFEST_BLOB_UNKNOWN.
        """
        named = [child.digest for child in manifest.edges().values()]
        held = await self._grants.granted(repository, named)
        unknown = next((digest for digest in named if digest not in held), None) or await self._unpushed(
            repository, manifest
        )
        if unknown:
            raise RegistryError(Problem.MANIFEST_BLOB_UNKNOWN, unknown)

    async def _unpushed(self, repository: Repository, manifest: Manifest) -> Digest | None:
        """The first that an index lists as an image or index, and that was not pushed as that."""
        for child in manifest.manifests:
            if child.is_manifest and await self._grants.media_type(repository, child.digest) != child.media_type:
                return child.digest
        return None

    async def check_claims(self, manifest: Manifest, lease: str) -> None:
        """Refuse an image that claims a snapshot which is not of its layers; `lease` holds what is looked at.

        Layers that nothing is unpacked of under their name are not looked at: that is what unpacking does. Whatever a
        config is called counts, if somebody could take it for that of an image.

        Raises:
            RegistryError: MANIFEST_INVALID.
        """
        if manifest.config is None:
            return
        raw = await read_whole(self._content, manifest.config.digest, MAX_MANIFEST)
        if not _is_of_an_image(raw):
            return
        try:
            for step in extractions(manifest.layers, parse_config(raw).rootfs.diff_ids):
                if not await self._snapshots.exists(step.chain_id):
                    return  # nor does anything that stands on it
                if not await self._snapshots.hold(lease, step):
                    await self._snapshots.extract(step, lease)
        except BadLayerError as error:
            raise RegistryError(Problem.MANIFEST_INVALID, str(error)) from error


def _is_of_an_image(raw: bytes) -> bool:
    """Whether a reader in Go may find a root file system in it.

    Such a one passes over bytes that are no UTF-8, numbers of any length, and depths that are too much for us.
    """
    try:
        config = json.loads(
            raw.decode(errors="replace"),
            object_pairs_hook=lambda pairs: {name.casefold() for name, _ in pairs},
            parse_int=len,
        )
    except ValueError:
        return False
    except RecursionError:
        return True
    return isinstance(config, set) and "rootfs" in config
