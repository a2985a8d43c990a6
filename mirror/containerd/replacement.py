"""Replacing content whose file is damaged: containerd keeps a file that it has, whatever is written anew."""

import re
import secrets
from collections.abc import AsyncIterator, Mapping

from mirror.containerd.content import ContentStore
from mirror.containerd.leases import LeaseManager
from mirror.containerd.stream import StreamImporter
from mirror.oci.names import Digest

# Source: containerd, docs/garbage-collection.md, "Supported labels"; a snapshotter's name ends at a slash.
_CONTENT = re.compile(r"containerd\.io/gc\.ref\.content\b.*")
_SNAPSHOT = re.compile(r"containerd\.io/gc\.ref\.snapshot\.([^/]+).*")


class ContentReplacement:
    """Implements `mirror.core.ports.Replacement`.

    The file goes only when the garbage is collected, and only if no other namespace of containerd has the digest too.
    The bytes come by the stream, whatever way uploads take: its COMMIT sets labels.
    """

    def __init__(self, content: ContentStore, stream: StreamImporter, leases: LeaseManager) -> None:
        self._content = content
        self._stream = stream
        self._leases = leases

    async def replace(self, digest: Digest, data: AsyncIterator[bytes], lease: str) -> None:
        """See `Replacement.replace`."""
        ref = f"registry-mirror/repair/{secrets.token_hex(8)}"
        ingest = await self._stream.open(ref, lease)
        try:
            async for chunk in data:
                await ingest.write(chunk)
            await ingest.verify(digest)
            labels = await self._content.labels(digest)
            await self._hold(labels, lease)
            await self._content.delete(digest)
            await self._leases.collect()
            await ingest.commit(digest, labels)
        except BaseException:  # a cancelled repair too: its ingest would be nobody's
            await ingest.close()
            await self._stream.abort(ref)
            raise

    async def _hold(self, labels: Mapping[str, str], lease: str) -> None:
        """Lease what the content refers to: for as long as it is not there, nothing else may keep that."""
        for label, name in labels.items():
            if _CONTENT.fullmatch(label):
                await self._leases.add(lease, "content", name)
            elif snapshot := _SNAPSHOT.fullmatch(label):
                await self._leases.add(lease, f"snapshots/{snapshot[1]}", name)
