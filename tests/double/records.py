"""Image records, what happens to them, and containers."""

from asyncio import Queue
from collections.abc import AsyncIterator, Sequence

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Change, Container, Image
from mirror.oci.manifest import Descriptor
from tests.double.connection import Connection


class ImagesDouble:
    """Implements `mirror.core.ports.Images`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, name: str) -> Image | None:
        """See `Images.get`."""
        return (await self._connection.reach()).images.get(name)

    async def list(self, prefix: str) -> list[Image]:
        """See `Images.list`."""
        images = (await self._connection.reach()).images
        return [image for name, image in images.items() if name.startswith(prefix)]

    async def point(self, name: str, target: Descriptor) -> None:
        """See `Images.point`."""
        store = await self._connection.reach()
        topic = "/images/update" if name in store.images else "/images/create"
        store.images[name] = Image(name, target, store.clock.now())
        store.tell(Change(topic, name))

    async def delete(self, name: str) -> None:
        """See `Images.delete`."""
        store = await self._connection.reach()
        store.image_labels.pop(name, None)
        if store.images.pop(name, None):
            store.tell(Change("/images/delete", name))


class EventsDouble:
    """Implements `mirror.core.ports.Events`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def follow(self) -> AsyncIterator[Change]:
        """See `Events.follow`."""
        changes: Queue[Change | None] = Queue()
        followers = (await self._connection.reach()).followers
        followers.add(changes.put_nowait)
        try:
            while change := await changes.get():
                yield change
        finally:
            followers.discard(changes.put_nowait)
        raise StoreUnavailableError("containerd: UNAVAILABLE: it went away")


class ContainersDouble:
    """Implements `mirror.core.ports.Containers` for those that are on `snapshotter`."""

    def __init__(self, connection: Connection, snapshotter: str) -> None:
        self._connection = connection
        self._snapshotter = snapshotter

    async def list(self) -> Sequence[Container]:
        """See `Containers.list`."""
        containers = (await self._connection.reach()).containers.values()
        return [container for snapshotter, container in containers if snapshotter == self._snapshotter]
