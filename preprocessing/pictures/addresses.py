"""Which addresses may be connected to: those of the public Internet, and what settings allow."""

import errno
import ipaddress
import socket
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
AddressInfo = tuple[int, int, int, str, tuple[object, ...]]
"""As `socket.getaddrinfo` gives it: family, type, protocol, name, address."""

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""RFC 4291, section 2.4; nothing else of IPv6 is assigned to hosts of the Internet."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is meant."""


class AddressRefusedError(OSError):
    """A name or a redirect leads to an address that is not to be connected to."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EACCES, f"{address} is no public address", address)


class Gate:
    """Makes the sockets that connect, for allowed addresses alone.

    The address is the one that is connected to in the next moment: a name that resolves to another
    one the second time gains nothing.

    Args:
        allowed: Networks that are allowed although they are private.
    """

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)

    def socket_for(self, info: AddressInfo) -> socket.socket:
        """Raises AddressRefusedError."""
        family, type_, protocol, _, (host, *_) = info
        if not is_allowed(str(host), self._allowed):
            raise AddressRefusedError(str(host))
        return socket.socket(family, type_, protocol)


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Whether an address is public or in one of these networks.

    An address that stands for one of IPv4 (mapped, NAT64, 6to4) is as that one is.
    """
    address = _meant(ipaddress.ip_address(text))
    if any(address in network for network in allowed):
        return True
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast


def _meant(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[12:])
    return address.ipv4_mapped or address.sixtofour or address
