"""Bodies -> calls, endpoint by endpoint."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from router.inference.shapes.call import (
    ABSENT,
    Absent,
    Call,
    Count,
    EchoTokens,
    decode,
    media_in,
    media_of,
    session_of,
    tags_of,
)
from warehouse.base.errors import InvalidRequest

COMPLETION_TOKENS_DEFAULT = 16  # of /v1/completions: OpenAI's and vLLM's
BYTES_FORMATS = ("bytes", "bytes_only")  # of vLLM's embeddings


class StreamOptions(msgspec.Struct):
    """What the client wants to see of usage in a stream."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class _Request(msgspec.Struct):
    model: str
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    session_id: str | None = None
    metadata: dict[str, str] | None = None


class _Generating(_Request):
    stream: bool | None = None
    n: Count | None = None
    best_of: Count | None = None
    stream_options: StreamOptions | Absent | None = ABSENT
    max_tokens: Count | Absent | None = ABSENT


class _Message(msgspec.Struct):
    """Of any content that is no list, the type is the engine's to judge."""

    role: str
    content: Any = None


class _Chat(_Generating, kw_only=True):
    messages: list[_Message]
    max_completion_tokens: Count | Absent | None = ABSENT
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None


class _Completion(_Generating):
    max_tokens: EchoTokens | Absent | None = ABSENT
    prompt: Any = None
    prompt_embeds: Any = None


class _Responses(_Request, kw_only=True):
    input: Any = None
    stream: bool | None = None
    background: bool | None = None
    max_output_tokens: Count | Absent | None = ABSENT
    tools: list[msgspec.Raw] | None = None
    conversation: Any = None
    previous_response_id: Any = None


class _MessagesMetadata(msgspec.Struct):
    user_id: str | None = None


class _CountMessages(msgspec.Struct):
    model: str
    messages: list[_Message]
    system: Any = None
    tools: list[msgspec.Raw] | None = None
    metadata: _MessagesMetadata | None = None


class _Messages(_CountMessages, kw_only=True):
    stream: bool | None = None
    max_tokens: Count | Absent | None = ABSENT


class _Embedding(_Request):
    input: Any = None
    messages: Any = None
    encoding_format: Any = None


class _Rerank(_Request, kw_only=True):
    query: Any
    documents: Any


class _Score(_Request):
    text_1: Any = None
    text_2: Any = None
    queries: Any = None
    documents: Any = None
    items: Any = None
    data_1: Any = None
    data_2: Any = None


class _Tokenize(_Request):
    prompt: Any = None
    messages: Any = None


class _Detokenize(_Request, kw_only=True):
    tokens: list[int]


_CHAT = msgspec.json.Decoder(_Chat)
_COMPLETION = msgspec.json.Decoder(_Completion)
_RESPONSES = msgspec.json.Decoder(_Responses)
_MESSAGES = msgspec.json.Decoder(_Messages)
_COUNT_MESSAGES = msgspec.json.Decoder(_CountMessages)
_EMBEDDING = msgspec.json.Decoder(_Embedding)
_RERANK = msgspec.json.Decoder(_Rerank)
_SCORE = msgspec.json.Decoder(_Score)
_TOKENIZE = msgspec.json.Decoder(_Tokenize)
_DETOKENIZE = msgspec.json.Decoder(_Detokenize)


def chat(body: bytes) -> Call:
    """`/v1/chat/completions`. Raises: InvalidRequest."""
    request: _Chat = decode(_CHAT, body)
    messages = request.messages
    if not messages:
        raise InvalidRequest("`messages` is empty: send at least one", param="messages")
    # Which of both names counts is the engine's to decide; null is as good as absent.
    call = _generating(request, max(request.max_completion_tokens or 0, request.max_tokens or 0) or None)
    call.messages, call.media = len(messages), media_of([message.content for message in messages])
    call.tools = bool(request.tools or request.functions)
    call.names_cap = request.max_completion_tokens is not ABSENT
    return call


def completion(body: bytes) -> Call:
    """`/v1/completions`. Raises: InvalidRequest."""
    request: _Completion = decode(_COMPLETION, body)
    asked = request.max_tokens
    call = _generating(request, None if asked is ABSENT else asked)
    call.output_tokens_default = COMPLETION_TOKENS_DEFAULT
    embedded = request.prompt_embeds
    prompts = _inputs(request.prompt) + (len(embedded) if isinstance(embedded, list) else embedded is not None)
    call.messages, call.prompts = prompts, max(1, prompts)
    call.choices *= call.prompts
    call.names_cap, call.remembered = asked is not ABSENT, embedded is not None
    return call


def responses(body: bytes) -> Call:
    """`/v1/responses`. Raises: InvalidRequest."""
    request: _Responses = decode(_RESPONSES, body)
    if request.background:
        message = "`background` is not offered: what runs after its answer would run unmetered; use `stream` for long answers"
        raise InvalidRequest(message, param="background")
    asked = request.max_output_tokens
    call = _call(request, session_of(request.conversation))
    call.stream = bool(request.stream)
    call.output_tokens_max = None if asked is ABSENT else asked
    call.names_cap = asked is not ABSENT
    call.messages = len(request.input) if isinstance(request.input, list) else 1
    call.media, call.tools = media_in(request.input), bool(request.tools)
    call.remembered = request.previous_response_id is not None or request.conversation is not None
    return call


