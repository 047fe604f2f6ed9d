"""The disk alone, at a fixed rate: `python -m tests.bench.router.disk_load FOLDER RATE SECONDS`.

What every answer of ours waits for before its last byte, without a router: a record is copied into a mapped file and synced,
each when it is due. Latencies count from then, as `open_loop`'s do. Prints one line of JSON: see `LatencyResult`.
"""

import mmap
import os
import sys
import time
from pathlib import Path

import msgspec

from tests.bench.router.open_loop import WARM_S, LatencyResult, Timer

RECORD_BYTES = 1_024  # an open and a close record of a request, rounded up
FILE_BYTES = 4 * 1024 * 1024  # a file of the router's journal


def load(path: Path, rate: float, seconds: float) -> LatencyResult:
    """Sync `rate` records a second to the file for some seconds. Raises: OSError: the disk refuses."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, FILE_BYTES)
    pages, record = mmap.mmap(fd, FILE_BYTES), b"x" * RECORD_BYTES
    interval_ns, total, taken_ms = round(1e9 / rate), round(rate * (seconds + WARM_S)), list[float]()
    first_ns = time.monotonic_ns() + 10_000_000
    timer = Timer(first_ns, interval_ns)
    os.set_blocking(timer.fd, True)
    while len(taken_ms) < total:
        for _ in range(min(timer.due(), total - len(taken_ms))):
            at = len(taken_ms) * RECORD_BYTES % FILE_BYTES
            pages[at : at + RECORD_BYTES] = record
            os.fdatasync(fd)
            taken_ms.append((time.monotonic_ns() - first_ns - len(taken_ms) * interval_ns) / 1e6)
    timer.close()
    pages.close()
    os.close(fd)
    return LatencyResult.of(taken_ms[round(rate * WARM_S) :], answered=len(taken_ms), failed=0)


if __name__ == "__main__":
    result = load(Path(sys.argv[1]) / "disk", float(sys.argv[2]), float(sys.argv[3]))
    print(msgspec.json.encode(result).decode())
