"""From the settings to the gate that pushes go through."""

from mirror import config
from mirror.core.ports import Grants, Verifier
from mirror.core.requirements import Requirements
from mirror.core.verify import Verification
from mirror.verifiers.bounded import BoundedVerifier
from mirror.verifiers.command import CommandVerifier
from mirror.verifiers.service import ServiceVerifier


def make_verification(settings: config.Verify, grants: Grants) -> Verification | None:
    """What is required of manifests, and who is asked about them; None if all may be pushed."""
    requirements = Requirements(
        media_types=settings.media_types,
        blob_media_types=settings.blob_media_types,
        layers=settings.layers,
        layer_bytes=settings.layer_bytes,
        image_bytes=settings.image_bytes,
        annotations=settings.annotations,
    )
    verifier = _verifier(settings)
    if verifier is None and requirements == Requirements():
        return None
    return Verification(requirements, verifier, grants)


def _verifier(settings: config.Verify) -> Verifier | None:
    if settings.socket:
        return BoundedVerifier(ServiceVerifier(settings.socket), settings.timeout)
    return BoundedVerifier(CommandVerifier(settings.command), settings.timeout) if settings.command else None
