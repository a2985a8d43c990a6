"""The errors that cross a port, so that a use case can tell "away for now" from "gone for good"."""


class StoreUnavailableError(Exception):
    """containerd did not do it, or not in time: the same call may succeed later; `full`: once its disk has room."""

    def __init__(self, reason: str, *, full: bool = False) -> None:
        super().__init__(reason)
        self.full = full


class JournalUnavailableError(Exception):
    """The journal did not take a change, none of which is kept; `full`: it will once its disk has room again."""

    def __init__(self, reason: str, *, full: bool) -> None:
        super().__init__(reason)
        self.full = full


class ContentMissingError(Exception):
    """The content store does not hold this digest (any longer)."""


class DigestMismatchError(Exception):
    """The bytes written do not have the digest that was promised; nothing of them is kept."""


class BadLayerError(Exception):
    """A layer can never be unpacked: it is no tar, or its content is not what the image config says."""


class RecompressionError(Exception):
    """What compresses layers anew ended without a word about the layer: it was killed, perhaps for want of memory."""


class VerifierUnavailableError(Exception):
    """Whoever is to say whether an image may be pushed gave no answer, or none that means anything."""


class UpstreamError(Exception):
    """The upstream refused or failed; `transient` says whether the same request can succeed later.

    `status` and `code` are those of its answer (HTTP, OCI), 0 and empty when it gave none. `retry_after` is in seconds,
    from its own header, None without one. `away` says that the failure is the upstream's, whatever was asked of it: no
    connection, no answer in time, 5xx.
    """

    def __init__(
        self,
        reason: str,
        *,
        transient: bool,
        status: int = 0,
        code: str = "",
        retry_after: float | None = None,
        away: bool = False,
    ) -> None:
        super().__init__(reason)
        self.transient = transient
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.away = away

    @property
    def is_refusal(self) -> bool:
        """Whether we may not have what was asked for (401, 403); registries say so of what does not exist, too."""
        return self.status in {401, 403}

    @property
    def is_failing(self) -> bool:
        """Whether the upstream is there, and fails at this request (5xx)."""
        return self.away and self.status > 0


class TenantFullError(Exception):
    """A tenant has as many bytes here as it may have."""

    def __init__(self, tenant: str, held: int, most: int) -> None:
        super().__init__(f"{tenant} has {held} of {most} bytes")
