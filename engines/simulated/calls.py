"""Bodies -> calls: the fields that the engine acts on, checked; everything else passes as in vLLM."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from engines.simulated.errors import BadCall, ModelNotFound, WrongField
from engines.simulated.tokens import TEMPLATE_TOKENS_PER_CALL, TEMPLATE_TOKENS_PER_MESSAGE, count

CHOICES_MAX = 128
STOPS_MAX = 16
COMPLETION_TOKENS_DEFAULT = 16  # vLLM's and OpenAI's for /v1/completions

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the model would see it, and its length in tokens."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call for text. There is one choice for each prompt and each of `n`."""

    prompts: tuple[Prompt, ...]
    tokens_max: int
    tokens_min: int
    ignore_end: bool
    stops: tuple[str, ...]
    n: int
    stream: bool
    include_usage: bool
    continuous_usage: bool

    @property
    def prompt_tokens(self) -> int:
        return sum(prompt.tokens for prompt in self.prompts)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine was started with."""

    model: str
    context_tokens_max: int
    output_tokens_max: int
    force_include_usage: bool


def read_body(data: bytes, model: str) -> Body:
    """The JSON object. Raises: CallError: no JSON, no object, or for another model."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        body = _as_python_reads_it(data)
    if not isinstance(body, dict):
        raise WrongField("body", "Input should be a valid dictionary")
    asked = body.get("model")
    if asked is not None and asked != model:
        raise ModelNotFound(asked) if isinstance(asked, str) else WrongField("model", "Input should be a valid string")
    return body


def _as_python_reads_it(data: bytes) -> object:
    """vLLM reads with Python's own decoder, which knows numbers that orjson refuses, such as 1e400."""
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise WrongField(str(error.pos), "JSON decode error") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, or a number of more than 4,300 digits
        raise WrongField("body", "There was an error parsing the body") from error


