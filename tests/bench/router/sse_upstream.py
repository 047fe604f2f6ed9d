"""A streaming upstream that costs little: `python -m tests.bench.router.sse_upstream PORT CHUNKS GAP_S`.

Every POST that asks for a stream gets `CHUNKS` events, the first at once and the others `GAP_S` seconds apart, then one with
usage and [DONE]. Usage is in every event where the request asks for it (`continuous_usage_stats`), as vLLM has it.
"""

import asyncio
import re
import sys

import uvloop

FIRST_GAP_S = 0.001
STREAM = re.compile(rb'"stream"\s*:\s*true')
CONTINUOUS = re.compile(rb'"continuous_usage_stats"\s*:\s*true')
_HEAD = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1760000000,"model":"m","choices":'
_TOKEN = b'[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]'
_MODELS = b'{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"bench"}]}'
_WHOLE = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1760000000,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hello"},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":25,"completion_tokens":1,"total_tokens":26}}'
)


def _json(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


MODELS, WHOLE = _json(_MODELS), _json(_WHOLE)
OK_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def _usage(tokens: int) -> bytes:
    return b'"usage":{"prompt_tokens":25,"completion_tokens":%d,"total_tokens":%d}' % (tokens, tokens + 25)


def events(chunks: int, *, continuous: bool) -> list[bytes]:
    """What is sent at each tick; the last is the usage, [DONE] and the end of the answer."""
    tokens = [
        _chunked(_HEAD + _TOKEN + (b"," + _usage(number) if continuous else b"") + b"}\n\n") for number in range(1, chunks + 1)
    ]
    last = _chunked(_HEAD + b"[]," + _usage(chunks) + b"}\n\n") + _chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return [*tokens, last]


class Upstream(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    gap_s = 0.005
    plain: list[bytes]
    continuous: list[bytes]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport, self.received = transport, b""
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator or not _whole(head.lower(), body):
            return
        self.received = b""
        if head.startswith(b"GET") or not STREAM.search(body):
            self.transport.write(MODELS if head.startswith(b"GET") else WHOLE)
            return
        self.events, self.sent = self.continuous if CONTINUOUS.search(body) else self.plain, 0
        self.transport.write(OK_STREAM)
        self.loop.call_later(FIRST_GAP_S, self.tick)

    def tick(self) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(self.events[self.sent])
        self.sent += 1
        if self.sent < len(self.events):
            self.loop.call_later(self.gap_s, self.tick)


def _whole(head: bytes, body: bytes) -> bool:
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return len(body) >= length


async def main(port: int, chunks: int, gap_s: float) -> None:
    """Serve until the process is ended."""
    Upstream.gap_s = gap_s
    Upstream.plain, Upstream.continuous = events(chunks, continuous=False), events(chunks, continuous=True)
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
