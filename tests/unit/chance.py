"""Randomness that a test can foresee."""


class Most:
    """Implements `mirror.core.jobs.Random`; always takes the greatest number allowed."""

    def uniform(self, a: float, b: float) -> float:
        """The greater of the two."""
        return max(a, b)
