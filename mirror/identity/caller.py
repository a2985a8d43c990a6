"""What is known of whoever sent a request, and what it is worth."""

from dataclasses import dataclass, field
from typing import Protocol

from mirror.core.access import Principal

Subject = tuple[tuple[str, str], ...]
"""The attributes of a certificate's subject in their order, by their short names: `(("O", "acme"), ("CN", "ci-7"))`."""


class UnidentifiedError(Exception):
    """What a caller shows is not accepted; the reason is for the log alone, and holds nothing of it."""


class TooManyLoginsError(Exception):
    """From this source there are as many passwords to be checked as there may be."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a connection and a request say of who is there.

    `address` is where it comes from, None on a unix socket; `authorization` the header; `subject` that of the client
    certificate, which has been verified; None without one.
    """

    address: str | None = None
    authorization: str | None = field(default=None, repr=False)
    subject: Subject | None = None


class Bearers(Protocol):
    """A kind of bearer token."""

    def principal(self, token: str) -> Principal | None:
        """Whom a token stands for, None when it is none of this kind. Raises UnidentifiedError, UnusableFileError."""
