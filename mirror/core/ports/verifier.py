"""Somebody who is asked whether an image may be pushed."""

from dataclasses import dataclass
from typing import Protocol

from mirror.core.access import Principal
from mirror.oci.manifest import Manifest
from mirror.oci.names import Reference, Repository


@dataclass(frozen=True, slots=True)
class Candidate:
    """A manifest that somebody wants to push, under all these references at once."""

    repository: Repository
    references: tuple[Reference, ...]
    manifest: Manifest
    principal: Principal


class Verifier(Protocol):
    """Somebody who is asked whether an image may be pushed."""

    async def ask(self, candidate: Candidate) -> str | None:
        """Why it may not, None if it may. Raises VerifierUnavailableError: there is no answer."""
