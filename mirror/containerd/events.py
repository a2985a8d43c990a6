"""Events: what happens in containerd, whoever does it."""

import json
from collections.abc import AsyncIterator

from mirror.containerd.channel import Channel
from mirror.core.ports import Change
from mirror.pb.events_pb2 import Named, SubscribeRequest
from mirror.pb.events_pb2_grpc import EventsStub


class EventStream:
    """Implements `mirror.core.ports.Events`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stub = EventsStub(channel.grpc)

    async def follow(self) -> AsyncIterator[Change]:
        """See `Events.follow`; closing the generator ends the call."""
        ours = f'namespace=={json.dumps(self._channel.namespace)},topic~="^/images/"'
        async for envelope in self._channel.stream(
            self._stub.Subscribe, SubscribeRequest(filters=[ours]), is_endless=True
        ):
            yield Change(envelope.topic, Named.FromString(envelope.event.value).name)
