"""What a variant is to be made of, and for whom."""

from dataclasses import dataclass

from mirror.core.progress import Progress
from mirror.core.variants.manifests import may_have_one
from mirror.core.variants.modes import Wish
from mirror.oci.manifest import Manifest
from mirror.oci.names import Reference, Repository


class UnwantedError(Exception):
    """There is nothing to be made of an image, or nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be made of a manifest, for as long as the name leads there: for a job, or at once for a person."""

    repository: Repository
    reference: Reference
    manifest: Manifest
    wish: Wish
    progress: Progress
    job: int | None

    @property
    def is_for_a_person(self) -> bool:
        """Whether somebody waits for it."""
        return self.job is None

    @property
    def may_have_one(self) -> bool:
        """Whether it is worth looking closer."""
        return may_have_one(self.manifest, self.wish.mode, has_tag=self.reference.tag is not None)

    @property
    def name(self) -> str:
        """What leads to the manifest."""
        return self.repository.image(self.reference)
