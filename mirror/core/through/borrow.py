"""Blobs that a builder need not push, as the upstream has them: fetched beside its push, which waits for them."""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from mirror.core.ports import NO_CLAIM, Claim
from mirror.core.signal import Signal
from mirror.core.through.adopt import Adopter
from mirror.core.through.fetch import Fetcher
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Digest, Repository

_log = structlog.get_logger(__name__)

# BuildKit gives up on an answer 30 seconds after the last byte of its request, and comes again after a 503.
_WAITS = 20.0
_TRY_AGAIN = "5"

ClaimOf = Callable[[int], Claim]
"""Whose a blob of so many bytes is."""


def nobodys(_: int) -> Claim:
    """What counts for no tenant."""
    return NO_CLAIM


class Loan:
    """A blob that a repository was promised; its `size` in bytes is known once the upstream begins to send it."""

    def __init__(self, repository: Repository, digest: Digest, source: Repository, claim: ClaimOf) -> None:
        self.repository = repository
        self.digest = digest
        self.source = source
        self.claim = claim
        self.size: int | None = None
        self.is_over = False
        self._moved = Signal()

    def begin(self, size: int) -> None:
        """It is coming."""
        self.size = size
        self._moved.fire()

    def end(self) -> None:
        """It is here, or will not come."""
        self.is_over = True
        self._moved.fire()

    async def begun(self) -> None:
        """Wait until it is known whether it comes."""
        while self.size is None and not self.is_over:
            await self._moved.arm().wait()

    async def over(self) -> None:
        """Wait for its end."""
        while not self.is_over:
            await self._moved.arm().wait()


class Borrower:
    """Promises blobs of those `registries` that lend, and brings them.

    The promises are kept in memory only: a manifest that names what did not come is refused, and its builder pushes it.
    """

    def __init__(self, fetcher: Fetcher, adopter: Adopter, registries: frozenset[str]) -> None:
        self._fetcher = fetcher
        self._adopter = adopter
        self._registries = registries
        self._wanted = asyncio.Queue[Loan]()
        self._loans: dict[tuple[Repository, Digest], Loan] = {}

    async def run(self) -> None:
        """Bring what was promised, for as long as the daemon runs."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._bring(await self._wanted.get()))

    async def borrow(
        self, repository: Repository, digest: Digest, source: Repository, claim: ClaimOf = nobodys
    ) -> int | None:
        """Promise a repository a blob of `source`; its size, None where the upstream does not give it just now."""
        if source.registry not in self._registries:
            return None
        loan = self._loans.get((repository, digest))
        if loan is None:
            loan = self._loans[repository, digest] = Loan(repository, digest, source, claim)
            self._wanted.put_nowait(loan)
        await loan.begun()
        return loan.size

    async def settle(self, repository: Repository, digests: Iterable[Digest]) -> None:
        """Wait for what a repository was promised of these. Raises RegistryError: CONTENT_COMING."""
        loans = [loan for digest in digests if (loan := self._loans.get((repository, digest)))]
        if not loans:
            return
        try:
            async with asyncio.timeout(_WAITS):
                for loan in loans:
                    await loan.over()
        except TimeoutError:
            raise RegistryError(Problem.CONTENT_COMING, headers={"Retry-After": _TRY_AGAIN}) from None

    async def _bring(self, loan: Loan) -> None:
        try:
            async with self._fetcher.following(loan.source, loan.digest) as fetch:
                loan.begin(fetch.size)
                await fetch.ended()
            came = await self._adopter.grant(loan.repository, loan.digest, loan.claim(fetch.size))
            _log.info("blob.borrowed", repository=str(loan.repository), blob=loan.digest, came=came)
        except Exception as error:  # noqa: BLE001 - the builder hears of it when the manifest comes
            _log.info(
                "blob.not_lent", source=str(loan.source), blob=loan.digest, reason=str(error) or type(error).__name__
            )
        finally:
            self._loans.pop((loan.repository, loan.digest), None)
            loan.end()
