"""The referrers of a manifest, on an upstream that does not list them itself: an index under a tag of its subject.

Source: OCI distribution-spec, "Referrers Tag Schema" and "Pushing Manifests with Subject".
"""

import msgspec
import structlog

from mirror.core.concurrency import Locks
from mirror.core.errors import UpstreamError
from mirror.core.ports import Grants, Upstream
from mirror.core.replication.doubts import Doubts
from mirror.core.replication.putting import put_manifest
from mirror.oci.manifest import OCI_INDEX, Manifest
from mirror.oci.names import Digest, Repository

_log = structlog.get_logger(__name__)

_Document = dict[str, object]
_Entry = dict[str, object]


class _List(msgspec.Struct):
    manifests: list[_Entry]


class FallbackTags:
    """Keeps the lists of referrers that an upstream needs kept for it.

    Two jobs of ours never change one list at the same time. Somebody else may: the spec has no means against that.
    """

    def __init__(self, grants: Grants) -> None:
        self._grants = grants
        self._locks = Locks()
        self._doubts = Doubts()

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
            document, listed = await self._read(upstream, repository, manifest.subject.digest, tag)
            wanted = [entry for entry in listed if entry.get("digest") != manifest.digest] + entries
            if _digests(wanted) == _digests(listed) and not self._doubts.are_enough(tag):
                return
            raw = msgspec.json.encode(document | {"mediaType": OCI_INDEX, "manifests": wanted})
            await put_manifest(upstream, repository, tag, OCI_INDEX, raw)
        self._doubts.end(tag)
        _log.info("referrers.changed", manifest=manifest.digest, tag=tag)

    async def _read(
        self, upstream: Upstream, repository: Repository, subject: Digest, tag: str
    ) -> tuple[_Document, list[_Entry]]:
        """A list and its entries, with all that others wrote into both; an empty one when there is none yet.

        distribution fails at a tag that it was killed in the middle of writing, until the tag is put again; then the
        list is what we know ourselves.
        """
        try:
            raw = await upstream.get_manifest(repository, tag, OCI_INDEX)
        except UpstreamError as error:
            self._doubts.grow(tag)
            if not error.is_failing or not self._doubts.are_enough(tag):
                raise
            return {"schemaVersion": 2}, await self._known(upstream, repository, subject)
        self._doubts.end(tag)
        return _parsed(raw, tag) if raw is not None else ({"schemaVersion": 2}, [])

    async def _known(self, upstream: Upstream, repository: Repository, subject: Digest) -> list[_Entry]:
        """The referrers that were pushed here and are upstream by now."""
        pushed = await self._grants.referrers(repository, subject)
        return [
            msgspec.to_builtins(entry)
            for entry in pushed
            if await upstream.get_manifest(repository, entry.digest, entry.media_type) is not None
        ]


def _parsed(raw: bytes, tag: str) -> tuple[_Document, list[_Entry]]:
    try:
        document = msgspec.json.decode(raw, type=_Document)
        return document, msgspec.convert(document, _List).manifests
    except msgspec.DecodeError as error:
        raise UpstreamError(f"the tag {tag} is no list of referrers: {error}", transient=False) from error


def _digests(entries: list[_Entry]) -> set[str]:
    return {str(entry.get("digest")) for entry in entries}
