"""Answering with stored content, the same way for blobs and manifests."""

from aiohttp import hdrs, web

from mirror.core.errors import ContentMissingError, StoreUnavailableError
from mirror.core.pull import Pull, Stored


async def respond(request: web.Request, pull: Pull, stored: Stored) -> web.StreamResponse:
    """Send what was found, streamed; for a HEAD only what there is to know about it."""
    response = web.StreamResponse(headers={"Docker-Content-Digest": stored.digest})
    response.content_type = stored.media_type
    response.content_length = stored.size
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        try:
            async for data in pull.read(stored):
                await response.write(data)
        except (StoreUnavailableError, ContentMissingError) as error:
            # The status is long gone; only a broken connection can still say that the body is not whole.
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionAbortedError(str(error)) from error
    await response.write_eof()
    return response
