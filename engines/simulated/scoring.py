"""`/rerank` and `/score` (every pair has a score out of its texts), `/tokenize` and `/detokenize`."""

from collections.abc import Sequence

from engines.simulated.calls import Body, Limits, Prompt, chat_call, text_inputs
from engines.simulated.errors import BadCall, WrongField
from engines.simulated.shapes import Head, Json
from engines.simulated.tokens import BYTES_PER_TOKEN, digest_of

Pair = tuple[Prompt, Prompt]
TOKENS_MAX = 1_000_000  # ids in one /detokenize


def rerank_pairs(body: Body) -> list[Pair]:
    """The query with each document. Raises: CallError."""
    query, documents = text_inputs(body, "query"), text_inputs(body, "documents")
    if len(query) != 1:
        raise WrongField("query", "Input should be a text")
    return [(query[0], document) for document in documents]


def score_pairs(body: Body) -> list[Pair]:
    """One with each, or as many with as many. Raises: CallError."""
    names = next((names for names in (("text_1", "text_2"), ("queries", "documents")) if names[0] in body), ("text_1", "text_2"))
    firsts, seconds = (text_inputs(body, name) for name in names)
    if len(firsts) not in (1, len(seconds)):
        raise BadCall("Input lengths must be either 1:1, 1:N or N:N")
    return list(zip(firsts if len(firsts) > 1 else firsts * len(seconds), seconds, strict=True))


def rerank_answer(head: Head, pairs: Sequence[Pair], seed: int, top_n: int) -> Json:
    """The best first."""
    results: list[Json] = [
        {
            "index": index,
            "document": {"text": document.text, "multi_modal": None},
            "relevance_score": _score(seed, query, document),
        }
        for index, (query, document) in enumerate(pairs)
    ]
    results.sort(key=lambda result: result["relevance_score"], reverse=True)
    tokens = pairs_tokens(pairs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"id": head.id, "model": head.model, "usage": usage, "results": results[: top_n or len(results)]}


def score_answer(head: Head, pairs: Sequence[Pair], seed: int) -> Json:
    """In the order of the pairs."""
    tokens = pairs_tokens(pairs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
    return {
        "id": head.id,
        "object": "list",
        "created": head.created,
        "model": head.model,
        "data": [{"index": index, "object": "score", "score": _score(seed, *pair)} for index, pair in enumerate(pairs)],
        "usage": usage | {"prompt_tokens_details": None, "completion_tokens_details": None},
    }


def pairs_tokens(pairs: Sequence[Pair]) -> int:
    """Both texts of each pair go through the model."""
    return sum(first.tokens + second.tokens for first, second in pairs)


def token_ids(body: Body, limits: Limits) -> list[int]:
    """Of a prompt or a conversation: four bytes each, so that /detokenize finds the text again. Raises: CallError."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        prompt = chat_call({"messages": body.get("messages"), "max_tokens": 1}, limits).prompts[0].text
    data = prompt.encode()
    # A one before the bytes keeps leading zeros apart.
    return [int.from_bytes(b"\1" + data[at : at + BYTES_PER_TOKEN], "big") for at in range(0, len(data), BYTES_PER_TOKEN)]


def text_of(body: Body) -> tuple[str, int]:
    """(text, number of ids) for /detokenize. Raises: CallError."""
    ids = body.get("tokens")
    if not isinstance(ids, list) or len(ids) > TOKENS_MAX or not all(type(token) is int and 0 <= token < 2**63 for token in ids):
        raise WrongField("tokens", "Field required" if ids is None else "Input should be a list of token ids")
    data = b"".join(token.to_bytes((token.bit_length() + 7) // 8, "big")[1:] for token in ids)
    return data.decode(errors="replace"), len(ids)


def _score(seed: int, first: Prompt, second: Prompt) -> float:
    digest = digest_of(seed, f"{first.text}\x1e{second.text}".encode())
    return int.from_bytes(digest[:4], "big") / 2**32
