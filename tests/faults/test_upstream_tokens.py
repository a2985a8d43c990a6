"""Tokens that end while they are needed."""

from collections.abc import Iterator

import pytest

from tests.faults.way import HALF, Way, layer
from tests.rig.gate import Gate
from tests.rig.proxy import Proxy


@pytest.fixture
def gate(proxy: Proxy) -> Gate:
    """It stands before the upstream, and tokens are for ever until a test says otherwise."""
    gate = Gate(proxy.url)
    proxy.arm(gate, times=None)
    return gate


@pytest.fixture(autouse=True)
def no_token_is_told(gate: Gate, way: Way) -> Iterator[None]:
    """Whatever happens, the log and the journal hold no token."""
    yield
    journal = b"".join(path.read_bytes() for path in way.daemon.directory.glob("journal.db*"))
    written = journal + way.daemon.log.read_bytes()
    assert gate.issued
    assert [token for token in gate.issued if token.encode() in written] == []


@pytest.mark.parametrize("uses", [2, 3, 4, 5, 6])
def test_a_token_that_ends_in_a_job(way: Way, gate: Gate, uses: int) -> None:
    """At whichever request it is: a new one is asked for, and the image arrives."""
    gate.uses = uses
    way.arrives(way.push())
    assert len(gate.issued) == 2


def test_401_in_the_middle_of_a_blob(way: Way, gate: Gate) -> None:
    """The blob is sent again with a new token."""
    gate.after, gate.uses = HALF, 2  # the question and the beginning of the upload
    way.arrives(way.push(alone=True))
    assert HALF in way.sent()
    assert len(gate.issued) == 2


def test_tokens_are_kept(way: Way, gate: Gate) -> None:
    """While a token is good, no other is asked for."""
    way.arrives(way.push())
    other = layer(8)
    way.arrives(way.push(other, "v2"), other, "v2")
    assert len(gate.issued) == 1


def test_a_forgotten_token(way: Way, gate: Gate) -> None:
    """A token that the upstream forgot before its time is replaced."""
    way.arrives(way.push())
    gate.expire()
    other = layer(8)
    way.arrives(way.push(other, "v2"), other, "v2")
    assert len(gate.issued) == 2
