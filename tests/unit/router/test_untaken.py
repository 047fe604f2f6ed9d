"""What a client has not taken of its answer is counted in our buffer and in the kernel's."""

import asyncio
import socket
from typing import Any, cast

import pytest

from router.inference.untaken import untaken_bytes


class _Transport:
    """One with so much in its own buffer."""

    def __init__(self, line: socket.socket | None, buffered: int) -> None:
        self.line, self.buffered = line, buffered

    def get_extra_info(self, name: str) -> Any:
        return self.line if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return self.buffered


@pytest.mark.parametrize("buffered", [0, 7])
def test_both_buffers_count_until_the_client_reads(buffered: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as line:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(listening.getsockname())
        transport = cast("asyncio.WriteTransport", _Transport(line, buffered))
        assert untaken_bytes(transport) == buffered
        line.setblocking(False)
        sent = line.send(b"x" * 50_000_000)  # more than both kernels' buffers have room for
        client, _ = listening.accept()
        with client:
            unsent = untaken_bytes(transport) - buffered
            assert 0 < unsent <= sent
            client.settimeout(60)
            while sent:
                sent -= len(client.recv(min(sent, 1_000_000)))
    assert untaken_bytes(transport) == buffered, "of a line that was closed just now nothing is known"
    assert untaken_bytes(cast("asyncio.WriteTransport", _Transport(None, buffered))) == buffered
