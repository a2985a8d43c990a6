"""The referrers of a manifest, on an upstream that does not list them itself: an index under a tag of its subject.

Source: OCI distribution-spec, "Referrers Tag Schema" and "Pushing Manifests with Subject".
"""

import msgspec
import structlog

from mirror.core.concurrency import Locks
from mirror.core.errors import UpstreamError
from mirror.core.ports import Upstream
from mirror.oci.manifest import OCI_INDEX, Manifest
from mirror.oci.names import Repository

_log = structlog.get_logger(__name__)

_Document = dict[str, object]
_Entry = dict[str, object]


class _List(msgspec.Struct):
    manifests: list[_Entry]


class FallbackTags:
    """Keeps the lists of referrers that an upstream needs kept for it.

    Two jobs of ours never change one list at the same time. Somebody else may: the spec has no means against that.
    """

    def __init__(self) -> None:
        self._locks = Locks()

    async def add(self, upstream: Upstream, repository: Repository, manifest: Manifest) -> None:
        """List a manifest that is upstream among the referrers of its subject. Raises UpstreamError."""
        await self._change(upstream, repository, manifest, [msgspec.to_builtins(manifest.referrer)])

    async def remove(self, upstream: Upstream, repository: Repository, manifest: Manifest) -> None:
        """Take a manifest off the list of its subject. Raises UpstreamError."""
        await self._change(upstream, repository, manifest, [])

    async def _change(
        self, upstream: Upstream, repository: Repository, manifest: Manifest, entries: list[_Entry]
    ) -> None:
        """Let `entries` be what the list says of the manifest; what it says of others stays as it is."""
        if manifest.subject is None or await upstream.lists_referrers(repository, manifest.subject.digest):
            return
        tag = manifest.subject.digest.replace(":", "-", 1)
        async with self._locks.alone(f"{repository}:{tag}"):
            document, listed = await _read(upstream, repository, tag)
            wanted = [entry for entry in listed if entry.get("digest") != manifest.digest] + entries
            if {str(entry.get("digest")) for entry in wanted} == {str(entry.get("digest")) for entry in listed}:
                return
            raw = msgspec.json.encode(document | {"mediaType": OCI_INDEX, "manifests": wanted})
            await upstream.put_manifest(repository, tag, OCI_INDEX, raw)
        _log.info("referrers.changed", manifest=manifest.digest, tag=tag)


async def _read(upstream: Upstream, repository: Repository, tag: str) -> tuple[_Document, list[_Entry]]:
    """A list and its entries, with all that others wrote into both; an empty one when there is none yet."""
    raw = await upstream.get_manifest(repository, tag, OCI_INDEX)
    if raw is None:
        return {"schemaVersion": 2}, []
    try:
        document = msgspec.json.decode(raw, type=_Document)
        return document, msgspec.convert(document, _List).manifests
    except msgspec.DecodeError as error:
        raise UpstreamError(f"the tag {tag} is no list of referrers: {error}", transient=False) from error
