"""What a verifier is told of a push."""

import msgspec

from mirror.core.ports import Candidate


def question(candidate: Candidate) -> bytes:
    """One line of JSON, its end included. A manifest is UTF-8, so as a text it still has its digest."""
    told = {
        "registry": candidate.repository.registry,
        "repository": candidate.repository.path,
        "references": [str(reference) for reference in candidate.references],
        "digest": candidate.manifest.digest,
        "media_type": candidate.manifest.media_type,
        "principal": str(candidate.principal),
        "tenant": candidate.principal.tenant,
        "manifest": candidate.manifest.raw.decode(),
    }
    return msgspec.json.encode(told) + b"\n"
