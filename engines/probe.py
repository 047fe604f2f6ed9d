"""How fast is a running engine? `python -m engines.probe http://127.0.0.1:8100 --streams 4` prints one JSON object."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from statistics import median
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from warehouse.base.errors import EngineFailed, InferhouseError, InvalidRequest

PROMPT = "Write a long story about a lighthouse keeper."


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """One stream: milliseconds to the first token, tokens by the engine's own count, seconds from first to last."""

    ttft_ms: float
    tokens: int
    generating_s: float


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """All streams together. Rates are tokens per second; per stream without the first token's wait."""

    model: str
    streams: int
    ttft_ms_median: float
    ttft_ms_max: float
    tokens: int
    tokens_per_second: float
    tokens_per_second_per_stream: float


def probe(base_url: str, *, model: str | None, streams: int, tokens: int, timeout_s: float) -> ProbeResult:
    """Run `streams` streams of `tokens` tokens at once. Without `model`, the engine's first one.

    Raises: EngineFailed: it does not answer, or not with a stream that says its usage.  InvalidRequest: no http URL.
    """
    chosen = model or _first_model(base_url, timeout_s)
    begun = monotonic()
    with ThreadPoolExecutor(max_workers=streams) as pool:
        timings = list(pool.map(lambda _: _time_stream(base_url, chosen, tokens, timeout_s), range(streams)))
    elapsed_s = monotonic() - begun
    firsts = [timing.ttft_ms for timing in timings]
    rates = [(timing.tokens - 1) / timing.generating_s for timing in timings if timing.generating_s > 0]
    total = sum(timing.tokens for timing in timings)
    return ProbeResult(
        model=chosen,
        streams=streams,
        ttft_ms_median=round(median(firsts), 1),
        ttft_ms_max=round(max(firsts), 1),
        tokens=total,
        tokens_per_second=round(total / elapsed_s, 1),
        tokens_per_second_per_stream=round(median(rates), 1) if rates else 0.0,
    )


def _first_model(base_url: str, timeout_s: float) -> str:
    try:
        with _request(base_url, "GET", "/v1/models", None, timeout_s) as response:
            return str(json.loads(response.read())["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise EngineFailed(f"{base_url}/v1/models lists no model") from error


def _time_stream(base_url: str, model: str, tokens: int, timeout_s: float) -> StreamTiming:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    begun = monotonic()
    first = last = None
    counted = 0
    with _request(base_url, "POST", "/v1/chat/completions", body, timeout_s) as response:
        for chunk in _events(response):
            if any(choice["delta"].get("content") for choice in chunk["choices"]):
                last = monotonic()
                first = first or last
            counted = (chunk.get("usage") or {}).get("completion_tokens", counted)
    if first is None or last is None or not counted:
        raise EngineFailed(f"{base_url}: the stream ended without text or without usage")
    return StreamTiming(ttft_ms=(first - begun) * 1000, tokens=counted, generating_s=last - first)


def _events(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    try:
        for line in response:
            data = line.removeprefix(b"data: ").strip()
            if line.startswith(b"data: ") and data != b"[DONE]":
                yield json.loads(data)
    except (HTTPException, OSError, ValueError) as error:
        raise EngineFailed(f"the stream broke off: {error}") from error


@contextmanager
def _request(base_url: str, method: str, path: str, body: object, timeout_s: float) -> Iterator[HTTPResponse]:
    """The answer to a request on a connection of its own, closed at the end."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequest(f"{base_url!r} is not an http address such as http://127.0.0.1:8100", param="base_url")
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    with closing(connect(parts.hostname, parts.port, timeout=timeout_s)) as connection:
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"content-type": "application/json"})
            response = connection.getresponse()
        except (HTTPException, OSError) as error:
            raise EngineFailed(f"{base_url}: {error}") from error
        with response:
            if response.status != 200:
                said = response.read(500).decode(errors="replace")
                raise EngineFailed(f"{base_url}{path} answered {response.status}: {said}")
            yield response


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 with the result on stdout, 1 when the engine does not answer as it should."""
    parser = argparse.ArgumentParser("python -m engines.probe", description=__doc__)
    parser.add_argument("base_url", help="scheme, host and port")
    parser.add_argument("--model", help="default: the first that the engine lists")
    parser.add_argument("--streams", type=int, default=1, choices=range(1, 65), metavar="1..64")
    parser.add_argument("--tokens", type=int, default=64, help="per stream (default: 64)")
    parser.add_argument("--timeout-s", type=float, default=60, help="for each read (default: 60)")
    args = parser.parse_args(argv)
    try:
        result = probe(args.base_url, model=args.model, streams=args.streams, tokens=args.tokens, timeout_s=args.timeout_s)
    except InferhouseError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1
    sys.stdout.write(json.dumps(asdict(result)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