def chat_call(body: Body, limits: Limits) -> Call:
    """`/v1/chat/completions`."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise WrongField("messages", "Field required" if messages is None else "Input should be a valid list")
    if not messages:
        raise BadCall("Cannot apply chat template to an empty conversation. Provide at least one message.")
    if body.get("tools") and body.get("tool_choice", "auto") != "none":
        raise BadCall('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
    texts = [_message_text(index, message) for index, message in enumerate(messages)]
    tokens = TEMPLATE_TOKENS_PER_CALL + sum(TEMPLATE_TOKENS_PER_MESSAGE + count(text) for text in texts)
    asked = _integer(body, "max_completion_tokens", low=1) or _integer(body, "max_tokens", low=1)
    return _call(body, limits, (Prompt("\x1e".join(texts), tokens),), asked)


def completion_call(body: Body, limits: Limits) -> Call:
    """`/v1/completions`."""
    prompts = tuple(text_inputs(body, "prompt"))
    asked = _integer(body, "max_tokens", low=1) or COMPLETION_TOKENS_DEFAULT
    return _call(body, limits, prompts, asked)


def responses_call(body: Body, limits: Limits) -> Call:
    """`/v1/responses`: a text, or a list of messages; nothing is stored."""
    given = body.get("input")
    if isinstance(given, str) and given:
        texts = [given]
    elif isinstance(given, list) and given:
        texts = [_message_text(index, item, field="input") for index, item in enumerate(given)]
    else:
        raise WrongField("input", "Input should be a text or a list of messages")
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        texts.insert(0, instructions)
    if body.get("previous_response_id") is not None:
        raise BadCall("this engine stores no responses", "previous_response_id")
    tokens = TEMPLATE_TOKENS_PER_CALL + sum(TEMPLATE_TOKENS_PER_MESSAGE + count(text) for text in texts)
    return _call(body, limits, (Prompt("\x1e".join(texts), tokens),), _integer(body, "max_output_tokens", low=1))


def text_inputs(body: Body, field: str) -> list[Prompt]:
    """One prompt or several, as text or as token ids: what `prompt` and `input` may hold."""
    given = body.get(field)
    if isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise WrongField(field, "Field required" if given is None else "Input should be a text, or a list")
    if len(given) > CHOICES_MAX:
        raise WrongField(field, f"at most {CHOICES_MAX} at once")
    return [_one_input(item, field) for item in given]


def _one_input(item: object, field: str) -> Prompt:
    if isinstance(item, str):
        return Prompt(item, max(1, count(item)))
    if isinstance(item, list) and item and all(type(token) is int and token >= 0 for token in item):
        return Prompt(" ".join(map(str, item)), len(item))
    raise WrongField(field, "Input should be a text or a list of token ids")


def _message_text(index: int, message: object, field: str = "messages") -> str:
    """Role and text of a message. Raises: CallError: no message, or a part that is no text."""
    where = f"{field}.{index}"
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise WrongField(f"{where}.role", "Field required")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_part_text(part, where) for part in content)
    if content is not None and not isinstance(content, str):
        raise WrongField(f"{where}.content", "Input should be a valid string")
    return f"{message['role']}\n{content or ''}"


def _part_text(part: object, where: str) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    if isinstance(part, dict) and isinstance(part.get("type"), str):
        raise BadCall("this is not a multimodal model")
    raise WrongField(f"{where}.content", "Input should be a list of parts")


def _call(body: Body, limits: Limits, prompts: tuple[Prompt, ...], asked: int | None) -> Call:
    longest = max(prompt.tokens for prompt in prompts)
    room = limits.context_tokens_max - longest
    if room < 1 or (asked or 0) > room:
        raise BadCall(
            f"This model's maximum context length is {limits.context_tokens_max} tokens. However, you requested "
            f"{asked or 1} output tokens and your prompt contains {longest} input tokens.",
            "input_tokens" if room < 1 else "max_tokens",
        )
    stream = _boolean(body, "stream")
    include_usage, continuous_usage = _usage_asked(body, stream)
    n = _integer(body, "n", low=1, high=CHOICES_MAX) or 1
    if n * len(prompts) > CHOICES_MAX:
        raise WrongField("n", f"at most {CHOICES_MAX} choices at once")
    tokens_max = min(asked or limits.output_tokens_max, limits.output_tokens_max, room)
    return Call(
        prompts=prompts,
        tokens_max=tokens_max,
        tokens_min=min(_integer(body, "min_tokens", low=0) or 0, tokens_max),
        ignore_end=_boolean(body, "ignore_eos"),
        stops=_stops(body),
        n=n,
        stream=stream,
        include_usage=include_usage or limits.force_include_usage,
        continuous_usage=continuous_usage or limits.force_include_usage,
    )


def _usage_asked(body: Body, stream: bool) -> tuple[bool, bool]:
    """(in the end, in every chunk). As in vLLM, every chunk only for those who ask for the end too."""
    options = body.get("stream_options")
    if options is None:
        return False, False
    if not isinstance(options, dict):
        raise WrongField("stream_options", "Input should be a valid dictionary")
    if not stream:
        raise BadCall("Stream options can only be defined when `stream=True`.", "stream_options")
    include_usage = _boolean(options, "include_usage")
    return include_usage, include_usage and _boolean(options, "continuous_usage_stats")


def _stops(body: Body) -> tuple[str, ...]:
    given = body.get("stop")
    stops: Sequence[object] = [given] if isinstance(given, str) else given or ()
    if not isinstance(stops, list | tuple) or len(stops) > STOPS_MAX:
        raise WrongField("stop", f"Input should be a text, or a list of at most {STOPS_MAX}")
    texts = tuple(stop for stop in stops if isinstance(stop, str) and stop)
    if len(texts) != len(stops):
        raise BadCall("stop cannot contain an empty string.")
    return texts


def _integer(body: Body, field: str, *, low: int, high: int = 2**31) -> int | None:
    value = body.get(field)
    if value is None:
        return None
    if type(value) is not int:  # bool is an int to isinstance
        raise WrongField(field, "Input should be a valid integer")
    if not low <= value <= high:
        raise BadCall(f"{field} must be at least {low} and at most {high}, got {value}.", field)
    return value


def _boolean(body: Body, field: str) -> bool:
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise WrongField(field, "Input should be a valid boolean")
    return bool(value)
