"""Clients of every manner, which go on asking until told to stop and remember what they saw."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import httpx

from tests.bench.faults.world import World

CLIENTS = 10  # more would starve the lines, which share this process
STATUSES = frozenset({200, 409, 429, 502, 503, 504})
"""What a client may get while things fail; anything else is a defect."""


@dataclass(slots=True)
class Seen:
    """What the clients of one seed saw."""

    requests: int = 0
    answered: list[str] = field(default_factory=list)
    """Request ids of answers that came whole."""
    unexpected: list[str] = field(default_factory=list)
    longest_s: float = 0


class Clients:
    """`CLIENTS` tasks; what each asks for comes from the seed."""

    def __init__(self, world: World, seed: int) -> None:
        self._urls = [f"{router.url}/v1/chat/completions" for router in world.routers]
        self._key, self._seed = world.api_key, seed
        self._stopping = asyncio.Event()
        self.seen = Seen()

    async def run(self) -> None:
        """Ask until `stop`, and wait for the last answers."""
        headers = {"authorization": f"Bearer {self._key}"}
        limits = httpx.Limits(max_connections=CLIENTS * 2)
        async with httpx.AsyncClient(timeout=30, limits=limits, headers=headers) as client, asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(self._ask(client, random.Random(f"{self._seed}:{number}")))

    def stop(self) -> None:
        """No new requests."""
        self._stopping.set()

    async def _ask(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        while not self._stopping.is_set():
            body = {
                "model": "simulated",
                "messages": [{"role": "user", "content": f"Tell me about {chance.random()}."}],
                "max_tokens": chance.randint(2, 60),
                "stream": chance.random() < 0.6,
            }
            headers = {"idempotency-key": f"{chance.random()}"} if not body["stream"] and chance.random() < 0.3 else {}
            began = time.monotonic()
            self.seen.requests += 1
            try:
                await self._one(client, chance.choice(self._urls), body, headers, chance)
            except httpx.ReadTimeout:
                self.seen.unexpected.append("no answer in 30 s")
            except httpx.TransportError:
                await asyncio.sleep(0.2)  # the router is away
            self.seen.longest_s = max(self.seen.longest_s, time.monotonic() - began)

    async def _one(
        self, client: httpx.AsyncClient, url: str, body: object, headers: dict[str, str], chance: random.Random
    ) -> None:
        """One request; one in five leaves in the middle, one in ten reads slowly."""
        leaves_after = chance.randint(0, 12) if chance.random() < 0.2 else None
        slow_s = 0.05 if chance.random() < 0.1 else 0
        async with client.stream("POST", url, json=body, headers=headers) as answer:
            if answer.status_code not in STATUSES:
                self.seen.unexpected.append(f"{answer.status_code}: {(await answer.aread())[:300]!r}")
                return
            text = b""
            chunks = 0
            async for chunk in answer.aiter_raw():
                text += chunk
                chunks += 1
                if leaves_after is not None and chunks > leaves_after:
                    return
                if slow_s:
                    await asyncio.sleep(slow_s)
        streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
        if answer.status_code == 200 and (not streamed or text.endswith(b"[DONE]\n\n")):
            self.seen.answered.append(answer.headers["x-request-id"])
        elif answer.status_code != 200:
            await asyncio.sleep(0.1)  # as a client should that is refused
