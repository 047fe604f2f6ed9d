"""Lines to the database on which nothing comes any more, as behind a firewall that has forgotten them."""

import time
from pathlib import Path

from tests.integration.router.conftest import Stack
from tests.proxy import TcpProxy

ESTABLISHED, KEEPALIVE = "01", "02"
TICKS_PER_S = 100  # of /proc, on every machine
NOTICED_S_MAX = 10
"""To the first question whether the other side is there; the system's own is after two hours."""


def _next_look_s(port: int) -> list[float]:
    """Of each connection to a port of this machine: seconds until the kernel asks whether the other side lives."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    timers = [fields[5] for fields in lines if fields[2].endswith(f":{port:04X}") and fields[3] == ESTABLISHED]
    return [int(timer[3:], 16) / TICKS_PER_S if timer.startswith(KEEPALIVE) else 2**32 for timer in timers]


def test_a_dead_line_to_the_database_is_noticed(stack: Stack, database_line: TcpProxy) -> None:
    stack.sdk.models.list()
    deadline = time.monotonic() + 30
    while not (found := _next_look_s(database_line.port)) or max(found) > NOTICED_S_MAX:  # what is under way has another timer
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
