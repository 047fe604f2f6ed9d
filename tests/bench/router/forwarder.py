"""The least that a Python process can do between two sockets: `python -m tests.bench.router.forwarder PORT ENGINE_PORT`.

Bytes are copied between each client's connection and one to the engine that is its own. No HTTP is read, nobody is known,
nothing is counted or kept: what this costs, a router in Python costs before it does anything.
"""

import asyncio
import sys

import uvloop


class Side(asyncio.Protocol):
    """One of two connections; what it reads, the other writes."""

    other: "Side"
    transport: asyncio.Transport | None = None

    def __init__(self) -> None:
        self.early: list[bytes] = []  # read before the other was connected

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other.transport is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other.transport is not None:
            self.other.transport.close()


class Engine(Side):
    """An engine's side."""

    def __init__(self, client: Side) -> None:
        super().__init__()
        self.other = client

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.write(b"".join(self.other.early))


class Client(Side):
    """A client's side, which connects the engine's."""

    engine_port: int

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.other = Engine(self)
        loop = asyncio.get_running_loop()
        self.connecting = loop.create_task(loop.create_connection(lambda: self.other, "127.0.0.1", self.engine_port))


async def main(port: int, engine_port: int) -> None:
    """Serve until the process is ended."""
    Client.engine_port = engine_port
    server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
