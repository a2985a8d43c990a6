"""What a `proxy` can do to a request: an upstream, or the way to it, at its worst."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from tests.rig.exchange import Exchange
from tests.rig.wire import Answer


class Fault(Protocol):
    """Something that is done to a request."""

    def serve(self, exchange: Exchange) -> None:
        """Do it."""


@dataclass(frozen=True)
class PassOn:
    """No fault."""

    def serve(self, exchange: Exchange) -> None:
        """Forward the request and bring back the answer."""
        exchange.forward()
        exchange.reply(exchange.answer())


@dataclass(frozen=True)
class Cut:
    """The connection is reset when the upstream has `after` bytes of the body."""

    after: int

    def serve(self, exchange: Exchange) -> None:
        """The upstream's side ends first, so that it has these bytes for certain when the client tries again."""
        exchange.forward(self.after)
        exchange.abandon()
        exchange.reset()


@dataclass(frozen=True)
class CutAnswer:
    """The upstream does its work, but of its answer (head and body) the client gets `after` bytes and a reset."""

    after: int = 0

    def serve(self, exchange: Exchange) -> None:
        """Forward all, bring back a part."""
        exchange.forward()
        exchange.reply(exchange.answer(), self.after)
        exchange.reset()


@dataclass(frozen=True)
class Stall:
    """Nothing moves any more when the upstream has `after` bytes of the body; the connections stay."""

    after: int

    def serve(self, exchange: Exchange) -> None:
        """Forward a part and wait for the client to give up."""
        exchange.forward(self.after)
        exchange.hang()


@dataclass(frozen=True)
class StallAnswer:
    """The upstream does its work, but of its answer (head and body) the client gets `after` bytes and no more."""

    after: int = 0

    def serve(self, exchange: Exchange) -> None:
        """Forward all, bring back a part and wait for the client to give up."""
        exchange.forward()
        exchange.reply(exchange.answer(), self.after)
        exchange.hang()


@dataclass(frozen=True)
class HoldAnswer:
    """The client gets `after` bytes of the answer (head and body), and the rest once a test says so."""

    after: int
    released: Event

    def serve(self, exchange: Exchange) -> None:
        """Forward all, and wait in the middle of the answer."""
        exchange.forward()
        exchange.reply_in_parts(exchange.answer(), self.after, self.released)


@dataclass(frozen=True)
class Delay:
    """The request is passed on some seconds late."""

    seconds: float

    def serve(self, exchange: Exchange) -> None:
        """Wait first."""
        time.sleep(self.seconds)
        PassOn().serve(exchange)


@dataclass(frozen=True)
class Reply:
    """An answer of our own, once `after` bytes of the body have come (None: all).

    With `forward` the upstream gets these bytes, and does its work when they are all; else it hears nothing.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int | None = None
    forward: bool = False

    def serve(self, exchange: Exchange) -> None:
        """Take or forward, and answer."""
        if self.forward:
            exchange.forward(self.after)
            exchange.abandon()
        else:
            exchange.take(self.after)
        exchange.reply(Answer(self.status, self.headers, self.body))


@dataclass(frozen=True)
class Rewrite:
    """The upstream's answer with one header changed; it is dropped when `change` returns None."""

    header: str
    change: Callable[[str], str | None]

    def serve(self, exchange: Exchange) -> None:
        """Forward, and change what comes back."""
        exchange.forward()
        answer = exchange.answer()
        changed = {name: self._value(name, value) for name, value in answer.headers.items()}
        headers = {name: value for name, value in changed.items() if value is not None}
        exchange.reply(Answer(answer.status, headers, answer.body))

    def _value(self, name: str, value: str) -> str | None:
        return self.change(value) if name.lower() == self.header.lower() else value
