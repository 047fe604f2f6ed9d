"""Usage out of streams, however the bytes are cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.inference.metering import EVENT_BYTES_MAX, StreamTap, finish_label, read_answer
from warehouse.base.errors import EngineFailed

USAGE = {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}


def _chunk(text: str, finish: str | None = None, usage: object = "absent", choices: bool = True) -> dict[str, object]:
    delta = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": finish}
    chunk: dict[str, object] = {"id": "c", "object": "chat.completion.chunk", "choices": [delta] if choices else []}
    return chunk if usage == "absent" else chunk | {"usage": usage}


def _stream(chunks: list[dict[str, object]], done: bool = True) -> bytes:
    events = [b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n" for chunk in chunks]
    return b"".join(events) + (b"data: [DONE]\n\n" if done else b"")


@given(texts=st.lists(st.text(), min_size=1, max_size=8), cuts=st.lists(st.integers(0, 5000)))
def test_a_stream_loses_only_the_usage_that_was_not_asked_for(texts: list[str], cuts: list[int]) -> None:
    asked = [_chunk(text, usage={"prompt_tokens": 9, "completion_tokens": n}) for n, text in enumerate(texts)]
    data = _stream([*asked, _chunk("", "stop", USAGE), _chunk("", usage=USAGE, choices=False)])
    expected = _stream([*(_chunk(text) for text in texts), _chunk("", "stop")])
    tap = StreamTap(wants_usage=False, wants_running_usage=False)
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    passed = b"".join(tap.feed(data[start:end]) for start, end in pairwise(edges))
    assert passed + tap.tail == expected
    assert tap.done
    usage = tap.reading.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (9, 3, 4)
    assert tap.reading.finish_reason == "stop"


def test_usage_that_was_asked_for_stays_byte_for_byte() -> None:
    data = _stream([_chunk("a", usage=USAGE), _chunk("", usage=USAGE, choices=False)])
    tap = StreamTap(wants_usage=True, wants_running_usage=True)
    assert tap.feed(data) + tap.tail == data


def test_a_stream_that_is_cut_has_its_last_running_count() -> None:
    tap = StreamTap(wants_usage=False, wants_running_usage=False)
    tap.feed(_stream([_chunk("a", usage={"prompt_tokens": 9, "completion_tokens": 1})], done=False))
    tap.feed(_stream([_chunk("b", usage={"prompt_tokens": 9, "completion_tokens": 2})], done=False))
    tap.feed(b'data: {"id":"c","usage":{"prompt_tokens":9,"completion_to')
    assert not tap.done
    assert tap.reading.usage is not None
    assert tap.reading.usage.completion_tokens == 2


def test_text_that_looks_like_usage_is_text() -> None:
    text = '"}]},"usage":{"completion_tokens":999},"finish_reason":"stop"'
    tap = StreamTap(wants_usage=False, wants_running_usage=False)
    data = _stream([_chunk(text)], done=False)
    assert tap.feed(data) == data
    assert tap.reading.usage is None
    assert tap.reading.finish_reason is None


def test_an_error_event_of_the_engine_is_seen() -> None:
    tap = StreamTap(wants_usage=False, wants_running_usage=False)
    tap.feed(b'data: {"error":{"message":"out of memory"}}\n\n')
    assert tap.engine_error


def test_an_event_without_end_is_a_fault_not_memory() -> None:
    tap = StreamTap(wants_usage=False, wants_running_usage=False)
    tap.feed(b"x" * EVENT_BYTES_MAX)
    with pytest.raises(EngineFailed):
        tap.feed(b"x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"choices":[]}',
        b'{"usage":null}',
        b'{"usage":{"prompt_tokens":-1}}',
        b'{"usage":{"prompt_tokens":99999999999}}',
        b"[" * 100_000,
    ],
)
def test_an_answer_without_sound_usage_is_no_answer(body: bytes) -> None:
    with pytest.raises(EngineFailed):
        read_answer(body)


def test_an_unknown_finish_reason_is_other() -> None:
    assert [finish_label(reason) for reason in (None, "stop", "repetition")] == [None, "stop", "other"]
