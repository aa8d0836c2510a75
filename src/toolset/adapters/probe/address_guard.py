"""Addresses that are never dialled: a probe must not give access to what only this pod can reach (SSRF)."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_Network = IPv4Network | IPv6Network

METADATA: Final = "metadata"

_REFUSED: Final[tuple[tuple[str, tuple[_Network, ...]], ...]] = tuple(
    (kind, tuple(ip_network(each) for each in ranges.split()))
    for kind, ranges in (
        # AWS, GCP and others; AWS IPv6; GCP IPv6; Alibaba; Azure's wire server; Oracle
        (
            METADATA,
            "169.254.169.254/32 fd00:ec2::/32 fd20:ce::254/128 100.100.100.200/32 168.63.129.16/32 192.0.0.192/32",
        ),
        ("loopback", "127.0.0.0/8 ::1/128"),
        ("link-local", "169.254.0.0/16 fe80::/10"),
        ("unspecified", "0.0.0.0/8 ::/128"),
        ("multicast", "224.0.0.0/4 ff00::/8"),
        ("broadcast", "255.255.255.255/32"),
        # local-use NAT64: only the network knows where the IPv4 address is embedded (RFC 8215)
        ("translated", "64:ff9b:1::/48"),
    )
)
_V4_IN_LAST_32_BITS: Final = tuple(
    IPv6Network(each)
    for each in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
    )
)
_ISATAP: Final = frozenset({0x5EFE, 0x0200_5EFE})


class AddressGuard:
    """Decides whether an address may be dialled."""

    def __init__(self, ranges: Iterable[str] = (), allowed: Iterable[str] = ()) -> None:
        """Create it.

        Args:
            ranges: Additional refused ranges, in CIDR notation.
            allowed: Exceptions that are allowed, in CIDR notation; never an address of cloud metadata.

        Raises:
            ValueError: One of them is not a range.
        """
        self._refused = (*_REFUSED, ("refused by the settings", tuple(ip_network(each) for each in ranges)))
        self._allowed = tuple(ip_network(each) for each in allowed)

    def objection(self, address: str) -> str:
        """Return why ``address`` is refused, a fixed word or two; empty if it is allowed."""
        try:
            asked = ip_address(address)
        except ValueError:
            return "not an address"
        for one in (asked, *_embedded(asked)):
            for kind, networks in self._refused:
                if any(one in network for network in networks) and (kind == METADATA or not self._allows(asked, one)):
                    return kind
        return ""

    def _allows(self, *addresses: IPv4Address | IPv6Address) -> bool:
        return any(address in network for address in addresses for network in self._allowed)


def _embedded(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that a packet to ``address`` may end up at."""
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    if any(address in network for network in _V4_IN_LAST_32_BITS) and number > 1:
        yield IPv4Address(number & 0xFFFF_FFFF)
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFF_FFFF)
