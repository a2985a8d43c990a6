"""Letting go of a lease that ends by itself anyway."""

from contextlib import suppress

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Leases


async def let_go(leases: Leases, lease: str | None) -> None:
    """End an expiring lease early, if there is one; a store that is away is no reason to fail: it runs out."""
    if lease:
        with suppress(StoreUnavailableError):
            await leases.delete(lease)
