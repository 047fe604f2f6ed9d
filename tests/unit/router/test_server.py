"""Connections: each at rest is closed some time, whatever was sent on it, and none takes much memory."""

import asyncio
import tracemalloc
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from router.inference.server import HEADER_BYTES_MAX, ClientCall, InferenceProtocol


class _Endpoint:
    body_bytes_max = 10

    async def serve(self, call: ClientCall) -> None:
        call.answer(200 if call.refusal is None else 413, b"{}", b"")


class _LargeEndpoint(_Endpoint):
    body_bytes_max = 1_000_000


class _App:
    endpoints = {b"/v1/x": _Endpoint(), b"/v1/large": _LargeEndpoint()}  # noqa: RUF012  # nobody changes it
    receive_s_max = stall_s_max = 60.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError(scope)


class _Line(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.is_read = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to close."""

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += data


def _protocol(line: _Line, app: _App | None = None) -> tuple[InferenceProtocol, uvicorn.Config]:
    config = uvicorn.Config(
        app or _App(), http=InferenceProtocol, ws="none", lifespan="off", log_config=None, proxy_headers=False
    )
    config.load()
    protocol = InferenceProtocol(config=config, server_state=ServerState(), app_state={})
    protocol.connection_made(line)
    return protocol, config


@pytest.mark.parametrize(
    "sent",
    [
        [b"\r\n"],
        [b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", b"\r\n"],
        [b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n", b" " * 20],
    ],
    ids=["an empty line", "an empty line after a request", "a body that was refused before it came"],
)
def test_a_connection_at_rest_has_an_end(sent: list[bytes]) -> None:
    async def run() -> None:
        line = _Line()
        protocol, config = _protocol(line)
        for piece in sent:
            protocol.data_received(piece)
            await asyncio.sleep(0.01)
        try:
            assert line.said.startswith(b"HTTP/1.1 ") == (len(sent) == 2)
            assert protocol.waiting[protocol] <= asyncio.get_running_loop().time() + config.timeout_keep_alive
        finally:
            protocol.connection_lost(None)

    asyncio.run(run())


def test_what_comes_behind_a_body_is_no_header() -> None:
    """Whoever sends it would be believed: a proxy in front has said where the request comes from, and looked at no trailer."""

    class Asgi(_App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["more_body"]:
                pass
            seen.extend(scope["headers"])
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})

    async def run() -> bytes:
        line = _Line()
        protocol, _ = _protocol(line, Asgi())
        head = (
            b"POST /v1/managed HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
        )
        for piece in (head, b"0\r\nx-forwarded-for: 10.0.0.1\r\n\r\n"):
            protocol.data_received(piece)
            await asyncio.sleep(0.01)
        protocol.data_received(b"GET /v1/managed HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(0.01)
        protocol.connection_lost(None)
        return line.said

    seen = list[tuple[bytes, bytes]]()
    assert asyncio.run(run()).count(b"HTTP/1.1 200 OK") == 2
    assert [value for name, value in seen if name == b"x-forwarded-for"] == [b"192.0.2.1"]
    assert [name for name, _ in seen].count(b"host") == 2


@pytest.mark.parametrize("path", [b"/v1/x", b"/v1/managed"])
def test_who_was_not_told_to_send_a_body_begins_a_connection_anew(path: bytes) -> None:
    """RFC 9110, 10.1.1: such a client may leave it out, and what it sends next on the connection would be taken for it."""

    class Asgi(_App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})

    class Ending(_Line):
        ends = 0

        def close(self) -> None:
            self.ends += 1

    async def run() -> None:
        line = Ending()
        protocol, _ = _protocol(line, Asgi())
        protocol.data_received(b"POST %b HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 20\r\n\r\n" % path)
        await asyncio.sleep(0.01)
        assert (line.said[:13], line.ends) == (b"HTTP/1.1 413 ", 1)
        protocol.connection_lost(None)

    asyncio.run(run())


@pytest.mark.parametrize("size", [HEADER_BYTES_MAX - 100, HEADER_BYTES_MAX])
def test_a_request_line_counts_among_the_headers(size: int) -> None:
    async def run() -> bytes:
        line = _Line()
        protocol, _ = _protocol(line)
        protocol.data_received(b"POST /v1/x?%b HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}" % (b"a" * size))
        await asyncio.sleep(0.01)
        protocol.connection_lost(None)
        return line.said

    is_over = size == HEADER_BYTES_MAX
    assert asyncio.run(run()).startswith(b"HTTP/1.1 431 ") == is_over


def test_a_body_of_small_chunks_takes_the_memory_of_its_bytes() -> None:
    async def run() -> int:
        protocol, _ = _protocol(_Line())
        head = b"POST /v1/large HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        chunks = b"2\r\nxx\r\n" * 5_000
        protocol.data_received(head)
        tracemalloc.start()
        for _ in range(10):
            protocol.data_received(chunks)
        taken_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        protocol.connection_lost(None)
        return taken_bytes

    assert asyncio.run(run()) < 2 * 100_000


def test_the_next_answer_waits_until_the_client_has_taken_the_last_one() -> None:
    class Full(_Line):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            protocol.pause_writing()

    async def run() -> None:
        nonlocal protocol
        line = Full()
        protocol, _ = _protocol(line)
        protocol.data_received(b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}" * 3)
        for answers in (1, 2, 3):
            await asyncio.sleep(0.01)
            assert (line.said.count(b"HTTP/1.1 200 "), line.is_read) == (answers, False)
            protocol.resume_writing()
        assert line.is_read
        assert protocol in protocol.waiting
        protocol.connection_lost(None)

    protocol: InferenceProtocol
    asyncio.run(run())
