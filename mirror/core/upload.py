"""The pure rules of upload sessions: which chunk may follow what is there.

Source: OCI distribution-spec, "Pushing a blob in chunks".
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from mirror.core.party import NOBODY, Party
from mirror.oci.errors import Problem, RegistryError

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The body of one request of a session, which counts for the party `by`.

    `start` and `length` are in bytes and None where the client did not say: then the chunk goes to the end, and is as
    long as it turns out to be.
    """

    body: AsyncIterator[bytes | bytearray]
    start: int | None
    length: int | None
    by: Party = NOBODY


def parse_content_range(header: str | None, content_length: int | None) -> tuple[int | None, int | None]:
    """Where a chunk begins and how long it is, from `Content-Range: <start>-<end>` and `Content-Length`.

    Raises:
        RegistryError: BLOB_UPLOAD_INVALID for a malformed range, SIZE_INVALID when the two headers disagree.
    """
    if header is None:
        return None, content_length
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        raise RegistryError(Problem.UPLOAD_INVALID, "Content-Range must be <start>-<end>")
    start, end = int(match[1]), int(match[2])
    length = end - start + 1
    if length < 1 or content_length not in {None, length}:
        raise RegistryError(Problem.SIZE_INVALID, f"Content-Range {header!r}, Content-Length {content_length}")
    return start, length


def check_start(chunk: Chunk, offset: int) -> None:
    """Refuse a chunk that does not continue at `offset`, a replayed one too: bytes are never doubled.

    Raises:
        RegistryError: RANGE_INVALID (416), with the `Range` the session stands at.
    """
    if chunk.start is not None and chunk.start != offset:
        raise RegistryError(
            Problem.RANGE_INVALID, f"the next byte is {offset}, not {chunk.start}", {"Range": progress(offset)}
        )


def check_size(size: int, most: int) -> None:
    """Refuse what makes a blob of more than `most` bytes; 0 is no limit. Raises RegistryError: BLOB_TOO_LARGE."""
    if most and size > most:
        raise RegistryError(Problem.BLOB_TOO_LARGE, f"the limit is {most} bytes")


def check_length(chunk: Chunk, received: int) -> None:
    """Refuse a chunk that turned out shorter or longer than it said.

    Raises:
        RegistryError: SIZE_INVALID.
    """
    if chunk.length is not None and chunk.length != received:
        raise RegistryError(Problem.SIZE_INVALID, f"{chunk.length} bytes announced, {received} received")


def progress(offset: int) -> str:
    """The `Range` header of a session that holds `offset` bytes; `0-0` also stands for none, as clients expect."""
    return f"0-{max(offset - 1, 0)}"
