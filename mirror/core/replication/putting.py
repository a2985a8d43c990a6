"""Putting a manifest upstream, and seeing it there."""

from mirror.core.errors import UpstreamError
from mirror.core.ports import Upstream
from mirror.oci.names import Repository


async def put_manifest(upstream: Upstream, repository: Repository, reference: str, media_type: str, raw: bytes) -> None:
    """Put a manifest, and believe that it is there only when the same bytes come back.

    Our digest is that of the very bytes. An upstream that says otherwise cannot read a blob of it just now, as
    distribution does while another upload of that blob ends.

    Raises:
        UpstreamError: it was refused, or is not there afterwards.
    """
    try:
        await upstream.put_manifest(repository, reference, media_type, raw)
    except UpstreamError as error:
        if error.code == "DIGEST_INVALID":
            raise UpstreamError(str(error), transient=True, status=error.status, code=error.code) from error
        raise
    if await upstream.get_manifest(repository, reference, media_type) != raw:
        raise UpstreamError(f"accepted manifest {reference} but does not have it", transient=True)
