"""OpenAI's rate-limit headers. Source: platform.openai.com, rate limits, headers: limit, remaining, reset."""

from collections.abc import Sequence

from warehouse.access.spend_rules import LimitRule

MINUTE = 60_000_000
Bound = tuple[int, int, int]
"""(which limit, which of its levels, the bound)"""
Meters = tuple[tuple[bytes, tuple[Bound, ...]], ...]
_LINES = b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\nx-ratelimit-reset-%b: %b\r\n"


def meters(limits: Sequence[LimitRule]) -> Meters:
    """What is told of: requests, and tokens of either kind, with the bounds of each; without what is on trial."""
    bounds: dict[bytes, list[Bound]] = {b"requests": [], b"tokens": []}
    for number, limit in enumerate(limits):
        rates = limit.requests_per_minute, limit.input_tokens_per_minute, limit.output_tokens_per_minute
        for level, bound in enumerate(rates):
            if bound is not None and not limit.shadow:
                bounds[b"tokens" if level else b"requests"].append((number, level, bound))
    return tuple((name, tuple(found)) for name, found in bounds.items() if found)


def rate_headers(told: Meters, levels: Sequence[Sequence[int]]) -> bytes:
    """The lines for what a request has left, of the tightest bound of each kind.

    Args: levels: for each limit, what of requests, input and output tokens has not drained away yet, in sixty-millionths; what
        is behind these is not told of.
    """
    lines = b""
    for name, bounds in told:
        least = None
        for number, level, bound in bounds:
            left = (bound * MINUTE - int(levels[number][level])) // MINUTE
            if least is None or left < least:
                least, tightest, used = left, bound, levels[number][level]
        assert least is not None
        reset = duration(int(used) // tightest if tightest else 0)
        lines += _LINES % (name, tightest, name, least if least > 0 else 0, name, reset)
    return lines


def duration(us: int) -> bytes:
    """As OpenAI writes it: `17ms`, `8.64s`, `6m0s`."""
    ms = -(-us // 1000)
    if ms < 1000:
        return b"%dms" % ms
    if ms < 60_000:
        return f"{ms / 1000:.3g}s".encode()
    return b"%dm%ds" % (ms // 60_000, ms % 60_000 // 1000)
