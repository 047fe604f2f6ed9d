"""What is asked of a model, drawn from a seed: every kind of request, streams and not, some of which are left in the middle."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LEFT_SHARE = 0.1
GENERATING = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
COUNTING = ("/tokenize", "/v1/messages/count_tokens", "/detokenize")
"""Without the model: their tokens are in no counter of vLLM."""
EMBEDDINGS = "/v1/embeddings"
COUNTING_SHARE = 0.1
TEXTS = (
    "Houses and gardens",
    "Tell me something about houses and gardens, please.",
    "Explain why the roof of a house slopes, what the gutter is for, and how both are kept in order over the years.",
)
TOKENS = (8, 12)
PIECES_MAX = 5  # of text that a client reads before it leaves
WAITS_S = 0.02, 0.25  # for which a client waits for a whole answer before it leaves


@dataclass(frozen=True, slots=True)
class Plan:
    """One request, and when its client leaves, if it does."""

    path: str
    text: str
    tokens_max: int
    stream: bool
    pieces: int | None = None
    wait_s: float | None = None

    @property
    def leaves(self) -> bool:
        """Unless the answer is quicker."""
        return self.pieces is not None or self.wait_s is not None

    def body(self, model: str) -> dict[str, Any]:
        """As the endpoint takes it."""
        turn = [{"role": "user", "content": self.text}]
        bodies: dict[str, dict[str, Any]] = {
            "/v1/chat/completions": {"messages": turn, "max_tokens": self.tokens_max},
            "/v1/completions": {"prompt": self.text, "max_tokens": self.tokens_max},
            "/v1/responses": {"input": self.text, "max_output_tokens": self.tokens_max},
            "/v1/messages": {"messages": turn, "max_tokens": self.tokens_max},
            "/v1/messages/count_tokens": {"messages": turn},
            EMBEDDINGS: {"input": self.text},
            "/tokenize": {"prompt": self.text},
            "/detokenize": {"tokens": [*range(3, 3 + self.tokens_max)]},
        }
        return {"model": model} | bodies[self.path] | ({"stream": True} if self.stream else {})


def drawn(count: int, seed: int, paths: Sequence[str] = GENERATING) -> list[Plan]:
    """`count` requests; `paths` run the model."""
    chance = random.Random(seed)
    return [_drawn(chance, paths) for _ in range(count)]


def _drawn(chance: random.Random, paths: Sequence[str]) -> Plan:
    text, tokens_max = chance.choice(TEXTS), chance.choice(TOKENS)
    if chance.random() < COUNTING_SHARE:
        return Plan(chance.choice(COUNTING), text, tokens_max, stream=False)
    path = chance.choice(paths)
    stream = path in GENERATING and chance.random() < 0.5
    if chance.random() >= LEFT_SHARE / (1 - COUNTING_SHARE):
        return Plan(path, text, tokens_max, stream)
    if stream:
        return Plan(path, text, tokens_max, stream, pieces=chance.randint(1, PIECES_MAX))
    return Plan(path, text, tokens_max, stream, wait_s=chance.uniform(*WAITS_S))
