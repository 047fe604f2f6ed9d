"""Networks that keys work from, and the address that a request came from."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_MAPPED_BITS = 96  # of ::ffff:0:0/96, IPv4 addresses written as IPv6


def plain(network: Network) -> Network:
    """IPv4 written as IPv6 becomes IPv4."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def parse_network(cidr: str) -> Network:
    """Raises: ValueError: it is no network."""
    return plain(ip_network(cidr))


def parse_networks(cidrs: Iterable[str]) -> tuple[Network, ...]:
    """Raises: ValueError: one of them is no network."""
    return tuple(parse_network(cidr) for cidr in cidrs)


def parse_address(text: str) -> Address | None:
    """An address as a socket or a proxy writes it, with a port or without; None for anything else."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def within(address: Address | None, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks; an unknown one is in none."""
    return address is not None and any(address.version == network.version and address in network for network in networks)


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """Where a request comes from: the peer, or what trusted proxies say of it.

    Args: peer: the other end of the connection.  forwarded: values of X-Forwarded-For headers in their order.
        trusted: networks of proxies that are believed.
    Returns: of forwarded + peer, read from the right, the first that is no trusted proxy; None where it cannot be read.
    """
    address = parse_address(peer) if peer else None
    if not trusted or not forwarded:
        return address
    hops = [hop for value in forwarded for hop in value.split(",") if hop.strip()]
    while hops and within(address, trusted):
        address = parse_address(hops.pop())
    return address


def narrower(cidrs: Sequence[str] | None, others: Sequence[str] | None) -> list[str] | None:
    """Networks that are in both lists, None being everywhere; an empty list is nowhere."""
    if cidrs is None or others is None:
        both = cidrs if others is None else others
        return None if both is None else list(both)
    found: dict[str, None] = {}
    for one in parse_networks(cidrs):
        for other in parse_networks(others):
            if one.version == other.version and one.overlaps(other):
                found[str(max(one, other, key=lambda network: network.prefixlen))] = None
    return list(found)
