"""The distribution API as a client: what the `Upstream` port needs of it.

Source: OCI distribution-spec, "Pushing blobs" (POST then PUT, and GET for where an upload stands), "Mounting a blob
from another repository", "Pushing manifests", "Checking if content exists", "Listing Referrers".
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus

from aiohttp import ClientResponse, hdrs
from yarl import URL

from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.ports import Incoming, Transfer
from mirror.oci.errors import RegistryError
from mirror.oci.manifest import IMAGES, INDEXES, MAX_MANIFEST, OCI_INDEX, Descriptor
from mirror.oci.names import Digest, Repository, digest_of, parse_digest
from mirror.upstream.answers import LOST, first, require
from mirror.upstream.transport import Transport

_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_DIGEST = "Docker-Content-Digest"
# Registries convert, or refuse, what is not asked for.
_ANY_MANIFEST = {"Accept": ", ".join([*sorted(IMAGES | INDEXES), "*/*"])}


class RegistryClient:
    """The `Upstream` port over HTTP.

    With `patience` what is pulled must begin, and go on, within so many seconds; else within those of the transport.
    """

    def __init__(self, transport: Transport, patience: float | None = None) -> None:
        self._transport = transport
        self._patience = patience

    async def probe(self) -> None:
        """Ask for the version: whoever answers, be it with 401, is there."""
        await self._transport.probe()

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

    async def begin_upload(
        self, repository: Repository, digest: Digest, source: Repository | None = None
    ) -> Transfer | None:
        """Open an upload, or mount the blob from another repository: None when that worked."""
        url, scopes = self._transport.url(f"/v2/{repository.path}/blobs/uploads/"), _scopes(repository)
        if source is not None:
            url = url.update_query({"mount": digest, "from": source.path})
            scopes = (*scopes, *_scopes(source, "pull"))
        async with self._transport.request("POST", url, scopes=scopes) as answer:
            await require(answer)
            if source is not None and answer.status == HTTPStatus.CREATED:
                return None
            return Transfer(str(self._transport.location(answer.headers.get("Location", ""))), 0)

    async def give_up_upload(self, repository: Repository, transfer: Transfer) -> None:
        """End an upload that nothing is to come of (DELETE, which the spec leaves open, and distribution has)."""
        url = URL(transfer.location, encoded=True)
        async with self._transport.request("DELETE", url, scopes=_scopes(repository)) as answer:
            await require(answer)

    async def find_upload(self, repository: Repository, transfer: Transfer) -> Transfer | None:
        """Ask where an upload stands; None when the upstream does not say.

        A `Range` of `0-0` may mean one byte or none (distribution says it for both), and so is taken for none.
        """
        url = URL(transfer.location, encoded=True)
        try:
            async with self._transport.request("GET", url, scopes=_scopes(repository)) as answer:
                await require(answer)
                last = _RANGE.fullmatch(answer.headers.get("Range", ""))
                location = answer.headers.get("Location")
                goes_on = str(self._transport.location(location)) if location else transfer.location
        except UpstreamError as error:
            if error.transient and error.code not in LOST:
                raise
            return None
        if last is None or last[1] == "0":
            return None
        return Transfer(goes_on, int(last[1]) + 1)

    async def upload_blob(
        self, repository: Repository, blob: Descriptor, transfer: Transfer, data: AsyncIterator[bytes]
    ) -> None:
        """Send what is missing in one request, which is also the one that finishes the upload."""
        url = URL(transfer.location, encoded=True).update_query(digest=blob.digest)
        left = blob.size - transfer.offset
        headers = {"Content-Range": f"{transfer.offset}-{blob.size - 1}"} if transfer.offset and left else {}
        await self._transport.send(url, data, size=left, headers=headers, scopes=_scopes(repository))

    @asynccontextmanager
    async def open_blob(
        self, repository: Repository, digest: Digest, first: int | None = None
    ) -> AsyncIterator[Incoming]:
        """Ask for a blob, or for the `first` bytes of it, and stream it. Raises ContentMissingError, UpstreamError.

        Not every registry heeds what is asked of it: then all of the blob begins to come.
        """
        part: dict[str, str] = {} if first is None else {hdrs.RANGE: f"bytes=0-{first - 1}"}
        url = self._transport.url(f"/v2/{repository.path}/blobs/{digest}")
        async with self._asked("GET", url, repository, {"Accept-Encoding": "identity", **part}) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                raise ContentMissingError(digest)
            _check_digest(answer, digest)
            yield Incoming(answer.content_length, answer.content.iter_any())

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
            return await first(answer, MAX_MANIFEST + 1)

    async def find_manifest(self, repository: Repository, reference: str) -> Descriptor | None:
        """Ask which manifest a tag or a digest means; where the answer does not say it all, by reading it."""
        async with self._asked("HEAD", self._manifest(repository, reference), repository, _ANY_MANIFEST) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            said, size, media_type = answer.headers.get(_DIGEST), answer.content_length, answer.content_type
        if said and size is not None and hdrs.CONTENT_TYPE in answer.headers:
            return Descriptor(digest=_digest(said), size=size, media_type=media_type)
        found = await self.fetch_manifest(repository, reference)
        return found and Descriptor(digest=digest_of(found[0]), size=len(found[0]), media_type=found[1])

    async def fetch_manifest(self, repository: Repository, reference: str) -> tuple[bytes, str] | None:
        """A manifest with its Content-Type; what is longer than a manifest may be is cut."""
        async with self._asked("GET", self._manifest(repository, reference), repository, _ANY_MANIFEST) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            media_type = answer.content_type if hdrs.CONTENT_TYPE in answer.headers else ""
            return await first(answer, MAX_MANIFEST + 1), media_type

    def _asked(
        self, method: str, url: URL, repository: Repository, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[ClientResponse]:
        """Ask for somebody who waits for it, with a token that allows no more."""
        scopes = _scopes(repository, "pull")
        return self._transport.request(method, url, headers=headers, scopes=scopes, patience=self._patience)

    async def lists_referrers(self, repository: Repository, subject: Digest) -> bool:
        """Whether the upstream has the referrers API: it answers 404 where it has not, or refuses in its own way."""
        url = self._transport.url(f"/v2/{repository.path}/referrers/{subject}")
        headers = {"Accept": OCI_INDEX}
        try:
            async with self._transport.request("GET", url, headers=headers, scopes=_scopes(repository)) as answer:
                return answer.status != HTTPStatus.NOT_FOUND and answer.content_type == OCI_INDEX
        except UpstreamError as error:
            if error.transient and error.status != HTTPStatus.NOT_IMPLEMENTED:
                raise
            return False

    def _manifest(self, repository: Repository, reference: str) -> URL:
        return self._transport.url(f"/v2/{repository.path}/manifests/{reference}")


def _check_digest(answer: ClientResponse, digest: Digest) -> None:
    said = answer.headers.get(_DIGEST, digest)
    if said != digest:
        raise UpstreamError(f"answered a request for {digest} with {said[:100]!r}", transient=False)


def _digest(said: str) -> Digest:
    try:
        return parse_digest(said)
    except RegistryError as error:
        raise UpstreamError(f"says that a manifest is {said[:100]!r}", transient=False) from error


def _scopes(repository: Repository, actions: str = "pull,push") -> tuple[str, ...]:
    """What a token must allow; the same for all that a job does, so that it needs but one."""
    return (f"repository:{repository.path}:{actions}",)
