"""`/v1/messages`: Anthropic's Messages API for text, as vLLM writes it over its chat completions."""

from collections.abc import Sequence
from typing import Any

import orjson

from engines.simulated.calls import Body, Call, Limits, chat_call
from engines.simulated.errors import WrongField
from engines.simulated.shapes import Head, Json, Usage
from engines.simulated.tokens import Answer

_REASONS = {"length": "max_tokens"}


def messages_call(body: Body, limits: Limits) -> Call:
    """The call as the chat completion that it is for the model."""
    if body.get("max_tokens") is None:
        raise WrongField("max_tokens", "Field required")
    return chat_call(_as_chat(body) | {"max_tokens": body["max_tokens"], "stream": body.get("stream")}, limits)


def count_tokens_call(body: Body, limits: Limits) -> Call:
    """`/v1/messages/count_tokens`: the same prompt, and no answer."""
    return chat_call(_as_chat(body) | {"max_tokens": 1}, limits)


def _as_chat(body: Body) -> dict[str, Any]:
    messages = body.get("messages")
    system = body.get("system")
    if isinstance(messages, list) and system is not None:
        messages = [{"role": "system", "content": system}, *messages]
    return {"messages": messages, "stop": body.get("stop_sequences"), "ignore_eos": body.get("ignore_eos")}


class MessagesShape:
    """One message with one block of text."""

    done = b""

    def __init__(self, head: Head, call: Call) -> None:
        self._head = head
        self._prompt_tokens = call.prompt_tokens

    def whole(self, answers: Sequence[Answer], usage: Usage) -> Json:
        answer = answers[0]
        return self._message([{"type": "text", "text": answer.text}]) | _ended(answer) | {"usage": _usage(usage)}

    def opening(self) -> list[Json]:
        begun = self._message([]) | {"stop_reason": None, "stop_sequence": None}
        begun["usage"] = {"input_tokens": self._prompt_tokens, "output_tokens": 0}
        return [
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "content_block": {"type": "text", "text": ""}, "index": 0},
        ]

    def piece(self, index: int, text: str, tokens: int, ended: Answer | None) -> Json:  # noqa: ARG002  as every Shape
        return {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}, "index": 0}

    def closing(self, answers: Sequence[Answer], usage: Usage) -> list[Json]:
        ended = {"stop_sequence": None} | _ended(answers[0])
        return [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": ended, "usage": _usage(usage)},
            {"type": "message_stop"},
        ]

    def frame(self, event: Json) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))

    def _message(self, content: list[Json]) -> Json:
        return {"id": self._head.id, "type": "message", "role": "assistant", "content": content, "model": self._head.model}


def _ended(answer: Answer) -> Json:
    if answer.stop_reason is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": answer.stop_reason}
    return {"stop_reason": _REASONS.get(answer.finish_reason, "end_turn")}


def _usage(usage: Usage) -> Json:
    """Anthropic's input is what was neither read from the cache nor put there."""
    return {
        "input_tokens": max(0, usage.prompt_tokens - usage.cached_tokens - usage.created_cache_tokens),
        "output_tokens": usage.completion_tokens,
        "cache_creation_input_tokens": usage.created_cache_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
    }
