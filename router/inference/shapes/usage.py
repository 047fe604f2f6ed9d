"""Usage out of whole answers: token counts as the engine states them, never our own count of anything."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from router.inference.shapes.edit import read
from warehouse.base.errors import EngineFailed

TOKENS_MAX = 2**31 - 1  # what the columns hold; an engine that states more states nonsense
Tokens = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]

_FINISH = {
    reason: reason for reason in ("stop", "length", "tool_calls", "content_filter", "abort", "error")
} | {  # Anthropic's, and the two of the Responses API
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "refusal": "content_filter",
}


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of a call. The cached ones are part of the prompt's, those of reasoning part of the completion's."""

    prompt_tokens: int
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Reading(msgspec.Struct, gc=False):
    """What has been read of an answer so far."""

    usage: Usage | None = None
    finish_reason: str | None = None
    estimated: bool = False
    """The output tokens are the pieces of text seen, as the stream broke off before the engine had counted."""


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: Tokens | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Tokens | None = None


class ChoicesUsage(msgspec.Struct, gc=False):
    """`usage` of chat, completions, embeddings, rerank and score."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    reasoning_tokens: Tokens | None = None
    """As SGLang has it, which states no details of the completion."""

    def usage(self) -> Usage | None:
        """None where tokens of the prompt or of the completion are not stated, or are absurd in sum."""
        prompt, completion = self.prompt_tokens, self.completion_tokens
        if prompt is None or completion is None:
            return None
        cached, reasoning = self.prompt_tokens_details, (self.completion_tokens_details or self).reasoning_tokens or 0
        if reasoning:
            if self.total_tokens == prompt + completion + reasoning:  # as xAI states and bills it
                completion += reasoning
                if completion > TOKENS_MAX:
                    return None
            reasoning = min(reasoning, completion)
        return Usage(prompt, completion, min(cached.cached_tokens or 0, prompt) if cached else 0, reasoning)


class ResponsesUsage(msgspec.Struct):
    """`usage` of the Responses API."""

    input_tokens: Tokens
    output_tokens: Tokens
    input_tokens_details: _PromptDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    def usage(self) -> Usage:
        """In our words."""
        cached, reasoning = self.input_tokens_details, self.output_tokens_details
        return Usage(
            self.input_tokens,
            self.output_tokens,
            min(cached.cached_tokens or 0, self.input_tokens) if cached else 0,
            min(reasoning.reasoning_tokens or 0, self.output_tokens) if reasoning else 0,
        )


class MessagesUsage(msgspec.Struct):
    """`usage` of the Messages API, where the prompt is the sum of what was read from the cache, put there, and neither."""

    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None

    def then(self, later: "MessagesUsage") -> "MessagesUsage":
        """As it is after an event that states some of it anew."""
        stated = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(later), strict=True)
        return MessagesUsage(*(before if new is None else new for before, new in stated))

    def usage(self) -> Usage | None:
        """None where tokens of the prompt or of the answer are not stated, or are absurd in sum."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        cached = self.cache_read_input_tokens or 0
        prompt = self.input_tokens + cached + (self.cache_creation_input_tokens or 0)
        return Usage(prompt, self.output_tokens, cached) if prompt <= TOKENS_MAX else None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _ChoicesAnswer(msgspec.Struct, gc=False):
    usage: ChoicesUsage
    choices: list[_Choice] | None = None


class _PooledAnswer(msgspec.Struct):
    usage: ChoicesUsage


class _Output(msgspec.Struct):
    type: str | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class Response(msgspec.Struct):
    """A response object, whole or in the last event of a stream."""

    usage: ResponsesUsage | None = None
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    output: list[_Output] | None = None

    @property
    def is_broken(self) -> bool:
        """It says of itself that it is no answer."""
        return self.status in ("failed", "cancelled")

    def reading(self) -> Reading:
        """Usage, and why it ended."""
        reason: str | None
        if self.status == "incomplete":
            reason = (self.incomplete_details and self.incomplete_details.reason) or "length"
        elif self.status == "completed":
            calls = any(item.type == "function_call" for item in self.output or ())
            reason = "tool_calls" if calls else "stop"
        else:
            reason = {"failed": "error", "cancelled": "abort"}.get(self.status or "")
        return Reading(None if self.usage is None else self.usage.usage(), finish_label(reason))


