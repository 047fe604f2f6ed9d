"""Clients of every manner, which go on asking until told to stop and remember what they saw."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from router.inference.shapes import SHAPES
from tests.bench.faults.world import World

CLIENTS = 10  # more would starve the lines, which share this process
STATUSES = frozenset({200, 409, 429, 502, 503, 504})
"""What a client may get while things fail; anything else is a defect."""
CHAT = "/v1/chat/completions"  # every second request; the others are of any path
# {path: the body for a text and a number of tokens}
BODIES: dict[str, Callable[[str, int], dict[str, Any]]] = {
    CHAT: lambda text, tokens: {"messages": [{"role": "user", "content": text}], "max_tokens": tokens},
    "/v1/completions": lambda text, tokens: {"prompt": text, "max_tokens": tokens},
    "/v1/responses": lambda text, tokens: {"input": text, "max_output_tokens": tokens},
    "/v1/messages": lambda text, tokens: {"messages": [{"role": "user", "content": text}], "max_tokens": tokens},
    "/v1/messages/count_tokens": lambda text, _: {"messages": [{"role": "user", "content": text}]},
    "/v1/embeddings": lambda text, tokens: {"input": [text] * tokens},
    **dict.fromkeys(("/rerank", "/v1/rerank", "/v2/rerank"), lambda text, _: {"query": text, "documents": [text, "a house"]}),
    **dict.fromkeys(("/score", "/v1/score"), lambda text, _: {"text_1": text, "text_2": ["a house", "a garden"]}),
    "/tokenize": lambda text, _: {"prompt": text},
    "/detokenize": lambda _, tokens: {"tokens": list(range(tokens))},
}
ENDS = {  # how the last event of a whole stream begins
    CHAT: (b"data: [DONE]",),
    "/v1/completions": (b"data: [DONE]",),
    "/v1/responses": (b"event: response.completed", b"event: response.incomplete"),
    "/v1/messages": (b"event: message_stop",),
}


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
        assert BODIES.keys() == SHAPES.keys(), "load on every endpoint"
        self._urls = [router.url for router in world.routers]
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
            path = CHAT if chance.random() < 0.5 else chance.choice([*BODIES])
            body = {"model": "simulated"} | BODIES[path](f"Tell me about {chance.random()}.", chance.randint(2, 60))
            stream = path in ENDS and chance.random() < 0.6
            if stream:
                body["stream"] = True
            headers = {"idempotency-key": f"{chance.random()}"} if not stream and chance.random() < 0.3 else {}
            began = time.monotonic()
            self.seen.requests += 1
            try:
                await self._one(client, chance.choice(self._urls), path, body, headers, chance)
            except httpx.ReadTimeout:
                self.seen.unexpected.append("no answer in 30 s")
            except httpx.TransportError:
                await asyncio.sleep(0.2)  # the router is away
            self.seen.longest_s = max(self.seen.longest_s, time.monotonic() - began)

    async def _one(
        self, client: httpx.AsyncClient, url: str, path: str, body: object, headers: dict[str, str], chance: random.Random
    ) -> None:
        """One request; one in five leaves in the middle, one in ten reads slowly."""
        leaves_after = chance.randint(0, 12) if chance.random() < 0.2 else None
        slow_s = 0.05 if chance.random() < 0.1 else 0
        async with client.stream("POST", url + path, json=body, headers=headers) as answer:
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
        if answer.status_code == 200 and (not streamed or text.strip().split(b"\n\n")[-1].startswith(ENDS[path])):
            self.seen.answered.append(answer.headers["x-request-id"])
        elif answer.status_code != 200:
            await asyncio.sleep(0.1)  # as a client should that is refused
