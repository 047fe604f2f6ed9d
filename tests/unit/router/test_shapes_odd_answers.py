"""Answers and streams with halves of characters, and errors inside streams, in the words of every engine."""

import json
from typing import Any

import pytest

from router.inference.retries import lacks_model
from router.inference.shapes import SHAPES, Call, Reading, Usage
from tests.unit.router.test_shapes_streams import (
    CHAT,
    COMPACT,
    GOOD,
    MESSAGES,
    RESPONSES,
    USAGE,
    chunk,
    chunks,
    message_events,
    named,
    response_events,
    tap_of,
)
from warehouse.base.errors import EngineFailed

BAD = {"message": "no", "type": "invalid_request_error"}
ANTHROPIC = {"type": "error", "error": BAD}
FLAT = {"type": "error", "code": "invalid_prompt", "message": "no", "param": None, "sequence_number": 1}
VLLM = {"error": {"message": "no", "type": "BadRequestError", "param": None, "code": 400}}
FAILED = {"type": "response.failed", "response": {"status": "failed", "error": {"code": "image_too_large", "message": "no"}}}


@pytest.mark.parametrize(
    ("shape", "error", "status"),
    [
        (CHAT, {"error": BAD | {"code": "context_length_exceeded"}}, 400),
        (CHAT, {"error": BAD | {"code": "invalid_api_key"}}, 401),
        (CHAT, {"error": {"message": "no", "type": "server_error", "code": None}}, None),
        (MESSAGES, ANTHROPIC, 400),
        (MESSAGES, {"type": "error", "error": BAD | {"type": "request_too_large"}}, 413),
        (MESSAGES, {"type": "error", "error": BAD | {"type": "overloaded_error"}}, 503),
        (MESSAGES, {"type": "error", "error": "no"}, None),
        (RESPONSES, FLAT, 400),
        (RESPONSES, FLAT | {"code": "server_error"}, None),
        (RESPONSES, FLAT | {"code": None, "error": BAD}, 400),
        (RESPONSES, FAILED, 400),
        (RESPONSES, {"type": "response.failed", "response": {"status": "failed", "error": None}}, None),
        *((shape, VLLM, 400) for shape in (CHAT, MESSAGES, RESPONSES)),
        *((shape, {"error": VLLM["error"] | {"code": 500}}, 500) for shape in (CHAT, MESSAGES, RESPONSES)),
        *((shape, {"error": VLLM["error"] | {"code": 4.5}}, None) for shape in (CHAT, MESSAGES, RESPONSES)),
    ],
)
def test_what_an_error_inside_a_stream_says_of_the_request_is_read(shape: Any, error: dict[str, Any], status: int | None) -> None:
    event = named([error]) if "type" in error else chunks([error], end=b"")
    tap = tap_of(shape)
    assert tap.feed(event) + tap.tail == event
    assert (tap.engine_error, tap.error_status) == (True, status)
    begun = {"chat.completions": chunks([chunk("a")], end=b""), "messages": named(message_events()[:3])}
    late = tap_of(shape)
    late.feed(begun.get(shape.endpoint, named(response_events()[:2])) + event)
    assert late.error_status is None


@pytest.mark.parametrize("error", [b'{"error": null', b'{"error":null'])
def test_no_error_inside_a_stream_is_none(error: bytes) -> None:
    """As engines write it that state every field."""
    usage = b',"usage":{"prompt_tokens":9,"completion_tokens":3}'
    told = b'data: %b,"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]%%b}\n\n' % error
    chat, responses, messages = tap_of(CHAT), tap_of(RESPONSES), tap_of(MESSAGES)
    assert chat.feed(told % usage) == told % b""
    assert responses.feed(event := b'data: %b,"type":"response.output_text.delta","delta":"a"}\n\n' % error) == event
    assert messages.feed(event := b'data: %b,"type":"content_block_delta"}\n\n' % error) == event
    assert [tap.engine_error for tap in (chat, responses, messages)] == [False] * 3
    assert (chat.reading, responses.pieces, messages.pieces) == (Reading(Usage(9, 3), "stop"), 1, 1)


NO_MODEL = {"code": "model_not_found", "message": "no model \ud83d"}


@pytest.mark.parametrize(
    ("told", "lacks"),
    [
        (NO_MODEL, True),
        ({"error": NO_MODEL}, True),
        ({"type": "response.failed", "response": {"status": "failed", "error": NO_MODEL}}, True),
        ({"error": {"message": "The model `a` does not exist.", "param": "model", "code": 404}}, True),
        ({"error": {"type": "not_found_error", "message": "model: a"}}, True),
        ({"error": {"type": "not_found_error", "message": "File file_1 not found", "param": ["x"]}}, False),
        ({"error": {"message": ["no"]}}, False),
        ({"error": "no"}, False),
    ],
)
def test_an_engines_word_that_it_lacks_the_model_is_read_wherever_it_stands(told: dict[str, Any], lacks: bool) -> None:
    body = json.dumps(told).encode()
    assert lacks_model(404, body) == lacks
    assert not lacks_model(422, body)
    assert not lacks_model(404, body[:-1])


HALVES = ("\ud83d", "a\ud83d", "\ude00", "\ud83d\ud83d\ude00", "\ude00\ud83d", "\\\ud83d", "\\ud83d\ud83d", "\ud83d\n")


@pytest.mark.parametrize("half", HALVES)
def test_half_of_a_surrogate_pair_is_no_fault_of_an_answer(half: str) -> None:
    """As engines write an emoji that a token or the end of the answer has cut in two."""
    for path, answer, reading in GOOD:
        for more in ({"text": half} if path == "/detokenize" else {"x": half}, {half: {"a": [half]}}):
            for body in (json.dumps(answer | more), json.dumps(more | answer)):
                assert SHAPES[path].read(body.encode(), Call("m", messages=9)) == reading
    for broken in (b'{"x":"\\ud83d"', b'{"usage":"\\ud83d"}', b'{"x":"\\ud83"}'):
        with pytest.raises(EngineFailed):
            CHAT.read(broken)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("style", [COMPACT, {"separators": (", ", ": ")}], ids=["compact", "spaced"])
def test_half_of_a_surrogate_pair_is_no_fault_of_a_stream(half: str, style: dict[str, Any]) -> None:
    last = chunk("", usage=USAGE, choices=False)
    for asked in ({half: half, **chunk(half, "stop")}, chunk(half, "stop") | {half: half}):
        tap = tap_of(CHAT)
        data = chunks([asked | {"usage": USAGE}, last], **style)
        assert tap.feed(data) + tap.tail == chunks([asked], **style)
        assert tap.reading == Reading(Usage(9, 3, 4), "stop")
    for shape, events, reading in (
        (RESPONSES, response_events(text=half), Reading(Usage(9, 3, 4, 1), "stop")),
        (MESSAGES, message_events(x=half), Reading(Usage(9, 3, 4), "length")),
    ):
        tap = tap_of(shape)
        assert tap.feed(named(events)) + tap.tail == named(events)
        assert tap.reading == reading
