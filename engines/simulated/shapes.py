"""Answers and chunks, key by key as vLLM 0.32 writes them (tests/e2e/test_vllm_contract.py compares)."""

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import orjson

from engines.simulated.calls import Call
from engines.simulated.tokens import Answer

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """What every part of one answer repeats."""

    id: str
    created: int
    model: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a call; the cached ones are part of the prompt's, and so are those cached anew."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    created_cache_tokens: int

    def whole(self, *, created: bool) -> Json:
        """In an answer in one piece. Of `created` cache entries only chat says anything."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": {
                "cached_tokens": self.cached_tokens,
                "created_cache_tokens": self.created_cache_tokens if created else None,
                "multimodal_tokens": None,
            },
            "completion_tokens_details": None,
        }

    def last(self, *, created: bool) -> Json:
        """In the last chunk of a stream: without what is null."""
        details = {"cached_tokens": self.cached_tokens}
        if created:
            details["created_cache_tokens"] = self.created_cache_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": details,
        }


class Shape(Protocol):
    """How one call is answered: in one piece, or as the events of a stream."""

    def whole(self, answers: Sequence[Answer], usage: Usage) -> Json:
        """The answer in one piece."""

    def opening(self) -> list[Json]:
        """Events before the first token."""

    def piece(self, index: int, text: str, tokens: int, ended: Answer | None) -> Json:
        """Some text of choice `index`, which has `tokens` tokens by now; `ended` is its answer when this is the last."""

    def closing(self, answers: Sequence[Answer], usage: Usage) -> list[Json]:
        """Events after the last token."""

    def frame(self, event: Json) -> bytes:
        """The event as it is sent."""

    @property
    def done(self) -> bytes:
        """What ends the stream after the last event."""


class _ChoicesShape:
    """What chat and text completions share: chunks that hold choices, `[DONE]` at the end."""

    done = b"data: [DONE]\n\n"
    chunk_object: ClassVar[str]
    says_created: ClassVar[bool]

    def __init__(self, head: Head, call: Call) -> None:
        self._head = head
        self._call = call

    def frame(self, event: Json) -> bytes:
        return b"data: %b\n\n" % orjson.dumps(event)

    def closing(self, answers: Sequence[Answer], usage: Usage) -> list[Json]:  # noqa: ARG002  as every Shape
        if not self._call.include_usage:
            return []
        return [self._chunk([]) | {"usage": usage.last(created=self.says_created), "system_fingerprint": self._head.fingerprint}]

    def _chunk(self, choices: list[Json]) -> Json:
        return {
            "id": self._head.id,
            "object": self.chunk_object,
            "created": self._head.created,
            "model": self._head.model,
            "choices": choices,
        }

    def _piece(self, choice: Json, running_usage: Json) -> Json:
        chunk = self._chunk([choice])
        if self._call.continuous_usage:
            chunk["usage"] = running_usage
        if choice["finish_reason"] and not self._call.include_usage:
            chunk["system_fingerprint"] = self._head.fingerprint
        return chunk


class ChatShape(_ChoicesShape):
    """`/v1/chat/completions`."""

    chunk_object = "chat.completion.chunk"
    says_created = True

    def whole(self, answers: Sequence[Answer], usage: Usage) -> Json:
        choices = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": answer.text,
                    "refusal": None,
                    "annotations": None,
                    "audio": None,
                    "function_call": None,
                    "reasoning": None,
                },
                "logprobs": None,
                "finish_reason": answer.finish_reason,
                "stop_reason": answer.stop_reason,
                "token_ids": None,
                "routed_experts": None,
            }
            for index, answer in enumerate(answers)
        ]
        return self._chunk(choices) | {
            "object": "chat.completion",
            "service_tier": None,
            "system_fingerprint": self._head.fingerprint,
            "usage": usage.whole(created=self.says_created),
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "prompt_text": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }

    def opening(self) -> list[Json]:
        """Who speaks, for each choice."""
        chunks = []
        for index in range(self._call.n):
            delta = {"role": "assistant", "content": ""}
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            chunk = self._piece(choice, self._running_usage(0))
            chunks.append(chunk | {"prompt_token_ids": None, "prompt_text": None})
        return chunks

    def piece(self, index: int, text: str, tokens: int, ended: Answer | None) -> Json:
        choice: Json = {
            "index": index,
            "delta": {"content": text},
            "logprobs": None,
            "finish_reason": ended.finish_reason if ended else None,
            "token_ids": None,
        }
        if ended:
            choice["stop_reason"] = ended.stop_reason
        return self._piece(choice, self._running_usage(tokens))

    def _running_usage(self, tokens: int) -> Json:
        return _running_usage(self._call.prompt_tokens, tokens) | {"completion_tokens_details": None}


class CompletionShape(_ChoicesShape):
    """`/v1/completions`. There are `n` choices for each prompt, prompt by prompt."""

    chunk_object = "text_completion"
    says_created = False

    def whole(self, answers: Sequence[Answer], usage: Usage) -> Json:
        choices = [
            {
                "index": index,
                "text": answer.text,
                "logprobs": None,
                "finish_reason": answer.finish_reason,
                "stop_reason": answer.stop_reason,
                "token_ids": None,
                "prompt_logprobs": None,
                "prompt_token_ids": None,
                "routed_experts": None,
            }
            for index, answer in enumerate(answers)
        ]
        return self._chunk(choices) | {
            "service_tier": None,
            "system_fingerprint": self._head.fingerprint,
            "usage": usage.whole(created=self.says_created),
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }

    def opening(self) -> list[Json]:
        return []

    def piece(self, index: int, text: str, tokens: int, ended: Answer | None) -> Json:
        choice: Json = {
            "index": index,
            "text": text,
            "logprobs": None,
            "finish_reason": ended.finish_reason if ended else None,
            "stop_reason": ended.stop_reason if ended else None,
            "prompt_token_ids": None,
            "token_ids": None,
        }
        return self._piece(choice, _running_usage(self._call.prompts[index // self._call.n].tokens, tokens))


def _running_usage(prompt_tokens: int, completion_tokens: int) -> Json:
    """In each chunk, for those who asked for continuous usage."""
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
    }


def embeddings(head: Head, digests: Sequence[bytes], dimensions: int, as_base64: bool, prompt_tokens: int) -> Json:
    """`/v1/embeddings`: unit vectors, each from its digest."""
    data = [
        {"index": index, "object": "embedding", "embedding": _vector(digest, dimensions, as_base64)}
        for index, digest in enumerate(digests)
    ]
    usage = {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }
    return {
        "id": head.id,
        "object": "list",
        "created": head.created,
        "model": head.model,
        "data": data,
        "usage": usage,
    }


def _vector(digest: bytes, dimensions: int, as_base64: bool) -> str | list[float]:
    numbers = struct.unpack(f"<{dimensions}h", hashlib.shake_128(digest).digest(2 * dimensions))
    length = sum(number * number for number in numbers) ** 0.5 or 1.0
    vector = [number / length for number in numbers]
    return base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode() if as_base64 else vector


def models(model: str, context_tokens_max: int, created: int) -> Mapping[str, Any]:
    """`/v1/models`."""
    card = {
        "id": model,
        "object": "model",
        "created": created,
        "owned_by": "inferhouse",
        "root": model,
        "parent": None,
        "max_model_len": context_tokens_max,
    }
    return {"object": "list", "data": [card]}
