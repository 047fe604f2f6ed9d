"""What a client has not taken of its answer."""

import asyncio
import contextlib
import fcntl
import sys
import termios


def untaken_bytes(transport: asyncio.WriteTransport) -> int:
    """In bytes; the kernel's part counts, of which it asks for more in steps of a megabyte."""
    unsent, line = b"", transport.get_extra_info("socket")
    if line is not None:
        with contextlib.suppress(OSError, ValueError):  # closed just now
            unsent = fcntl.ioctl(line.fileno(), termios.TIOCOUTQ, bytes(4))
    return transport.get_write_buffer_size() + int.from_bytes(unsent, sys.byteorder)
