"""How a port is given up without cutting anybody off.

When the last process closes a listening socket, the kernel resets every connection on it that nobody has accepted: clients that
connected a moment before, and whose request may be under way. So newcomers are kept out first, and who is in is accepted.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Sequence

HANDSHAKE_S = 0.1  # in which handshakes under way come to their end
ACCEPTED_S_MAX = 5  # for workers to accept who has connected
_LOOK_EVERY_S = 0.02
_IP_MINTTL, _IPV6_MINHOPCOUNT = 21, 73  # of Linux; Python's socket module has no names for them
_HOPS_MAX = 255  # more than any client's packet has left: they begin with 64 or 128


def give_up(listening: Sequence[socket.socket]) -> Iterator[float]:
    """Let nobody connect any more, and give out seconds to wait until all who have connected are accepted.

    A client that tries to connect does so again a second later, and finds the next router or none. It is so for every process
    that has the sockets; who waits closes them.
    """
    for each in listening:
        _keep_newcomers_out(each)
    until_s = time.monotonic() + ACCEPTED_S_MAX
    yield HANDSHAKE_S
    while any(map(_unaccepted, listening)) and time.monotonic() < until_s:
        yield _LOOK_EVERY_S


def _keep_newcomers_out(listening: socket.socket) -> None:
    """By what keeps strangers from afar out elsewhere (RFC 5082): packets that have made a hop are dropped. A filter would do as
    well, and new kernels let only root have one."""
    _set_hops(listening, _HOPS_MAX)


def let_in(accepted: socket.socket) -> None:
    """A connection whose handshake came to its end meanwhile has it from the listening socket."""
    _set_hops(accepted, 0)


def _set_hops(each: socket.socket, hops: int) -> None:
    """Where the system knows such a thing: sandboxes (gVisor for one) have sockets without it. There, who connects just as a
    router stops may be cut off, which is no reason to serve nobody, or not to stop."""
    if each.family == socket.AF_INET6:
        with contextlib.suppress(OSError):
            each.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, hops)
    with contextlib.suppress(OSError):
        each.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, hops)  # of IPv6 too: it may have clients of both


def _unaccepted(listening: socket.socket) -> int:
    """Connections in its queue: of a listening socket that is what struct tcp_info of linux/tcp.h has as tcpi_unacked."""
    (queued,) = struct.unpack_from("=24xI", listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))
    return int(queued)
