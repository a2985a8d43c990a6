"""Whether pushes are taken just now, and if not, why."""

from collections.abc import Callable, Sequence

Condition = Callable[[], str | None]
"""Says why pushes are not taken; None when that is no reason."""


class Readiness:
    """What keeps pushes from being taken, put together from those who know."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._conditions = conditions

    def reasons(self) -> list[str]:
        """Why pushes are not taken; empty when they are."""
        return [reason for condition in self._conditions if (reason := condition())]