def messages(body: bytes) -> Call:
    """`/v1/messages`. Raises: InvalidRequest."""
    request: _Messages = decode(_MESSAGES, body)
    call = _messages(request)
    asked = request.max_tokens
    call.stream = bool(request.stream)
    call.output_tokens_max = None if asked is ABSENT else asked
    call.names_cap = asked is not ABSENT
    return call


def count_messages(body: bytes) -> Call:
    """`/v1/messages/count_tokens`. Raises: InvalidRequest."""
    request: _CountMessages = decode(_COUNT_MESSAGES, body)
    call = _messages(request)
    call.unread = True
    return call


def embedding(body: bytes) -> Call:
    """`/v1/embeddings`: texts, token ids, or conversations. Raises: InvalidRequest."""
    request: _Embedding = decode(_EMBEDDING, body)
    if request.encoding_format in BYTES_FORMATS:
        message = "answers as bytes are not offered: what they used stands in a header, or nowhere; ask for `base64`"
        raise InvalidRequest(message, param="encoding_format")
    call = _call(request)
    call.messages = _inputs(request.input) + (len(request.messages) if isinstance(request.messages, list) else 0)
    call.prompts = max(1, _inputs(request.input))
    call.media = media_in(request.input) + media_in(request.messages)
    return call


def rerank(body: bytes) -> Call:
    """`/v1/rerank` and its siblings: one query, several documents. Raises: InvalidRequest."""
    request: _Rerank = decode(_RERANK, body)
    return _scored(request, [request.query, request.documents])


def score(body: bytes) -> Call:
    """`/v1/score`: pairs of texts, under any of the names that vLLM has for them. Raises: InvalidRequest."""
    request: _Score = decode(_SCORE, body)
    given = [request.text_1, request.text_2, request.queries, request.documents, request.items, request.data_1, request.data_2]
    return _scored(request, given)


def tokenize(body: bytes) -> Call:
    """`/tokenize`: a prompt or a conversation. Raises: InvalidRequest."""
    request: _Tokenize = decode(_TOKENIZE, body)
    call = _call(request)
    call.messages = len(request.messages) if isinstance(request.messages, list) else 1
    call.media, call.unread = media_in(request.messages), True
    return call


def detokenize(body: bytes) -> Call:
    """`/detokenize`: token ids, counted as `messages`. Raises: InvalidRequest."""
    request: _Detokenize = decode(_DETOKENIZE, body)
    call = _call(request)
    call.messages = call.ids = len(request.tokens)
    call.unread = True
    return call


def _call(request: _Request, session: str | None = None) -> Call:
    user = request.user or request.safety_identifier
    if session or request.prompt_cache_key or request.session_id or user:
        session = session_of(request.prompt_cache_key, session, request.session_id, user)
    return Call(request.model, end_user=user, session=session, tags=tags_of(request.metadata) if request.metadata else None)


def _generating(request: _Generating, asked: int | None) -> Call:
    call = _call(request)
    call.output_tokens_max = asked
    call.stream = request.stream is True
    if request.n is not None or request.best_of is not None:
        call.choices = max(request.n or 1, request.best_of or 1)
    options = request.stream_options
    if options is not ABSENT:
        call.names_options = True
        if options is not None:
            call.wants_usage = bool(options.include_usage)
            # As in vLLM: in every chunk only for those who ask for the end too.
            call.wants_running_usage = call.wants_usage and bool(options.continuous_usage_stats)
    return call


def _messages(request: _CountMessages) -> Call:
    if not request.messages:
        raise InvalidRequest("`messages` is empty: send at least one", param="messages")
    user = request.metadata.user_id if request.metadata else None
    contents = [message.content for message in request.messages]
    return Call(
        request.model,
        end_user=user,
        messages=len(contents) + (request.system is not None),
        media=media_of(contents) + media_in(request.system),
        tools=bool(request.tools),
        session=session_of(user),
    )


def _scored(request: _Request, given: Sequence[object]) -> Call:
    call = _call(request)
    call.messages = sum(len(item) if isinstance(item, list) else item is not None for item in given)
    call.prompts, call.paired = max(1, call.messages), True
    call.media = sum(map(media_in, given))
    return call


def _inputs(given: object) -> int:
    """How many inputs there are: one text, one list of token ids, or a list of either."""
    if isinstance(given, list) and given and not isinstance(given[0], int | float):
        return len(given)
    return 0 if given is None or given == [] else 1


BODIES: Mapping[Callable[[bytes], Call], type[msgspec.Struct]] = MappingProxyType(
    {
        chat: _Chat, completion: _Completion, responses: _Responses, messages: _Messages, count_messages: _CountMessages,
        embedding: _Embedding, rerank: _Rerank, score: _Score, tokenize: _Tokenize, detokenize: _Detokenize,
    }
)  # fmt: skip
"""What each of these reads of a body."""
