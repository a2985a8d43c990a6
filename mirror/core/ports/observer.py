"""Whoever counts what happens."""

from typing import Protocol

from mirror.core.jobs import Job, Outcome, Task


class Observer(Protocol):
    """Is told of what happens, as it happens; it does not fail, nor take time."""

    def received(self, size: int) -> None:
        """A blob of so many bytes was pushed."""

    def acknowledged(self, job: Job, seconds: float) -> None:
        """A manifest was acknowledged, so long after it came."""

    def attempted(self, task: Task, outcome: Outcome, now: float) -> None:
        """An attempt at a task ended, at `now` in Unix seconds."""

    def sent(self, registry: str, size: int) -> None:
        """A blob of so many bytes was brought to the upstream of a registry."""

    def evicted(self, images: int, freed: int) -> None:
        """Images went, which made so many bytes of room."""


class Nobody:
    """Counts nothing."""

    def received(self, size: int) -> None:
        """See `Observer`."""

    def acknowledged(self, job: Job, seconds: float) -> None:
        """See `Observer`."""

    def attempted(self, task: Task, outcome: Outcome, now: float) -> None:
        """See `Observer`."""

    def sent(self, registry: str, size: int) -> None:
        """See `Observer`."""

    def evicted(self, images: int, freed: int) -> None:
        """See `Observer`."""
