"""Usage out of answers and streams of every shape, however the bytes are cut and whatever an engine sends."""

import json
from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.inference.shapes import SHAPES, Call, Reading, Tap, Usage
from router.inference.shapes.tap import EVENT_BYTES_MAX
from router.inference.shapes.usage import TOKENS_MAX, finish_label
from warehouse.base.errors import EngineFailed

CHAT, RESPONSES, MESSAGES = (SHAPES[path] for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"))
STREAMING = [shape for shape in SHAPES.values() if shape.make_tap is not None]
USAGE = {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
DONE = b"data: [DONE]\n\n"
CUTS = st.lists(st.integers(0, 5000), max_size=8)
COMPACT = {"separators": (",", ":")}


def tap_of(shape: Any, **wants: Any) -> Tap:
    tap = shape.tap(Call("m", stream=True, **wants))
    assert tap is not None
    return tap  # type: ignore[no-any-return]


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({at for at in cuts if 0 < at < len(data)}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def passed(tap: Tap, parts: Sequence[bytes]) -> bytes:
    """Of parts that come as a connection has them: each is a chunk of its own, and may be taken in one step."""
    taken: list[bytes] = []
    take = tap.tokens_to(taken.append)
    return b"".join(content_of(taken.pop()) if take is not None and take(framed(part)) else tap.feed(part) for part in parts)


def framed(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


def content_of(written: bytes) -> bytes:
    size, _, rest = written.partition(b"\r\n")
    content = rest.removesuffix(b"\r\n")
    assert framed(content) == written, size
    return content


def chunk(text: str, finish: str | None = None, usage: object = "absent", choices: bool = True) -> dict[str, object]:
    delta = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": finish}
    made: dict[str, object] = {"id": "c", "object": "chat.completion.chunk", "choices": [delta] if choices else []}
    return made if usage == "absent" else made | {"usage": usage}


def chunks(made: Sequence[dict[str, object]], end: bytes = DONE, newline: bytes = b"\n", **style: Any) -> bytes:
    style = style or COMPACT
    events = b"".join(b"data: " + json.dumps(each, **style).encode() + b"\n\n" for each in made) + end
    return events.replace(b"\n", newline)


def named(events: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in events)


@given(
    texts=st.lists(st.text(), min_size=1, max_size=6), cuts=CUTS, crlf=st.booleans(), comments=st.booleans(), spaced=st.booleans()
)
def test_a_stream_loses_only_the_usage_that_was_not_asked_for(
    texts: list[str], cuts: list[int], crlf: bool, comments: bool, spaced: bool
) -> None:
    newline = b"\r\n" if crlf else b"\n"
    style = {"separators": (", ", ": ")} if spaced else COMPACT
    comment = (b": still here" + newline * 2) if comments else b""
    asked = [chunk(text, usage={"prompt_tokens": 9, "completion_tokens": n}) for n, text in enumerate(texts)]
    data = comment + chunks([*asked, chunk("", "stop", USAGE), chunk("", usage=USAGE, choices=False)], newline=newline, **style)
    expected = comment + chunks([*(chunk(text) for text in texts), chunk("", "stop")], newline=newline, **style)
    tap = tap_of(CHAT)
    assert passed(tap, cut(data, cuts)) + tap.tail == expected
    assert tap.done
    assert tap.reading == Reading(Usage(9, 3, 4), "stop")


TOKEN = chunks([chunk("a", usage={"prompt_tokens": 9, "completion_tokens": 1})], end=b"")
READS = (  # as tokens come, and what is almost such a read
    TOKEN,
    TOKEN.replace(b":1}", b":2}").replace(b'"index":0', b'"index":1'),
    TOKEN.replace(b":1}}", b':5},"x":{"y":1}}'),
    TOKEN + TOKEN,
    chunks([chunk("a")], end=b""),
    chunks([chunk("a", usage=None)], end=b""),
    chunks([chunk("a", usage=USAGE)], end=b""),
    chunks([chunk("", "stop", {"prompt_tokens": 9, "completion_tokens": 3})], end=b""),
    chunks([chunk("", usage={"prompt_tokens": 9, "completion_tokens": 4}, choices=False)], end=b""),
    chunks([{"a": [1], "error": {"usage": 1}}], end=b""),
    chunks([{"error": chunk("a")}], end=b""),
    chunks([{"id": "c", "error": {"message": "out of memory"}}], end=b""),
    chunks([{"error": {"message": "out of memory"}} | chunk("a", usage=USAGE)], end=b""),
    chunks([chunk("a") | {"error": {"message": "out of memory"}}], end=b""),
    chunks([chunk('{"error":1}') | {"error": None}], end=b""),
    TOKEN.replace(b"data: ", b": "),
    b'data: {"a":1,\ndata: ' + TOKEN.removeprefix(b"data: {"),
    b'data: {"id":"',
    DONE,
)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("choices", [1, 2])
def test_what_comes_token_by_token_is_as_what_comes_at_once(running: bool, choices: int) -> None:
    for reads in product(READS, repeat=3):
        one, other = (tap_of(CHAT, wants_usage=running, wants_running_usage=running, choices=choices) for _ in range(2))
        assert passed(one, reads) == other.feed(b"".join(reads))
        assert (one.tail, one.done, one.engine_error, one.reading) == (other.tail, other.done, other.engine_error, other.reading)


@pytest.mark.parametrize("token", [TOKEN, chunks([chunk("a")], end=b"")])
def test_a_token_goes_straight_to_the_client(token: bytes) -> None:
    """Which is what most of the processor goes into while engines answer; what it does is held to `feed` above."""
    gone: list[bytes] = []
    tap = tap_of(CHAT)
    take = tap.tokens_to(gone.append)
    assert take is not None
    assert take(framed(token))
    assert gone == [framed(chunks([chunk("a")], end=b""))]
    for part in ("5;a=b", "0B9", "2"):  # not as this chunk's own size is written
        assert not take(part.encode() + framed(token)[2:])
    assert not take(framed(token)[:-1])
    assert not take(framed(token) * 2)
    assert tap_of(CHAT, choices=2).tokens_to(gone.append) is None
    assert len(gone) == 1


@given(cuts=CUTS, crlf=st.booleans())
def test_usage_that_was_asked_for_stays_byte_for_byte(cuts: list[int], crlf: bool) -> None:
    data = chunks([chunk("a", usage=USAGE), chunk("", usage=USAGE, choices=False)], newline=b"\r\n" if crlf else b"\n")
    tap = tap_of(CHAT, wants_usage=True, wants_running_usage=True)
    assert passed(tap, cut(data, cuts)) + tap.tail == data


def test_usage_asked_for_the_end_only_is_at_the_end_only() -> None:
    last = chunk("", usage=USAGE, choices=False)
    tap = tap_of(CHAT, wants_usage=True)
    assert tap.feed(chunks([chunk("a", usage=USAGE), last])) == chunks([chunk("a"), last], end=b"")
    assert tap.tail == DONE


@pytest.mark.parametrize("usage", [None, {}, USAGE])
def test_usage_is_cut_out_wherever_it_stands(usage: object) -> None:
    for made in ({"usage": usage, "choices": [{"index": 0}]}, {"choices": [{"index": 0}], "usage": usage, "a": [1]}):
        left = {name: value for name, value in made.items() if name != "usage"}
        assert tap_of(CHAT).feed(chunks([made], end=b"")) == chunks([left], end=b"")


def test_an_event_without_choices_and_usage_is_an_event_all_the_same() -> None:
    event, left = (b'data: {"choices":[],%b"filtered":[1]}\n\n' % usage for usage in (b'"usage":null,', b""))
    assert [tap_of(CHAT).feed(each) for each in (event, event.replace(b":null", b": null"))] == [left] * 2


def test_usage_is_cut_out_of_data_in_several_lines() -> None:
    event = b'id: 7\ndata: {"choices": [{"index": 0}],\ndata:  "usage": {"prompt_tokens": 9},\ndata: "a": 1}\n\n'
    first, *data = tap_of(CHAT).feed(event).removesuffix(b"\n\n").split(b"\n")
    assert first == b"id: 7"
    assert json.loads(b"\n".join(line.removeprefix(b"data: ") for line in data)) == {"choices": [{"index": 0}], "a": 1}
    assert tap_of(CHAT, wants_usage=True, wants_running_usage=True).feed(event) == event


def test_a_stream_that_breaks_off_has_its_last_running_count() -> None:
    tap = tap_of(CHAT)
    for tokens in (1, 2):
        tap.feed(chunks([chunk("a", usage={"prompt_tokens": 9, "completion_tokens": tokens})], end=b""))
    tap.feed(b'data: {"id":"c","usage":{"prompt_tokens":9,"completion_to')
    assert not tap.done
    assert tap.reading.usage == Usage(9, 2)


@pytest.mark.parametrize("style", [COMPACT, {"separators": (", ", ": ")}], ids=["compact", "spaced"])
def test_running_counts_of_several_choices_are_added_up(style: dict[str, Any]) -> None:
    """Two prompts with two choices each: the prompt of each counts once, the tokens of each choice."""

    def piece(index: int, prompt_tokens: int, tokens: int) -> dict[str, Any]:
        return {"choices": [{"index": index}], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}}

    tap = SHAPES["/v1/completions"].tap(Call("m", stream=True, choices=4, messages=2))
    assert tap is not None
    tap.feed(chunks([piece(0, 5, 1), piece(1, 5, 1), piece(2, 7, 1), piece(0, 5, 2), piece(9, 9, 9)], end=b"", **style))
    assert tap.reading.usage == Usage(12, 4)
    tap.feed(chunks([{"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 6}}], **style))
    assert tap.reading.usage == Usage(12, 6)


def test_text_that_looks_like_usage_is_text() -> None:
    text = '"}]},"usage":{"completion_tokens":999},"finish_reason":"stop"'
    data = chunks([chunk(text)], end=b"")
    tap = tap_of(CHAT)
    assert tap.feed(data) == data
    assert tap.reading == Reading()


@pytest.mark.parametrize(
    ("shape", "event"),
    [
        (CHAT, b'data: {"error":{"message":"out of memory"}}\n\n'),
        (CHAT, b'data: {"x": 1, "error": {"message":"out of memory"}}\n\n'),
        (CHAT, b'event: error\ndata: {"message":"out of memory"}\n\n'),
        (CHAT, chunks([chunk("a") | {"error": {"message": "the provider is gone"}}], end=b"")),
        (CHAT, chunks([{"error": {"message": "the provider is gone"}} | chunk("", "error", USAGE)], end=b"")),
        (RESPONSES, b'data: {"error":{"message":"out of memory","type":"server_error"}}\n\n'),
        (MESSAGES, b'data: {"error": {"message":"out of memory","type":"server_error"}}\n\n'),
        (RESPONSES, b'event: error\ndata: {"type":"error"}\n\n'),
        (RESPONSES, b'event: response.failed\ndata: {"type":"response.failed","response":{"status":"failed"}}\n\n'),
        (MESSAGES, b'event: error\ndata: {"type":"error"}\n\n'),
        (MESSAGES, b'data: {"type":"error"}\n\n'),
    ],
)
def test_an_error_inside_a_stream_is_seen(shape: Any, event: bytes) -> None:
    tap = tap_of(shape, wants_usage=True, wants_running_usage=True)
    assert tap.feed(event) + tap.tail == event
    assert tap.engine_error


@pytest.mark.parametrize(
    ("shape", "told", "status"),
    [
        (CHAT, {"error": {"message": "no", "code": 422}}, 422),
        (CHAT, {"error": {"message": "no", "code": 7}}, None),
        (CHAT, {"error": {"message": "no", "type": "server_error", "code": None}}, None),
        (CHAT, {"error": {"message": "no", "type": "requests", "code": "rate_limit_exceeded"}}, 429),
        (CHAT, {"error": {"message": "no", "type": "invalid_request_error", "code": "bad_schema"}}, 400),
        (CHAT, {"error": "no"}, None),
        (MESSAGES, {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, 503),
        (MESSAGES, {"type": "error", "error": {"type": "request_too_large", "message": "no"}}, 413),
        (RESPONSES, {"type": "error", "code": "insufficient_quota", "message": "no"}, 402),
        (RESPONSES, {"type": "error", "message": "no"}, None),
    ],
)
def test_an_error_in_the_place_of_an_answer_says_its_status(shape: Any, told: dict[str, Any], status: int | None) -> None:
    event = chunks([told], end=b"")
    piece = chunk("a") | {"type": "content_block_delta" if shape is MESSAGES else "response.output_text.delta"}
    first, later = tap_of(shape), tap_of(shape)
    first.feed(event)
    assert (first.error_event, first.error_status) == (event, status)
    later.feed(chunks([piece], end=b"") + event)
    assert (later.error_event, later.error_status) == (event, None)


def response_events(status: str = "completed", **more: Any) -> list[dict[str, Any]]:
    usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12, "input_tokens_details": {"cached_tokens": 4}}
    usage["output_tokens_details"] = {"reasoning_tokens": 1}
    return [
        {"type": "response.created", "response": {"status": "in_progress", "usage": None}},
        {"type": "response.output_text.delta", "delta": "hello"},
        {"type": "response.output_text.delta", "delta": "response.completed"},
        {"type": "response.completed", "response": {"status": status, "usage": usage, "output": [], **more}},
    ]


def message_events(**usage: Any) -> list[dict[str, Any]]:
    return [
        {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 0, "cache_read_input_tokens": 4}}},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_delta", "index": 0, "delta": {"text": "message_stop"}},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 3, **usage}},
        {"type": "message_stop"},
    ]


@given(cuts=CUTS, crlf=st.booleans(), names=st.booleans())
def test_named_events_pass_unchanged_and_the_last_is_held_back(cuts: list[int], crlf: bool, names: bool) -> None:
    for shape, events, reading in (
        (RESPONSES, response_events(), Reading(Usage(9, 3, 4, 1), "stop")),
        (MESSAGES, message_events(), Reading(Usage(9, 3, 4), "length")),
    ):
        data, last = named(events), named(events[-1:])
        if not names:
            data, last = (
                b"\n".join(line for line in part.split(b"\n") if not line.startswith(b"event")) for part in (data, last)
            )
        if crlf:
            data, last = data.replace(b"\n", b"\r\n"), last.replace(b"\n", b"\r\n")
        tap = tap_of(shape)
        assert passed(tap, cut(data, cuts)) == data.removesuffix(last)
        assert (tap.tail, tap.done, tap.reading) == (last, True, reading)


@pytest.mark.parametrize(
    ("status", "more", "finish"),
    [
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ("completed", {"output": [{"type": "reasoning"}, {"type": "function_call"}]}, "tool_calls"),
    ],
)
def test_why_a_response_ended(status: str, more: dict[str, Any], finish: str) -> None:
    events = response_events(status, **more)
    tap = tap_of(RESPONSES)
    tap.feed(named(events))
    assert tap.reading.finish_reason == finish
    assert not tap.engine_error
    assert RESPONSES.read(json.dumps(events[-1]["response"]).encode()) == tap.reading


@pytest.mark.parametrize(("status", "finish"), [("failed", "error"), ("cancelled", "abort")])
def test_a_response_that_says_of_itself_that_it_failed_is_no_answer(status: str, finish: str) -> None:
    events = response_events(status)
    tap = tap_of(RESPONSES)
    tap.feed(named(events))
    assert (tap.done, tap.engine_error, tap.reading.finish_reason) == (True, True, finish)
    with pytest.raises(EngineFailed, match=status):
        RESPONSES.read(json.dumps(events[-1]["response"]).encode())


@pytest.mark.parametrize("last", ["response.completed", "response.incomplete", "response.failed"])
def test_what_comes_after_an_error_does_not_undo_it(last: str) -> None:
    tap = tap_of(RESPONSES)
    tap.feed(named([{"type": "error", "message": "no"}, {"type": last, "response": {"status": "incomplete"}}]))
    assert tap.done
    assert tap.engine_error


@pytest.mark.parametrize(
    ("shape", "usage"),
    [
        (CHAT, {"prompt_tokens": 10, "total_tokens": 510}),
        (CHAT, {"prompt_tokens": 10, "completion_tokens": None}),
        (CHAT, {"completion_tokens": 10}),
        (RESPONSES, {"input_tokens": 10}),
        (MESSAGES, {"input_tokens": 10}),
        (MESSAGES, {"input_tokens": 10, "output_tokens": None}),
        (MESSAGES, {"output_tokens": 10}),
    ],
)
def test_an_answer_that_states_half_of_its_usage_cannot_be_billed(shape: Any, usage: dict[str, Any]) -> None:
    with pytest.raises(EngineFailed):
        shape.read(json.dumps({"usage": usage, "choices": [], "status": "completed"}).encode())
    if shape is CHAT:
        tap = tap_of(shape)
        tap.feed(chunks([chunk("one"), chunk("", usage=usage, choices=False)]))
        assert tap.done
        assert tap.reading.usage is None


def test_what_a_message_read_from_the_cache_is_part_of_its_prompt() -> None:
    tap = tap_of(MESSAGES)
    tap.feed(named(message_events(input_tokens=2, cache_read_input_tokens=6, cache_creation_input_tokens=1)))
    assert tap.reading == Reading(Usage(9, 3, 6), "length")


def test_what_a_message_states_at_its_begin_only_stays() -> None:
    tap = tap_of(MESSAGES)
    tap.feed(named(message_events(input_tokens=5)))
    assert tap.reading == Reading(Usage(9, 3, 4), "length")


def test_a_whole_message_whose_output_was_never_counted_has_no_usage() -> None:
    events = message_events()
    del events[3]["usage"]
    tap = tap_of(MESSAGES)
    tap.feed(named(events[:4]))
    assert tap.reading == Reading(Usage(9, 1, 4), "length", estimated=True), "if it breaks off here"
    tap.feed(named(events[4:]))
    assert tap.reading == Reading(None, "length")


def test_streams_without_running_counts_are_estimated_by_their_pieces() -> None:
    tap = tap_of(MESSAGES)
    tap.feed(named(message_events()[:3]))
    assert tap.reading == Reading(Usage(9, 1, 4), None, estimated=True)
    tap = tap_of(RESPONSES)
    tap.feed(named(response_events()[:3]))
    assert (tap.pieces, tap.done, tap.reading) == (2, False, Reading())


@pytest.mark.parametrize("usage", ["absent", None])
@pytest.mark.parametrize("style", [COMPACT, {"separators": (", ", ": ")}], ids=["compact", "spaced"])
def test_so_are_choices_of_an_engine_that_counts_at_the_end_only(usage: object, style: dict[str, Any]) -> None:
    made = [chunk("", usage=usage), *(chunk(text, usage=usage) for text in ("one", " ", "\u00e9")), chunk("", "stop", usage)]
    made[1] |= {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}, "finish_reason": None}]}
    events = [chunks([each], end=b"", **style) for each in made]
    tap = tap_of(CHAT)
    tap.feed(b"".join(events))
    assert (tap.pieces, tap.done, tap.reading) == (3, False, Reading(None, "stop"))
    tap = tap_of(CHAT)
    assert passed(tap, events)
    assert (tap.pieces, tap.done, tap.reading) == (3, False, Reading(None, "stop"))
    tap.feed(chunks([chunk("", usage=USAGE, choices=False)]))
    assert (tap.done, tap.reading) == (True, Reading(Usage(9, 3, 4), "stop"))


@pytest.mark.parametrize("shape", STREAMING, ids=lambda shape: shape.endpoint)
def test_an_event_without_end_is_a_fault_not_memory(shape: Any) -> None:
    tap = tap_of(shape)
    tap.feed(b"x" * EVENT_BYTES_MAX)
    with pytest.raises(EngineFailed):
        tap.feed(b"x")


def test_a_long_event_in_small_pieces_costs_linear_time() -> None:
    event = b"data: {" + b"x" * 1_000_000 + b"}\n\n"
    tap = tap_of(CHAT)
    assert passed(tap, [event[at : at + 16] for at in range(0, len(event), 16)]) == event


@pytest.mark.parametrize("shape", STREAMING, ids=lambda shape: shape.endpoint)
@pytest.mark.parametrize("end", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n"])
def test_an_end_marker_at_the_end_needs_no_blank_line(shape: Any, end: bytes) -> None:
    tap = tap_of(shape, choices=2)
    assert tap.feed(end) == b""
    assert not tap.done
    tap.close()
    assert (tap.done, tap.tail) == (True, end.rstrip() + b"\n\n")


def test_half_an_end_marker_is_none() -> None:
    tap = tap_of(CHAT)
    tap.feed(b"data: [DONE")
    tap.close()
    assert not tap.done


def test_what_comes_after_the_end_in_small_pieces_costs_linear_time() -> None:
    tap = tap_of(CHAT)
    late = b":\n\n" * 1_000_000
    assert tap.feed(DONE + late) == b""
    assert tap.tail == DONE + late


def test_nothing_is_passed_on_after_the_end() -> None:
    tap = tap_of(CHAT)
    assert tap.feed(DONE) == b""
    assert tap.feed(DONE) == b""
    assert tap.tail == DONE + DONE
    tap.feed(b": " + b"x" * (EVENT_BYTES_MAX // 2) + b"\n\n")
    with pytest.raises(EngineFailed):
        tap.feed(b": " + b"x" * (EVENT_BYTES_MAX // 2) + b"\n\n")


FRAGMENTS = st.sampled_from(
    (
        *(
            b"data: ",
            b"data:",
            b"event: error",
            b"event: message_start",
            b"event: response.completed",
            b"\n",
            b"\n\n",
            b"\r\n",
            b"\r",
        ),
        *(
            b"{",
            b"}",
            b"[]",
            b'"choices":',
            b'],"usage":',
            b',"usage":',
            b'"usage":{',
            b"null",
            b'"prompt_tokens":',
            b"-1",
            b"1e400",
        ),
        *(
            b'"\\ud83d":',
            b"\\ude00",
            b"99999999999999999999",
            b'"finish_reason":"',
            b'"',
            b"[DONE]",
            b": ",
            b",",
            b"\\",
            b"\xff",
            b"[" * 3000,
        ),
        *(b'"\\ud83d":', b"\\ude00", b'{"type":"message_start","message":'),
        b'"usage":{"input_tokens":',
        b'data: {"choices":[],"usage":{"prompt_tokens":-5}}\n\n',
        b'data: {"choices":null,"usage":{"prompt_tokens":5}}\n\n',
        b'data: {"choices":[{}],"usage":{"a":"}"}}\n\n',
        b'data: {"choices":[7],"usage":null}\n\n',
    )
)


@pytest.mark.parametrize("shape", STREAMING, ids=lambda shape: shape.endpoint)
@given(fragments=st.lists(FRAGMENTS | st.binary(max_size=8), max_size=30), cuts=CUTS, wants=st.booleans())
def test_no_stream_raises_and_how_it_is_cut_makes_no_difference(
    shape: Any, fragments: list[bytes], cuts: list[int], wants: bool
) -> None:
    data = b"".join(fragments)
    one, other = (tap_of(shape, wants_usage=wants, choices=1 + wants) for _ in range(2))
    assert one.feed(data) == passed(other, cut(data, cuts))
    assert (one.tail, one.done, one.engine_error, one.pieces) == (other.tail, other.done, other.engine_error, other.pieces)
    assert one.reading == other.reading
    if one.reading.usage is not None:
        assert 0 <= one.reading.usage.cached_tokens <= one.reading.usage.prompt_tokens <= TOKENS_MAX


GOOD: list[tuple[str, dict[str, Any], Reading]] = [
    (
        "/v1/chat/completions",
        {"usage": USAGE, "choices": [{"finish_reason": "tool_calls"}]},
        Reading(Usage(9, 3, 4), "tool_calls"),
    ),
    ("/v1/completions", {"usage": USAGE, "choices": None}, Reading(Usage(9, 3, 4))),
    (
        "/v1/chat/completions",  # as SGLang has it
        {"usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": None, "reasoning_tokens": 2}},
        Reading(Usage(9, 3, 0, 2)),
    ),
    ("/v1/embeddings", {"usage": {"prompt_tokens": 9, "total_tokens": 9, "completion_tokens": 0}}, Reading(Usage(9))),
    ("/rerank", {"usage": {"total_tokens": 9}}, Reading(Usage(9))),
    ("/v1/score", {"usage": {"prompt_tokens": 9, "total_tokens": 9}}, Reading(Usage(9))),
    ("/tokenize", {"count": 9, "tokens": [1]}, Reading(Usage(9))),
    ("/tokenize", {"count": [4, 0, 5], "tokens": [[1], [], [2]], "max_model_len": 99}, Reading(Usage(9))),  # as SGLang has it
    ("/detokenize", {"prompt": "hello"}, Reading(Usage(9))),
    ("/detokenize", {"text": "hello"}, Reading(Usage(9))),  # so, too
    ("/v1/messages/count_tokens", {"input_tokens": 9}, Reading(Usage(9))),
    (
        "/v1/messages",
        {"usage": {"input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": 4}, "stop_reason": "end_turn"},
        Reading(Usage(9, 3, 4), "stop"),
    ),
]


@pytest.mark.parametrize(("path", "answer", "reading"), GOOD, ids=[path for path, _, _ in GOOD])
def test_whole_answers_are_read(path: str, answer: dict[str, Any], reading: Reading) -> None:
    assert SHAPES[path].read(json.dumps(answer).encode(), Call("m", messages=9)) == reading


@pytest.mark.parametrize("path", list(SHAPES))
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff",
        b"null",
        b'{"choices":[]}',
        b'{"usage":null}',
        b'{"usage":{}}',
        b'{"usage":{"prompt_tokens":-1,"input_tokens":-1,"output_tokens":1},"count":-1,"input_tokens":-1}',
        b'{"usage":{"prompt_tokens":99999999999,"input_tokens":99999999999,"output_tokens":1},"count":99999999999}',
        b'{"usage":{"input_tokens":2147483647,"output_tokens":1,"cache_read_input_tokens":2147483647},"status":5}',
        b'{"count":[2147483647,2147483647],"text":["a"]}',
        b"[" * 100_000,
    ],
)
def test_an_answer_without_sound_usage_is_no_answer(path: str, body: bytes) -> None:
    with pytest.raises(EngineFailed):
        SHAPES[path].read(body)


def test_more_cached_or_reasoned_than_there_is_counts_as_all_of_it() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 7}}
    usage["completion_tokens_details"] = {"reasoning_tokens": 3}
    assert CHAT.read(json.dumps({"usage": usage}).encode()).usage == Usage(5, 2, 5, 2)


@pytest.mark.parametrize(
    ("completion", "reasoning", "total", "usage"),
    [
        (9, 94, 135, Usage(32, 103, 0, 94)),  # as in xAI's documentation: only the sum says that they are apart
        (103, 94, 135, Usage(32, 103, 0, 94)),  # as OpenAI has it
        (9, 94, None, Usage(32, 9, 0, 9)),
        (9, 0, 41, Usage(32, 9)),
        (TOKENS_MAX, 94, 32 + TOKENS_MAX + 94, None),
    ],
)
def test_reasoning_beside_the_completion_is_output_too(
    completion: int, reasoning: int, total: int | None, usage: Usage | None
) -> None:
    stated: dict[str, Any] = {"prompt_tokens": 32, "completion_tokens": completion, "total_tokens": total}
    stated["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    tap = tap_of(CHAT)
    tap.feed(chunks([chunk("a", "stop"), chunk("", usage=stated, choices=False)]))
    assert tap.reading.usage == usage


def test_reasoning_of_a_stream_of_sglangs_is_counted() -> None:
    tap = tap_of(CHAT)
    usage = {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": None}
    passed(tap, [chunks([chunk("a", usage=usage | {"reasoning_tokens": 2})], end=b"")])
    assert tap.reading.usage == Usage(9, 3, 0, 2)


def test_only_streams_have_a_tap() -> None:
    assert all(shape.tap(Call("m")) is None for shape in SHAPES.values())
    assert SHAPES["/v1/embeddings"].tap(Call("m", stream=True)) is None


def test_an_unknown_finish_reason_is_other() -> None:
    assert [finish_label(reason) for reason in (None, "stop", "repetition")] == [None, "stop", "other"]
