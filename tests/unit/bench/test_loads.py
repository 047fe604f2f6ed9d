"""What the load programs send, and how they read what comes back; against the benchmark's own upstream."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.bench.router import disk_load, open_loop, sse_load, sse_upstream
from tests.bench.router.targets import headers
from tests.bench.router.wrk import WrkResult, parse_wrk, script

WRK = """\
Running 2s test @ http://127.0.0.1:1/v1/chat/completions
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     5.10ms    1.05s    40.10ms   99.50%
    Req/Sec     3.21k   401.10     3.90k    70.00%
  Latency Distribution
     50%  812.00us
     75%    1.40ms
     90%    2.00ms
     99%    1.03s
  6390 requests in 2.00s, 3.90MB read
{more}Requests/sec:   3195.50
Transfer/sec:      1.95MB
"""
ERRORS = "  Socket errors: connect 1, read 2, write 0, timeout 3\n  Non-2xx or 3xx responses: 10\n"
STREAM = b'{"model":"m","stream":true%s}'
REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"


def test_output_of_wrk_is_read_in_milliseconds() -> None:
    found = parse_wrk(WRK.format(more=""))
    assert found == WrkResult(requests=6390, requests_per_s=3195.5, p50_ms=0.812, p99_ms=1030, failures=0)


def test_failures_that_wrk_saw_are_summed() -> None:
    assert parse_wrk(WRK.format(more=ERRORS)).failures == 16


def test_what_is_not_of_wrk_is_refused() -> None:
    with pytest.raises(ValueError, match="no output of wrk"):
        parse_wrk("unable to connect")


def test_script_of_wrk_has_key_and_body() -> None:
    text = script(headers("sk-x", {"x-more": "1"}))
    assert 'wrk.headers["authorization"] = "Bearer sk-x"' in text
    assert 'wrk.headers["x-more"] = "1"' in text
    assert 'wrk.body = \'{"model":"m"' in text


def test_length_of_an_answer_is_known_from_its_head() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 5\r\n\r\n"
    assert open_loop.answer_bytes(head[:-1]) is None
    assert open_loop.answer_bytes(head) == len(head) + 5


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_other_answers_are_failures(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"503|content-length"):
        open_loop.answer_bytes(answer)


def test_each_record_is_synced_when_it_is_due(tmp_path: Path) -> None:
    result = disk_load.load(tmp_path / "disk", 1_000, 0.1)
    assert (result.answered, result.failed) == (600, 0)
    assert 0 < result.p50_ms <= result.p99_ms <= result.p999_ms
    written = (tmp_path / "disk").read_bytes()
    assert written == b"x" * (600 * disk_load.RECORD_BYTES) + bytes(disk_load.FILE_BYTES - 600 * disk_load.RECORD_BYTES)


def test_usage_is_in_every_chunk_where_asked() -> None:
    plain, continuous = (sse_upstream.events(3, continuous=asked) for asked in (False, True))
    assert [b"usage" in event for event in plain] == [False, False, False, True]
    assert [event.count(b'"completion_tokens":%d,' % min(number, 3)) for number, event in enumerate(continuous, 1)] == [1] * 4
    assert plain[-1].endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def _streams(streams: int, body: bytes, *, cut_after: int | None = None) -> sse_load.StreamResult:
    sse_upstream.Upstream.gap_s = 0.002
    sent = sse_upstream.events(5, continuous=False)
    sse_upstream.Upstream.plain = sent if cut_after is None else [*sent[:cut_after], b"0\r\n\r\n"]
    sse_upstream.Upstream.continuous = sse_upstream.events(5, continuous=True)
    server = await asyncio.get_running_loop().create_server(sse_upstream.Upstream, "127.0.0.1", 0)
    async with server:
        return await sse_load.load(server.sockets[0].getsockname()[1], streams, 0.05, REQUEST % (len(body), body))


@pytest.mark.parametrize("more", [b"", b',"stream_options":{"continuous_usage_stats": true}'])
def test_streams_are_counted_to_their_end(more: bytes) -> None:
    result = asyncio.run(_streams(3, STREAM % more))
    assert (result.failed, result.cut_off, result.at_once_max) == (0, 0, 3)
    assert result.finished >= 3
    assert result.chunks == 5 * result.finished
    assert result.first_p50_ms is not None
    assert result.whole_p50_ms is not None
    assert result.first_p50_ms < result.whole_p50_ms
    assert msgspec.json.decode(msgspec.json.encode(result), type=sse_load.StreamResult) == result


def test_stream_without_an_end_is_a_failure() -> None:
    result = asyncio.run(_streams(2, STREAM % b"", cut_after=2))
    assert (result.finished, result.failed, result.chunks) == (0, 2, 4)
    assert "without [DONE]" in result.failures[0]


@contextmanager
def _upstream() -> Iterator[int]:
    """The upstream on a thread of its own: the open loop blocks the one that it runs on."""
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), list[int]()

    async def serve() -> None:
        server = await loop.create_server(sse_upstream.Upstream, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            await done.wait()

    done = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


def test_open_loop_sends_at_its_rate_and_waits_for_every_answer() -> None:
    body = b'{"model":"m"}'
    with _upstream() as port:
        result = open_loop.load(port, 100, 0.5, REQUEST % (len(body), body))
    assert (result.answered, result.failed) == (100, 0)  # half a second of warm-up included
    assert 0 < result.p50_ms <= result.p99_ms <= result.p999_ms


def test_open_loop_counts_a_request_that_nobody_answers() -> None:
    body = STREAM % b""  # answered by chunks, which the open loop does not take
    with _upstream() as port:
        sse_upstream.Upstream.plain = sse_upstream.events(1, continuous=False)
        result = open_loop.load(port, 20, 0.1, REQUEST % (len(body), body))
    assert (result.answered, result.failed) == (0, 12)
