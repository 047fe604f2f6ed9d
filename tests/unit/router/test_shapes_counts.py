"""Tokens are those that the engine states: none is missing, none counts twice, and absurd ones are no counts."""

import json
from typing import Any

import pytest

from router.inference.shapes import tap as module
from router.inference.shapes.events import MessagesTap, ResponsesTap
from router.inference.shapes.tap import ChoicesTap
from router.inference.shapes.usage import (
    TOKENS_MAX,
    Usage,
    read_choices,
    read_count,
    read_message,
    read_pooled,
    read_response,
)
from warehouse.base.errors import EngineFailed


def _body(**answer: Any) -> bytes:
    return json.dumps(answer).encode()


def _events(*told: dict[str, Any], named: bool = True) -> bytes:
    return b"".join(
        (b"event: %b\n" % event["type"].encode() if named else b"") + b"data: %b\n\n" % _body(**event) for event in told
    )


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        ({"prompt_tokens": 5, "total_tokens": 7}, Usage(5)),
        ({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}, Usage(5, 3)),
        ({"total_tokens": 7}, Usage(7)),
        ({"total_tokens": 0}, Usage(0)),
        ({"total_tokens": TOKENS_MAX}, Usage(TOKENS_MAX)),
    ],
)
def test_a_total_is_the_prompt_only_where_no_prompt_is_stated(stated: dict[str, int], usage: Usage) -> None:
    assert read_pooled(_body(usage=stated)).usage == usage


@pytest.mark.parametrize("stated", [{}, {"total_tokens": -1}, {"total_tokens": TOKENS_MAX + 1}, {"completion_tokens": 1}])
def test_an_absurd_total_is_no_count(stated: dict[str, int]) -> None:
    with pytest.raises(EngineFailed, match="usage"):
        read_pooled(_body(usage=stated))


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        ({}, Usage(10, 4)),
        ({"cache_read_input_tokens": None, "cache_creation_input_tokens": None}, Usage(10, 4)),
        ({"cache_read_input_tokens": 3}, Usage(13, 4, 3)),
        ({"cache_creation_input_tokens": 2}, Usage(12, 4)),
        (
            {"input_tokens": TOKENS_MAX - 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2},
            Usage(TOKENS_MAX, 4, 3),
        ),
    ],
)
def test_a_messages_prompt_is_the_sum_of_its_parts(stated: dict[str, int | None], usage: Usage) -> None:
    assert read_message(_body(usage={"input_tokens": 10, "output_tokens": 4} | stated)).usage == usage


def test_a_sum_that_no_row_can_hold_is_no_count() -> None:
    with pytest.raises(EngineFailed):
        read_message(_body(usage={"input_tokens": TOKENS_MAX, "output_tokens": 1, "cache_read_input_tokens": 1}))
    for counts in ([TOKENS_MAX, 1], [TOKENS_MAX, TOKENS_MAX]):
        with pytest.raises(EngineFailed):
            read_count(_body(count=counts))
    assert read_count(_body(count=[TOKENS_MAX - 1, 1])).usage == Usage(TOKENS_MAX)


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        ({"input_tokens_details": {}, "output_tokens_details": {}}, Usage(10, 4)),
        ({"input_tokens_details": {"cached_tokens": 6}}, Usage(10, 4, 6)),
        ({"output_tokens_details": {"reasoning_tokens": 3}}, Usage(10, 4, 0, 3)),
        (
            {"input_tokens_details": {"cached_tokens": 11}, "output_tokens_details": {"reasoning_tokens": 5}},
            Usage(10, 4, 10, 4),
        ),
    ],
)
def test_a_part_of_the_tokens_is_at_most_all_of_them(stated: dict[str, Any], usage: Usage) -> None:
    assert read_response(_body(usage={"input_tokens": 10, "output_tokens": 4} | stated, status="completed")).usage == usage
    renamed = {
        {"input_tokens_details": "prompt_tokens_details", "output_tokens_details": "completion_tokens_details"}[name]: value
        for name, value in stated.items()
    }
    assert read_choices(_body(usage={"prompt_tokens": 10, "completion_tokens": 4} | renamed)).usage == usage


