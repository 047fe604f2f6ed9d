"""Two clocks: the wall for instants (UTC), the monotonic one for durations. They are never mixed."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The instant now, in UTC, to the microsecond."""
    return datetime.now(UTC)


def monotonic_us() -> int:
    """Microseconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic_ns() // 1000
