"""Tokens without a tokeniser: counted from bytes, written from a digest, cached by prefix."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

BYTES_PER_TOKEN = 4
BLOCK_TOKENS = 16  # vLLM's block: only whole blocks are found in the cache
TEMPLATE_TOKENS_PER_CALL = 3
TEMPLATE_TOKENS_PER_MESSAGE = 4

_SYLLABLES_FIRST = ("ba", "ce", "di", "fo", "gu", "ha", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu", "ze")
_SYLLABLES_LAST = (
    "l",
    "na",
    "ri",
    "so",
    "tu",
    "men",
    "dor",
    "vak",
    "lis",
    "pon",
    "rut",
    "gal",
    "ben",
    "mir",
    "sod",
    "xu",
)
WORDS = tuple(f" {first}{last}" for first in _SYLLABLES_FIRST for last in _SYLLABLES_LAST)  # 256: one per byte


def count(text: str) -> int:
    """Tokens of a text: one for every four bytes begun, so never more than its bytes."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Answer:
    """What will be generated, token by token. An answer that ends by itself ends in a token without text."""

    pieces: tuple[str, ...]
    finish_reason: str
    stop_reason: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def digest_of(seed: int, body: bytes) -> bytes:
    """32 bytes that stand for the seed and the body; everything random about an answer comes from them."""
    return hashlib.blake2b(body, digest_size=32, key=str(seed).encode()).digest()


def write(
    digest: bytes,
    *,
    mean: int,
    tokens_max: int,
    tokens_min: int = 0,
    ignore_end: bool = False,
    stops: tuple[str, ...] = (),
) -> Answer:
    """The answer for a digest: `tokens_max` or fewer tokens, at least one.

    Its own length lies between a half and one and a half of `mean`; `ignore_end` goes on to `tokens_max`. The first of
    `stops` that appears cuts the text before it; the tokens it took are counted.
    """
    own = max(1, mean // 2 + int.from_bytes(digest[:4], "big") % (mean + 1), tokens_min)
    ends_itself = own <= tokens_max and not ignore_end
    total = own if ends_itself else tokens_max
    pieces = [WORDS[byte] for byte in hashlib.shake_128(digest).digest(total)]
    if ends_itself:
        pieces[-1] = ""
    pieces[0] = pieces[0].lstrip().capitalize()
    stopped = _cut(pieces, stops)
    return stopped or Answer(tuple(pieces), "stop" if ends_itself else "length")


def _cut(pieces: list[str], stops: tuple[str, ...]) -> Answer | None:
    text = "".join(pieces)
    found = min(((text.find(stop), stop) for stop in stops if stop in text), default=None)
    if found is None:
        return None
    begin, stop = found
    kept, length = [], 0
    for piece in pieces:
        kept.append(piece[: max(0, begin - length)])
        length += len(piece)
        if length >= begin + len(stop):
            break
    return Answer(tuple(kept), "stop", stop)


class PrefixCache:
    """Which leading blocks of a prompt were seen before: least recently used go first."""

    def __init__(self, blocks_max: int) -> None:
        self._blocks_max = blocks_max
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def match(self, prompt: str, prompt_tokens: int) -> tuple[int, int]:
        """(tokens found at the head of `prompt`, tokens cached anew). The found are always fewer than `prompt_tokens`.

        Source: vLLM, which recomputes at least the last token to have something to sample from.
        """
        if not self._blocks_max:
            return 0, 0
        data, step = prompt.encode(), BLOCK_TOKENS * BYTES_PER_TOKEN
        chain, matched, created, unbroken = 0, 0, 0, True
        for begin in range(0, len(data) - step + 1, step):
            chain = hash((chain, data[begin : begin + step]))
            if chain in self._blocks:
                self._blocks.move_to_end(chain)
                matched += unbroken
            else:
                unbroken = False
                created += 1
                self._blocks[chain] = None
        while len(self._blocks) > self._blocks_max:
            self._blocks.popitem(last=False)
        blocks_usable = max(0, prompt_tokens - 1) // BLOCK_TOKENS
        return min(matched, blocks_usable) * BLOCK_TOKENS, created * BLOCK_TOKENS
