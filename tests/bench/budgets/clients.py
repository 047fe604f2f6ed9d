"""Clients that spend a budget together, each until it is refused; a connection each, on plain sockets: 500 must cost little."""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.bench.budgets.world import World

ANSWER_S_MAX = 60.0
TOKENS_MAX = 60
WORDS_MAX = 40


@dataclass(slots=True)
class Seen:
    """What the clients of one seed were told."""

    answered: int = 0
    refusals: list[Mapping[str, str]] = field(default_factory=list)
    """`details` of each `budget_exceeded`."""
    unexpected: list[str] = field(default_factory=list)


def body(chance: random.Random) -> dict[str, Any]:
    """A request of any size up to the dearest one."""
    return {
        "model": "simulated",
        "messages": [{"role": "user", "content": "word " * chance.randint(1, WORDS_MAX)}],
        "max_tokens": chance.randint(1, TOKENS_MAX),
        "stream": chance.random() < 0.3,
        "ignore_eos": chance.random() < 0.3,
    }


def dearest() -> dict[str, Any]:
    """The request that can cost the most of all that clients send."""
    words = {"messages": [{"role": "user", "content": "word " * WORDS_MAX}]}
    return {"model": "simulated", "max_tokens": TOKENS_MAX, "stream": False, "ignore_eos": False} | words


class Connection:
    """One that is kept."""

    def __init__(self, port: int, api_key: str) -> None:
        self._port = port
        self._head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {api_key}\r\n"
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: Mapping[str, Any]) -> tuple[int, bytes]:
        """(status, body) of the answer."""
        async with asyncio.timeout(ANSWER_S_MAX):
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            content = json.dumps(request).encode()
            self._writer.write(f"{self._head}content-length: {len(content)}\r\n\r\n".encode() + content)
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            return int(head[9:12]), await self._body(head)

    async def _body(self, head: bytes) -> bytes:
        if b"transfer-encoding: chunked" not in head:
            return await self._reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n", 1)[0]))
        whole = b""
        while size := int(await self._reader.readline(), 16):
            whole += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return whole

    def close(self) -> None:
        """No further request."""
        if self._writer is not None:
            self._writer.close()


async def spend(world: World, seed: int, clients: int) -> Seen:
    """All of them at once, until each has been refused."""
    seen = Seen()

    async def one(number: int) -> None:
        chance = random.Random(f"{seed}:{number}")
        connection = Connection(world.ports[number % len(world.ports)], world.api_key)
        try:
            while True:
                status, answer = await connection.ask(body(chance))
                if status == 200:
                    seen.answered += 1
                    continue
                error = json.loads(answer)["error"]
                if error["code"] == "budget_exceeded":
                    seen.refusals.append(error["details"])
                else:
                    seen.unexpected.append(f"{status} {answer[:300]!r}")
                return
        finally:
            connection.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    return seen
