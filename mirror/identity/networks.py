"""Where a caller comes from: on a private network between machines, that says who it is."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from mirror.core.access import Principal

_Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address


class Networks:
    """Networks (`fdaa:0:18::/48`) and the tenants that they belong to; of those that overlap the smallest counts.

    Raises ValueError for what is no network, or has bits set beyond its prefix.
    """

    def __init__(self, tenants: Mapping[str, str]) -> None:
        self._principals = {ip_network(text): Principal("network", text, tenant) for text, tenant in tenants.items()}
        lengths = {(network.version, network.prefixlen) for network in self._principals}
        self._lengths = sorted(lengths, reverse=True)

    def principal(self, address: str) -> Principal | None:
        """Who is at an address, None where nobody is known."""
        there = _address(address)
        around = (
            ip_network((there, length), strict=False) for version, length in self._lengths if version == there.version
        )
        return next((self._principals[network] for network in around if network in self._principals), None)


def _address(text: str) -> _Address:
    """An address without its zone; one of IPv4 that came by IPv6 is one of IPv4."""
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
