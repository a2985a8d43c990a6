"""Everything on the way from the upstreams to those who pull, wired together."""

from mirror import config
from mirror.app.rooms import Rooms, new_id
from mirror.core.admission import Admission
from mirror.core.pull import Pull
from mirror.core.through.adopt import Adopter
from mirror.core.through.borrow import Borrower
from mirror.core.through.fetch import Fetcher
from mirror.core.through.keep import Keeper
from mirror.core.through.manifests import ManifestFetcher
from mirror.core.through.tags import Tags
from mirror.core.through.through import Through, Way


class Pulling:
    """Everything on the way from the upstreams to those who pull."""

    def __init__(self, settings: config.Settings, rooms: Rooms, pull: Pull, admission: Admission) -> None:
        ways = {
            name: Way(rooms.upstreams[name], upstream.pull.tags)
            for name, upstream in settings.upstreams.items()
            if upstream.pull
        }
        lending = {name for name, upstream in settings.upstreams.items() if upstream.pull and upstream.pull.borrow}
        self._adopter = Adopter(
            content=rooms.content, leases=rooms.leases, grants=rooms.grants, upstreams=rooms.upstreams, new_id=new_id
        )
        shared = self._adopter if settings.is_open else None
        self.keeper = Keeper(rooms.grants, shared)
        self.fetcher = Fetcher(
            content=rooms.content,
            leases=rooms.leases,
            grants=rooms.grants,
            transfers=rooms.transfers,
            upstreams=rooms.upstreams,
            admission=admission,
            scratch=rooms.scratch,
            clock=rooms.clock,
            new_id=new_id,
            arrived=self.keeper.arrived,
        )
        self.borrower = Borrower(self.fetcher, self._adopter, frozenset(lending))
        self.through = Through(
            pull,
            ways,
            grants=rooms.grants,
            fetcher=self.fetcher,
            manifests=ManifestFetcher(
                content=rooms.content,
                leases=rooms.leases,
                grants=rooms.grants,
                upstreams=rooms.upstreams,
                admission=admission,
                new_id=new_id,
            ),
            tags=Tags(
                images=rooms.images,
                grants=rooms.grants,
                jobs=rooms.jobs,
                transfers=rooms.transfers,
                clock=rooms.clock,
            ),
            keeper=self.keeper,
            borrower=self.borrower,
            adopter=shared,
            clock=rooms.clock,
        )

    def change(self, settings: config.Settings) -> None:
        """Give what the host has to whoever asks, or not any more."""
        self.keeper.adopter = self.through.adopter = self._adopter if settings.is_open else None
