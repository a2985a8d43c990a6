"""The moments of a push: what was seen of it before its acknowledgement. They are for people, so memory will do."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from mirror.oci.names import Digest, Repository

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """From the first byte to the last, in Unix seconds."""

    first: float
    last: float


class Arrivals:
    """When blobs and manifests came to a repository; of the last ten thousand."""

    def __init__(self) -> None:
        self._spans: OrderedDict[tuple[Repository, Digest], Span] = OrderedDict()

    def note(self, repository: Repository, digest: Digest, span: Span) -> None:
        """It has come."""
        self._spans[repository, digest] = span
        self._spans.move_to_end((repository, digest))
        if len(self._spans) > _MOST:
            self._spans.popitem(last=False)

    def of(self, repository: Repository, digests: Iterable[Digest], span: Span) -> Span:
        """From the first byte of any of these to the last of them, and of `span`, which is the manifest's own.

        What came long before is not taken for a part of this push: a blob is forgotten with the image that brought it.
        """
        found = [span, *filter(None, (self._spans.pop((repository, digest), None) for digest in digests))]
        return Span(min(each.first for each in found), max(each.last for each in found))
