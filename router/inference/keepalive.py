"""Comments in streams that are silent for long, so that no proxy on the way takes the connection for dead.

Source: HTML standard, server-sent events: a line that begins with a colon is ignored by every client.
"""

import asyncio
from typing import Protocol


class Stream(Protocol):
    """An answer on its way."""

    def pulse(self) -> None:
        """Send a comment if nothing else was sent since the last call, and it was there then."""


class KeepAlive:
    """The streams of a worker. One timer for all of them."""

    def __init__(self, silent_s_max: float) -> None:
        self._interval_s = silent_s_max / 2  # what was sent just after one round has a comment in the next but one
        self.streams: dict[Stream, None] = {}

    async def run(self) -> None:
        """Go round for ever."""
        while True:
            await asyncio.sleep(self._interval_s)
            for stream in list(self.streams):
                stream.pulse()
