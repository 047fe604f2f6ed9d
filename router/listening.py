"""How a port is given up without cutting anybody off.

When the last process closes a listening socket, the kernel resets every connection on it that nobody has accepted: clients that
connected a moment before, and whose request may be under way. So newcomers are kept out first, and who is in is accepted.
"""

import ctypes
import socket
import struct
import time
from collections.abc import Iterator, Sequence

HANDSHAKE_S = 0.1  # in which handshakes under way come to their end
ACCEPTED_S_MAX = 5  # for workers to accept who has connected
_LOOK_EVERY_S = 0.02
_SO_ATTACH_FILTER = 26  # of Linux; Python's socket module has no name for it
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header that has the flags
    (0x54, 0, 0, 0x12),  # of them SYN and ACK
    (0x15, 0, 1, 0x02),  # is it SYN alone, the first packet of a client?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all others
)
"""Classic BPF (socket(7), the kernel's networking/filter): code, how far to jump if so and if not, and a value."""


def give_up(listening: Sequence[socket.socket]) -> Iterator[float]:
    """Let nobody connect any more, and give out seconds to wait until all who have connected are accepted.

    A client that tries to connect does so again a second later, and finds the next router or none. It is so for every process
    that has the sockets; who waits closes them. Raises: OSError.
    """
    for each in listening:
        _keep_newcomers_out(each)
    until_s = time.monotonic() + ACCEPTED_S_MAX
    yield HANDSHAKE_S
    while any(map(_unaccepted, listening)) and time.monotonic() < until_s:
        yield _LOOK_EVERY_S


def _keep_newcomers_out(listening: socket.socket) -> None:
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    header = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)


def _unaccepted(listening: socket.socket) -> int:
    """Connections in its queue: of a listening socket that is what struct tcp_info of linux/tcp.h has as tcpi_unacked."""
    (queued,) = struct.unpack_from("=24xI", listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))
    return int(queued)
