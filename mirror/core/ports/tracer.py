"""Whoever is told what is done in which order, and how long it takes."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol, Self

from mirror.core.trace import Trace

Attributes = Mapping[str, str | int]
"""What is said of a span, by OpenTelemetry's names where it has one."""

Role = Literal["internal", "server", "client"]
"""Whether a span is an answer to somebody, a question to somebody, or neither."""

_NONE: Attributes = {}


class Span(Protocol):
    """A piece of work under way."""

    def note(self, attributes: Attributes) -> None:
        """Say more of it."""

    def fail(self, reason: str) -> None:
        """It did not succeed, although nothing is raised."""


class Tracer(Protocol):
    """Is told of pieces of work as they begin and end; it does not fail, nor wait for anybody.

    What is raised from within a span makes it one that failed, and is raised on.
    """

    def joined(
        self, name: str, trace: Trace | None, attributes: Attributes = _NONE, role: Role = "internal"
    ) -> AbstractContextManager[Span]:
        """Work that somebody else, or an earlier process, wants to have in a trace; without one it begins its own."""

    def span(self, name: str, attributes: Attributes = _NONE, role: Role = "internal") -> AbstractContextManager[Span]:
        """A part of the work that the caller is in; where that is none, nothing is told."""

    def current(self) -> Trace | None:
        """The span that the caller is in, for others who go on with it."""


class _Nothing:
    """Is a span, and the context of one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def note(self, attributes: Attributes) -> None:
        """See `Span`."""

    def fail(self, reason: str) -> None:
        """See `Span`."""


NOTHING = _Nothing()
"""The span of what is not traced."""


class Untraced:
    """Tells nobody of anything."""

    def joined(
        self,
        name: str,  # noqa: ARG002 - as the port has it
        trace: Trace | None,  # noqa: ARG002 - the same
        attributes: Attributes = _NONE,  # noqa: ARG002 - the same
        role: Role = "internal",  # noqa: ARG002 - the same
    ) -> _Nothing:
        """See `Tracer`."""
        return NOTHING

    def span(
        self,
        name: str,  # noqa: ARG002 - as the port has it
        attributes: Attributes = _NONE,  # noqa: ARG002 - the same
        role: Role = "internal",  # noqa: ARG002 - the same
    ) -> _Nothing:
        """See `Tracer`."""
        return NOTHING

    def current(self) -> Trace | None:
        """See `Tracer`."""
        return None
