"""The distribution API as a client: what the `Upstream` port needs of it.

Source: OCI distribution-spec, "Pushing blobs" (POST then PUT), "Pushing manifests", "Checking if content exists".
"""

from collections.abc import AsyncIterator
from http import HTTPStatus

from yarl import URL

from mirror.core.errors import UpstreamError
from mirror.oci.manifest import MAX_MANIFEST, Descriptor
from mirror.oci.names import Repository
from mirror.upstream.transport import Transport, require


class RegistryClient:
    """The `Upstream` port over HTTP."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def has_blob(self, repository: Repository, blob: Descriptor) -> bool:
        """Whether the upstream holds this blob, with this size."""
        url = self._transport.url(f"/v2/{repository.path}/blobs/{blob.digest}")
        async with self._transport.request("HEAD", url, scopes=_scopes(repository)) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                return False
            size = answer.content_length
        if size not in {None, blob.size}:
            raise UpstreamError(f"{blob.digest} has {size} bytes there, {blob.size} here", transient=False)
        return True

    async def upload_blob(self, repository: Repository, blob: Descriptor, data: AsyncIterator[bytes]) -> None:
        """Open an upload and send the blob in one request."""
        location = await self._begin(repository)
        url = location.update_query(digest=blob.digest)
        await self._transport.send("PUT", url, size=blob.size, body=data, scopes=_scopes(repository))

    async def _begin(self, repository: Repository) -> URL:
        url = self._transport.url(f"/v2/{repository.path}/blobs/uploads/")
        async with self._transport.request("POST", url, scopes=_scopes(repository)) as answer:
            await require(answer)
            return self._transport.location(answer.headers.get("Location", ""))

    async def put_manifest(self, repository: Repository, reference: str, media_type: str, raw: bytes) -> None:
        """Put a manifest by digest or by tag."""
        url = self._manifest(repository, reference)
        headers = {"Content-Type": media_type}
        async with self._transport.request("PUT", url, headers=headers, body=raw, scopes=_scopes(repository)) as answer:
            await require(answer)

    async def delete_manifest(self, repository: Repository, reference: str) -> bool:
        """Delete a tag or a manifest; False when there was none."""
        url, scopes = self._manifest(repository, reference), _scopes(repository, "pull,push,delete")
        async with self._transport.request("DELETE", url, scopes=scopes) as answer:
            return answer.status != HTTPStatus.NOT_FOUND

    async def get_manifest(self, repository: Repository, reference: str, media_type: str) -> bytes | None:
        """Read a manifest back, None when the upstream has none; what is longer than a manifest may be is cut."""
        url = self._manifest(repository, reference)
        headers = {"Accept": media_type}
        async with self._transport.request("GET", url, headers=headers, scopes=_scopes(repository)) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            chunks = bytearray()
            async for data in answer.content.iter_any():
                chunks += data
                if len(chunks) > MAX_MANIFEST:
                    break
            return bytes(chunks)

    def _manifest(self, repository: Repository, reference: str) -> URL:
        return self._transport.url(f"/v2/{repository.path}/manifests/{reference}")


def _scopes(repository: Repository, actions: str = "pull,push") -> tuple[str]:
    """What a token must allow; the same for all that a job does, so that it needs but one."""
    return (f"repository:{repository.path}:{actions}",)