class _Message(msgspec.Struct):
    usage: MessagesUsage
    stop_reason: str | None = None


class _Counted(msgspec.Struct):
    count: Tokens | list[Tokens]
    """Several of SGLang's, for several prompts."""


class _InputCounted(msgspec.Struct):
    input_tokens: Tokens


class _Text(msgspec.Struct):
    """Of vLLM, or of SGLang."""

    prompt: str | None = None
    text: str | None = None


def finish_label(reason: str | None) -> str | None:
    """The label that rows use; what no API that we know says is `other`."""
    return None if reason is None else _FINISH.get(reason, "other")


def read_choices(body: bytes, sent: int = 0) -> Reading:  # noqa: ARG001  as every reader
    """Of chat and text completions. Raises: EngineFailed: no JSON, or without usage."""
    try:  # as `_decode` does, without a call: nearly every answer is read here
        answer = _CHOICES.decode(body)
    except _BROKEN:
        answer = _decode(_CHOICES, body)
    choices = answer.choices
    return Reading(_stated(answer.usage.usage()), finish_label(choices[0].finish_reason) if choices else None)


def read_pooled(body: bytes, sent: int = 0) -> Reading:  # noqa: ARG001
    """Of embeddings, rerank and score: input only, some say only its total. Raises: EngineFailed."""
    stated: ChoicesUsage = _decode(_POOLED, body).usage
    stated.completion_tokens = stated.completion_tokens or 0
    if stated.prompt_tokens is None and stated.total_tokens is not None and 0 <= stated.total_tokens <= TOKENS_MAX:
        stated.prompt_tokens = stated.total_tokens
    return Reading(_stated(stated.usage()))


def read_response(body: bytes, sent: int = 0) -> Reading:  # noqa: ARG001
    """Of the Responses API. Raises: EngineFailed."""
    response: Response = _decode(_RESPONSE, body)
    if response.is_broken:
        raise EngineFailed(f"the engine's response says that it is {response.status}")
    reading = response.reading()
    _stated(reading.usage)
    return reading


def read_message(body: bytes, sent: int = 0) -> Reading:  # noqa: ARG001
    """Of the Messages API. Raises: EngineFailed."""
    answer = _decode(_MESSAGE, body)
    return Reading(_stated(answer.usage.usage()), finish_label(answer.stop_reason))


def read_count(body: bytes, sent: int = 0) -> Reading:  # noqa: ARG001
    """Of tokenize: the tokens that it counted. Raises: EngineFailed."""
    count = _decode(_COUNTED, body).count
    tokens = sum(count) if isinstance(count, list) else count
    return Reading(_stated(Usage(tokens) if tokens <= TOKENS_MAX else None))


def read_input_count(body: bytes, sent: int = 0) -> Reading:  # noqa: ARG001
    """Of the Messages API's count of tokens. Raises: EngineFailed."""
    return Reading(Usage(_decode(_INPUT_COUNTED, body).input_tokens))


def read_text(body: bytes, sent: int = 0) -> Reading:
    """Of detokenize, whose answer says no count: the tokens that were `sent`. Raises: EngineFailed."""
    answer: _Text = _decode(_TEXT, body)
    if answer.prompt is None and answer.text is None:
        raise EngineFailed("the engine's answer has no text")
    return Reading(Usage(sent))


_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_USAGE = "the engine's answer is not valid JSON with usage"
_CHOICES = msgspec.json.Decoder(_ChoicesAnswer)
_POOLED = msgspec.json.Decoder(_PooledAnswer)
_RESPONSE = msgspec.json.Decoder(Response)
_MESSAGE = msgspec.json.Decoder(_Message)
_COUNTED = msgspec.json.Decoder(_Counted)
_INPUT_COUNTED = msgspec.json.Decoder(_InputCounted)
_TEXT = msgspec.json.Decoder(_Text)


def _decode(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    try:
        return read(decoder, body)
    except _BROKEN as error:
        raise EngineFailed(_NO_USAGE) from error


def _stated(usage: Usage | None) -> Usage:
    """What cannot be billed is not passed on as if it could."""
    if usage is None:
        raise EngineFailed("the engine's answer states no usage")
    return usage


Reader = Callable[[bytes, int], Reading]
