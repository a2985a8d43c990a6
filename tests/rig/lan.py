"""Machines with addresses of their own, each a network namespace, and a cable between every two of them.

The devices are in the namespaces, which have no name: whoever dies leaves nothing behind.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from types import TracebackType
from typing import Self

from tests.rig.namespace import Namespace


class Lan:
    """Machines by their names, each with one address; programs that are started while in one belong to it."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._networks = {name: Namespace() for name in addresses}
        for name in addresses:
            self._ip(name, "link", "set", "lo", "up")
        for one, other in combinations(addresses, 2):
            self._connect(one, other)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Have this thread on a machine, and the programs it starts."""
        with self._networks[name].entered():
            yield

    def cut(self, one: str, other: str) -> None:
        """Pull out the cable between two machines."""
        self._ip(one, "link", "set", other, "down")

    def mend(self, one: str, other: str) -> None:
        """Plug it in again."""
        self._ip(one, "link", "set", other, "up")

    def _connect(self, one: str, other: str) -> None:
        """Lay a cable; at each end its device is called like the machine at the other."""
        self._ip(one, "link", "add", other, "type", "veth", "peer", "name", one, "netns", self._networks[other].path)
        for here, there in ((one, other), (other, one)):
            addresses = [self._addresses[here], "peer", self._addresses[there]]
            self._ip(here, "address", "add", *addresses, "dev", there)
            self._ip(here, "link", "set", there, "up")

    def _ip(self, name: str, *arguments: str) -> None:
        with self.on(name):
            subprocess.run(["ip", *arguments], check=True)

    def __enter__(self) -> Self:
        """They are there already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let go of them."""
        for network in self._networks.values():
            network.close()
