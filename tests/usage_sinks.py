"""The part of a router worker that keeps usage rows and writes them, without the rest of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from router.inference.usage_sink import Connect, UsageSink


def usage_sink(journal: Path, connect: Connect, *, flush_rows_max: int = 10_000, life: int = 7) -> UsageSink:
    """One that nobody runs yet."""
    return UsageSink(
        journal,
        connect,
        journal_bytes_max=2**28,
        flush_interval_s=0.05,
        flush_rows_max=flush_rows_max,
        worker_name="test",
        life=life,
    )


@asynccontextmanager
async def running(sink: UsageSink) -> AsyncIterator[UsageSink]:
    """It writes rows, and ends as a router does."""
    writer = asyncio.create_task(sink.run())
    yield sink
    await sink.stop(writer)
