"""The rules of upload sessions."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.upload import Chunk, check_length, check_start, parse_content_range, progress
from mirror.oci.errors import Problem, RegistryError

BLOB = bytes(range(256)) * 4


async def _no_bytes() -> AsyncIterator[bytes]:
    return
    yield b""


def chunk(start: int | None = None, length: int | None = None) -> Chunk:
    """A chunk as its headers announce it."""
    return Chunk(_no_bytes(), start, length)


positions = st.integers(0, len(BLOB))


@given(st.lists(st.tuples(st.one_of(st.none(), positions), positions)))
def test_a_session_holds_exactly_the_contiguous_bytes(sent: list[tuple[int | None, int]]) -> None:
    """However chunks are replayed, reordered or left out, what was accepted is a prefix of the blob.

    Each is (start, end); a client that names no start sends what follows the bytes that the last answer spoke of.
    """
    session = b""
    for start, end in sent:
        begin = len(session) if start is None else start
        with suppress(RegistryError):
            check_start(chunk(start), len(session))
            session += BLOB[begin:end]
        assert session == BLOB[: len(session)]


@given(positions, positions)
def test_a_replay_is_refused_and_a_gap_too(start: int, offset: int) -> None:
    """A chunk is accepted at the offset and nowhere else; the refusal says where to go on."""
    if start == offset:
        check_start(chunk(start), offset)
        return
    with pytest.raises(RegistryError) as refusal:
        check_start(chunk(start), offset)
    assert refusal.value.problem is Problem.RANGE_INVALID
    assert refusal.value.headers == {"Range": progress(offset)}


@given(st.one_of(st.none(), positions), positions)
def test_a_chunk_is_as_long_as_it_said(announced: int | None, received: int) -> None:
    """Too short and too long are refused; what was not announced cannot be wrong."""
    if announced in {None, received}:
        check_length(chunk(length=announced), received)
        return
    with pytest.raises(RegistryError, match="SIZE_INVALID"):
        check_length(chunk(length=announced), received)


@given(st.integers(0, 10**15), st.integers(1, 10**15), st.sampled_from(["{}-{}", "bytes={}-{}", "bytes {}-{}/*"]))
def test_every_range_is_read_back(start: int, length: int, form: str) -> None:
    """Both ends are inclusive, in the spec's form and in HTTP's."""
    header = form.format(start, start + length - 1)
    assert parse_content_range(header, None) == (start, length)
    assert parse_content_range(header, length) == (start, length)


@pytest.mark.parametrize(
    ("header", "content_length", "expected"),
    [
        (None, None, (None, None)),
        (None, 0, (None, 0)),
        (None, 7, (None, 7)),
        ("0-0", None, (0, 1)),
        ("0-0", 1, (0, 1)),
        (" 0-9 ", 10, (0, 10)),
        ("bytes 10-19/100", 10, (10, 10)),
    ],
)
def test_where_a_chunk_begins_and_how_long_it_is(
    header: str | None, content_length: int | None, expected: tuple[int | None, int | None]
) -> None:
    """Content-Range says both; without it only the length may be known."""
    assert parse_content_range(header, content_length) == expected


@pytest.mark.parametrize(
    "header",
    [
        *("", "-", "1", "1-", "-1", "a-b", "0-1-2", "-1-2", "+0-9", "0x0-0x9", "0 - 9", "octets 0-9", "0-9/"),
        *("0-9\n0-9", "\u0660-\u0669", "0-" + "9" * 5000),
    ],
)
def test_a_malformed_range_is_refused(header: str) -> None:
    """What is no `<start>-<end>` in plain digits is BLOB_UPLOAD_INVALID."""
    with pytest.raises(RegistryError) as refusal:
        parse_content_range(header, None)
    assert refusal.value.problem is Problem.UPLOAD_INVALID


@pytest.mark.parametrize(("header", "content_length"), [("9-0", None), ("0-9", 9), ("0-9", 11), ("0-0", 0)])
def test_headers_that_disagree_are_refused(header: str, content_length: int | None) -> None:
    """An end before its start, or a Content-Length of another size, is SIZE_INVALID."""
    with pytest.raises(RegistryError, match="SIZE_INVALID"):
        parse_content_range(header, content_length)


@pytest.mark.parametrize(("offset", "header"), [(0, "0-0"), (1, "0-0"), (2, "0-1"), (1000, "0-999")])
def test_progress(offset: int, header: str) -> None:
    """The last byte held, inclusive; nothing at all is `0-0` as well."""
    assert progress(offset) == header