def test_reasoning_that_is_stated_beside_the_completion_is_billed_up_to_what_a_row_holds() -> None:
    stated = {"prompt_tokens": 1, "completion_tokens": TOKENS_MAX - 2, "reasoning_tokens": 2, "total_tokens": TOKENS_MAX + 1}
    assert read_choices(_body(usage=stated)).usage == Usage(1, TOKENS_MAX, 0, 2)
    with pytest.raises(EngineFailed):
        read_choices(_body(usage=stated | {"reasoning_tokens": 3, "total_tokens": TOKENS_MAX + 2}))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "completed"}, "stop"),
        ({"status": "completed", "output": [{"type": "message"}]}, "stop"),
        ({"status": "completed", "output": [{"type": "message"}, {"type": "function_call"}]}, "tool_calls"),
        ({"status": "incomplete"}, "length"),
        ({"status": "incomplete", "incomplete_details": {}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({}, None),
    ],
)
def test_a_response_says_why_it_ended(answer: dict[str, Any], reason: str | None) -> None:
    assert read_response(_body(usage={"input_tokens": 1, "output_tokens": 1}, **answer)).finish_reason == reason


START = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 2}}}
PIECE = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}
COUNTED = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("told", "usage", "estimated"),
    [
        ([START], Usage(10, 2), True),
        ([START, PIECE], Usage(10, 2), True),
        ([START, PIECE, PIECE, PIECE], Usage(10, 3), True),
        ([START, PIECE, COUNTED], Usage(10, 7), False),
        ([START, PIECE, COUNTED, {"type": "message_stop"}], Usage(10, 7), False),
        ([START, PIECE, {"type": "message_stop"}], None, False),
        ([PIECE, PIECE], None, False),
    ],
)
def test_a_messages_stream_that_breaks_off_is_counted_by_its_pieces_until_the_engine_has_counted(
    told: list[dict[str, Any]], usage: Usage | None, estimated: bool, named: bool
) -> None:
    tap = MessagesTap()
    tap.feed(_events(*told, named=named))
    assert (tap.reading.usage, tap.reading.estimated) == (usage, estimated)


@pytest.mark.parametrize("named", [b"event: ", b"event:", None])
def test_a_responses_stream_is_read_whether_its_events_have_names_or_types(named: bytes | None) -> None:
    response = {"status": "completed", "usage": {"input_tokens": 10, "output_tokens": 4}}
    told = [{"type": "response.output_text.delta", "delta": "a"}, {"type": "response.completed", "response": response}]
    tap = ResponsesTap()
    for event in told:
        if named is None:
            tap.feed(_events(event, named=False))
        else:
            tap.feed(b"%b%b\ndata: %b\n\n" % (named, str(event["type"]).encode(), _body(**event)))
    assert (tap.pieces, tap.done) == (1, True)
    assert (tap.reading.usage, tap.reading.finish_reason) == (Usage(10, 4), "stop")


def test_a_responses_stream_may_end_with_the_marker_of_another_api() -> None:
    tap = ResponsesTap()
    assert tap.feed(b"data: [DONE]\n\n") == b""
    assert (tap.done, bytes(tap.tail)) == (True, b"data: [DONE]\n\n")


