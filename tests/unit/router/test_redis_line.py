"""The connection to Redis."""

import asyncio
import ssl

import pytest

from router.inference.reservations import line
from tests.routing_world import in_loop

TRIES = 5


@in_loop
async def test_a_redis_behind_tls_that_is_away_has_no_certificates_read_anew_by_each_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes tens of milliseconds, in which the worker does nothing else."""
    made, tries = [], 0
    enough = asyncio.Event()
    real = ssl.create_default_context

    def counted() -> ssl.SSLContext:
        made.append(real())
        return made[-1]

    def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        if tries == TRIES:
            enough.set()
        writer.close()

    monkeypatch.setattr("ssl.create_default_context", counted)
    monkeypatch.setattr(line, "RECONNECT_S", 0.01)
    async with await asyncio.start_server(refuse, "127.0.0.1") as server, asyncio.timeout(10):
        port = server.sockets[0].getsockname()[1]
        async with line.Line(f"rediss://127.0.0.1:{port}", lambda: None).running():
            await enough.wait()
    assert len(made) <= 1
