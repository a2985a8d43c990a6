"""Who counts as one where there is a limit."""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from mirror.core.access import Principal

_LOCAL = "unix"
# What one customer of a network is given, and may take addresses from as he likes (RFC 6177).
_ONE_SITE = 64


@dataclass(frozen=True, slots=True)
class Party:
    """A principal; or of those whom nobody knows, all that come from one place. `tenant` may be empty."""

    name: str
    tenant: str = ""


NOBODY = Party("")
"""The daemon itself, and those who pushed before there were limits."""

MAKERS = Party("(made here)")
"""The daemon itself, where it makes blobs. No principal and no place is called that."""


def party_of(principal: Principal, address: str | None) -> Party:
    """Who counts as one with a caller at an address, None on a unix socket."""
    return Party(source_of(address) if principal.is_anonymous else str(principal), principal.tenant)


def source_of(address: str | None) -> str:
    """The place that an address stands for: itself, or of IPv6 its network of 64 bits."""
    if address is None:
        return _LOCAL
    found = ip_address(address.partition("%")[0])
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, _ONE_SITE), strict=False))
