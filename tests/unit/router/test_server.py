"""Connections at rest: each is closed some time, whatever was sent on it."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from router.inference.server import ClientCall, InferenceProtocol


class _Endpoint:
    body_bytes_max = 10

    async def serve(self, call: ClientCall) -> None:
        call.answer(200 if call.refusal is None else 413, b"{}", b"")


class _App:
    endpoints = {b"/v1/x": _Endpoint()}  # noqa: RUF012  # nobody changes it
    receive_s_max = stall_s_max = 60.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError(scope)


class _Line(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.said = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to close."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += data


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
        config = uvicorn.Config(_App(), http=InferenceProtocol, ws="none", lifespan="off", log_config=None, proxy_headers=False)
        config.load()
        protocol, line = InferenceProtocol(config=config, server_state=ServerState(), app_state={}), _Line()
        protocol.connection_made(line)
        for piece in sent:
            protocol.data_received(piece)
            await asyncio.sleep(0.01)
        try:
            assert line.said.startswith(b"HTTP/1.1 ") == (len(sent) == 2)
            assert protocol.waiting[protocol] <= asyncio.get_running_loop().time() + config.timeout_keep_alive
        finally:
            protocol.connection_lost(None)

    asyncio.run(run())
