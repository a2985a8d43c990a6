"""All metrics as text, in the format that is asked for."""

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from mirror.metrics.meters import Meters
from mirror.metrics.state import Snapshot, Sources


class Exposition:
    """What was counted, and how things stand now."""

    def __init__(self, meters: Meters, sources: Sources) -> None:
        self._meters = meters
        self._sources = sources

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """The text in the format that an Accept header asks for, and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(_Both(self._meters, await Snapshot.take(self._sources))), media_type


class _Both:
    """Two collectors in one."""

    def __init__(self, meters: Meters, snapshot: Snapshot) -> None:
        self._meters = meters
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield from self._meters.registry.collect()
        yield from self._snapshot.collect()