def test_a_response_that_failed_is_no_answer_and_says_what_the_engine_says() -> None:
    failed = {"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "a"}}}
    tap = ResponsesTap()
    tap.feed(_events(failed))
    assert tap.engine_error
    assert tap.reading.finish_reason == "error"


def _choices(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: %b\n\n" % _body(**chunk) for chunk in chunks)


def _of(index: int, prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": {"cached_tokens": cached}}
    return {"choices": [{"index": index, "delta": {"content": "a"}}], "usage": usage}


def test_running_counts_of_several_choices_are_summed_with_each_prompt_once() -> None:
    tap = ChoicesTap(wants_usage=True, wants_running_usage=False, choices=4, prompts=2)
    tap.feed(_choices(_of(0, 10, 1, 4), _of(1, 10, 2, 4), _of(2, 7, 3), _of(0, 10, 5, 4), _of(4, 99, 99)))
    assert tap.reading.usage == Usage(17, 5 + 2 + 3, 4)
    tap.feed(_choices({"choices": [], "usage": {"prompt_tokens": 17, "completion_tokens": 20}}))
    assert tap.reading.usage == Usage(17, 20), "what the engine says of all together counts"


@pytest.mark.parametrize(("prompt", "completion"), [(TOKENS_MAX, 1), (1, TOKENS_MAX)])
def test_running_counts_that_no_row_can_hold_together_are_none(prompt: int, completion: int) -> None:
    tap = ChoicesTap(wants_usage=True, wants_running_usage=False, choices=2, prompts=2)
    tap.feed(_choices(_of(0, prompt, completion)))
    assert tap.reading.usage == Usage(prompt, completion)
    tap.feed(_choices(_of(1, 1, 1)))
    assert tap.reading.usage is None
    unread = ChoicesTap(wants_usage=True, wants_running_usage=False, choices=2)
    unread.feed(_choices({"choices": [{"index": 0}], "usage": {"prompt_tokens": -1, "completion_tokens": 1}}))
    assert unread.reading.usage is None


@pytest.mark.parametrize(
    ("choices", "told", "rest", "done"),
    [
        (1, [{"choices": [{"index": 0, "finish_reason": "stop"}]}], b"", True),
        (1, [{"choices": [{"index": 0, "finish_reason": None}]}], b"", False),
        (2, [{"choices": [{"index": 0, "finish_reason": "stop"}]}], b"", False),
        (1, [{"choices": [{"index": 0, "finish_reason": "stop"}]}], b"data: {", False),
        (1, [], b"data: [DONE]", True),
        (2, [], b"data: [DONE]\n", True),
        (1, [], b"data: [DON", False),
        (1, [], b"", False),
    ],
)
def test_an_answer_is_whole_with_its_end_marker_or_where_its_only_choice_has_a_reason_to_be(
    choices: int, told: list[dict[str, Any]], rest: bytes, done: bool
) -> None:
    tap = ChoicesTap(wants_usage=False, wants_running_usage=False, choices=choices)
    tap.feed(_choices(*told) + rest)
    tap.close()
    assert tap.done is done
    if rest.startswith(b"data: [DONE]"):
        assert bytes(tap.tail) == b"data: [DONE]\n\n"
        tap.close()
        assert bytes(tap.tail) == b"data: [DONE]\n\n", "which is there once"


def test_of_several_errors_the_first_is_told() -> None:
    tap = ChoicesTap(wants_usage=False, wants_running_usage=False)
    first, second = ({"error": {"message": text, "code": code}} for text, code in (("first", 429), ("second", 500)))
    tap.feed(_choices(first))
    tap.feed(_choices(second))
    assert (tap.error_event, tap.error_status) == (_choices(first), 429)


@pytest.mark.parametrize("sizes", [[101], [60, 41], [1, 100], [100, 1]])
@pytest.mark.parametrize("before", [b"", b": comment\n\n", b": comment\r\n\r\n"])
def test_an_event_without_end_is_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch, sizes: list[int], before: bytes) -> None:
    monkeypatch.setattr(module, "EVENT_BYTES_MAX", 100)
    tap = ChoicesTap(wants_usage=False, wants_running_usage=False)
    *parts, last = [b"x" * size for size in sizes]
    for part in parts:
        tap.feed(before + part)
        before = b""
    with pytest.raises(EngineFailed, match="more than 100 bytes"):
        tap.feed(before + last)


def test_an_event_of_just_the_bound_passes_however_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVENT_BYTES_MAX", 100)
    event = b":" + b"x" * 98
    for ending in (b"\n\n", b"\r\n\r\n"):
        for cut in (1, 50, len(event), len(event) + 1, len(event) + len(ending) - 1):
            whole = event[: 101 - len(ending)] + ending
            tap = ChoicesTap(wants_usage=False, wants_running_usage=False)
            assert tap.feed(whole[:cut]) + tap.feed(whole[cut:] + whole) == whole * 2


def test_what_comes_after_the_end_is_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVENT_BYTES_MAX", 20)
    tap = ChoicesTap(wants_usage=False, wants_running_usage=False)
    assert tap.feed(b"data: [DONE]\n\n") == b""
    assert tap.feed(b": ab\n\n") == b""
    assert bytes(tap.tail) == b"data: [DONE]\n\n: ab\n\n"
    with pytest.raises(EngineFailed, match="goes on"):
        tap.feed(b":\n\n")
