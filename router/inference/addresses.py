"""A socket to a name that has several addresses: to the one that answers first (RFC 8305).

uvloop's own way is one after another, with no limit of time for each: a first one that says nothing, as IPv6 on a broken line or
a machine that is gone, would keep an engine unreachable that answers at the second.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address

NEXT_S = 0.25  # after which the next address is tried as well; what RFC 8305 recommends


def is_address(host: str) -> bool:
    """Whether there is nothing to resolve."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def addresses_of(host: str, port: int) -> list[str]:
    """All of a name's, in the order of the resolver. Raises: OSError, UnicodeError: it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def first_to_answer(addresses: Sequence[str], port: int) -> tuple[str, socket.socket]:
    """The address and a socket connected to it. Raises: OSError: what the last one said."""
    left = list(reversed(addresses))
    trying: set[asyncio.Task[tuple[str, socket.socket]]] = set()
    try:
        while True:
            if left:
                trying.add(asyncio.create_task(_connected(left.pop(), port)))
            await asyncio.wait(trying, timeout=NEXT_S if left else None, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in trying if task.done()]:
                trying.remove(task)
                error = task.exception()
                if error is None:
                    return task.result()
                if not left and not trying:
                    raise error
    finally:
        for task in trying:
            task.cancel()
            task.add_done_callback(_drop)  # it may have been made all the same


async def _connected(address: str, port: int) -> tuple[str, socket.socket]:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return address, made


def _drop(task: asyncio.Task[tuple[str, socket.socket]]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result()[1].close()
