"""Whether an image may be pushed at all, decided before anything is made of its manifest."""

import structlog

from mirror.core.errors import VerifierUnavailableError
from mirror.core.ports import Candidate, Grants, Verifier
from mirror.core.requirements import Requirements
from mirror.oci.errors import Problem, RegistryError

_log = structlog.get_logger(__name__)
_RETRY_AFTER = "5"


class Verification:
    """What is required of every manifest, and who is asked about each, if anybody is."""

    def __init__(self, requirements: Requirements, verifier: Verifier | None, grants: Grants) -> None:
        self._requirements = requirements
        self._verifier = verifier
        self._grants = grants

    @property
    def asks(self) -> bool:
        """Whether there is anybody to be asked."""
        return self._verifier is not None

    async def check(self, candidate: Candidate) -> None:
        """Decide what can be decided here. Raises RegistryError: DENIED."""
        _admit(candidate, self._requirements.refusal(candidate.manifest) or await self._unknown(candidate))

    async def ask(self, candidate: Candidate) -> None:
        """Have it decided elsewhere. Raises RegistryError: DENIED; VERIFIER_UNAVAILABLE when nobody can tell."""
        if self._verifier is None:
            return
        try:
            reason = await self._verifier.ask(candidate)
        except VerifierUnavailableError as error:
            _log.error("push.undecided", **_names(candidate), reason=str(error))
            raise RegistryError(Problem.VERIFIER_UNAVAILABLE, headers={"Retry-After": _RETRY_AFTER}) from None
        _admit(candidate, reason)

    async def _unknown(self, candidate: Candidate) -> str | None:
        """What an index lists as a manifest that was never pushed as one, so that nobody has looked at it.

        Its bytes may be here all the same, or come later, as a blob; containerd would run it then.
        """
        listed = [child for child in candidate.manifest.manifests if child.is_manifest]
        if not listed:
            return None
        given = await self._grants.given(candidate.repository, [child.digest for child in listed])
        for child in listed:
            if given.get(child.digest) != child.media_type:
                return f"{child.digest} is listed, but was not pushed as {child.media_type!r} before"
        return None


def _admit(candidate: Candidate, reason: str | None) -> None:
    """Let it pass where there is no reason against it."""
    if reason is not None:
        _log.warning("push.refused", **_names(candidate), reason=reason)
        raise RegistryError(Problem.DENIED, reason)


def _names(candidate: Candidate) -> dict[str, object]:
    """What the log says of a push."""
    return {
        "repository": str(candidate.repository),
        "references": [str(reference) for reference in candidate.references],
        "digest": candidate.manifest.digest,
    }
