"""How a port is given up without cutting anybody off.

When the last process closes a listening socket, the kernel resets every connection on it that nobody has accepted: clients that
connected a moment before, and whose request may be under way. So newcomers are kept out first, and who is in is accepted.
"""

import ctypes
import socket
import struct

ACCEPTED_S = 0.1  # in which handshakes under way come to their end, and workers accept who has connected
_SO_ATTACH_FILTER = 26  # of Linux; Python's socket module has no name for it
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header that has the flags
    (0x54, 0, 0, 0x12),  # of them SYN and ACK
    (0x15, 0, 1, 0x02),  # is it SYN alone, the first packet of a client?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all others
)
"""Classic BPF (socket(7), the kernel's networking/filter): code, how far to jump if so and if not, and a value."""


def keep_newcomers_out(listening: socket.socket) -> None:
    """Nobody connects from now on; a client that tries does so again a second later, and finds the next router or none.

    It is so for every process that has the socket. Raises: OSError.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    header = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
