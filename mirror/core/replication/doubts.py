"""Questions that an upstream fails to answer: it is not asked for ever."""

from collections import Counter

_QUESTIONS = 3


class Doubts:
    """How often each question failed; after three times it is to be done without an answer."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def grow(self, question: str) -> None:
        """It failed once more."""
        self._counts[question] += 1

    def are_enough(self, question: str) -> bool:
        """Whether it failed so often that it is to be done without an answer."""
        return self._counts[question] >= _QUESTIONS

    def end(self, question: str) -> None:
        """It was answered, or is of no interest any more."""
        self._counts.pop(question, None)
