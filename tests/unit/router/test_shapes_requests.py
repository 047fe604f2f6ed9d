"""What is read of a request, whatever its endpoint, and what is changed in it before an engine has it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.inference.shapes import SHAPES, errors
from router.inference.shapes.call import (
    JSON_DEPTH_MAX,
    JSON_FIELDS_MAX,
    JSON_VALUES_MAX,
    SESSION_CHARACTERS_MAX,
    TAG_KEY_CHARACTERS_MAX,
    TAG_VALUE_CHARACTERS_MAX,
)
from router.inference.shapes.edit import fields, is_over, with_field, without_field
from warehouse.base.errors import EngineUnavailable, InvalidRequest

USER = [{"role": "user", "content": "hello"}]
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": USER},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": USER, "max_tokens": 5},
    "/v1/messages/count_tokens": {"messages": USER},
    "/v1/embeddings": {"input": "hello"},
    "/rerank": {"query": "a", "documents": ["b", "c"]},
    "/v1/rerank": {"query": "a", "documents": ["b", "c"]},
    "/v2/rerank": {"query": "a", "documents": ["b", "c"]},
    "/score": {"text_1": "a", "text_2": ["b", "c"]},
    "/v1/score": {"text_1": "a", "text_2": ["b", "c"]},
    "/tokenize": {"prompt": "hello"},
    "/detokenize": {"tokens": [1, 2, 3]},
}
CHAT, RESPONSES = SHAPES["/v1/chat/completions"], SHAPES["/v1/responses"]
MESSAGES = SHAPES["/v1/messages"]
ASKED = {"include_usage": True, "continuous_usage_stats": True}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
# Names that we read are only drawn with the values that they may have.
OTHER = st.dictionaries(st.text().map(lambda name: "x" + name), JSON, max_size=5)


class Pairs(list[tuple[str, Any]]):
    """A JSON object with its order and its duplicates."""


class Walked(bytes):
    """A body that counts how often it is looked at."""

    steps = 0

    def __getitem__(self, at: Any) -> Any:
        self.steps += 1
        return super().__getitem__(at)


def pairs(body: bytes) -> Any:
    """The body, decoded so that nothing of it is lost: numbers stay text, objects stay lists of pairs."""
    return json.loads(
        body, object_pairs_hook=Pairs, parse_int=lambda text: ("number", text), parse_float=lambda text: ("number", text)
    )


def call(path: str, **more: Any) -> Any:
    return SHAPES[path].parse(json.dumps({"model": "m", **GOOD[path], **more}).encode())


def test_every_path_has_a_shape() -> None:
    assert set(SHAPES) == set(GOOD)
    assert all(shape.path == path for path, shape in SHAPES.items())


@pytest.mark.parametrize("path", list(GOOD))
def test_a_request_without_a_model_is_refused_and_the_field_named(path: str) -> None:
    with pytest.raises(InvalidRequest, match="model") as raised:
        SHAPES[path].parse(json.dumps(GOOD[path]).encode())
    assert raised.value.param == "model"


@pytest.mark.parametrize("path", list(GOOD))
@pytest.mark.parametrize("body", [b"", b"no", b"[]", b"\xff", b'{"model":"m"', b'{"model":"\xff"}', b"[" * 100_000, b"null"])
def test_what_is_no_object_is_refused(path: str, body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        SHAPES[path].parse(body)


@pytest.mark.parametrize("path", list(GOOD))
def test_half_of_a_surrogate_pair_is_refused_and_named(path: str) -> None:
    for body in (json.dumps({**GOOD[path], "model": "m", "x": "a\ud83d"}), '{"model":"\\ude00"}'):
        with pytest.raises(InvalidRequest, match="half of a surrogate pair"):
            SHAPES[path].parse(body.encode())
    with pytest.raises(InvalidRequest, match="truncated"):
        SHAPES[path].parse(rb'{"model":"m","x":"\\ud83d')


@pytest.mark.parametrize("path", list(GOOD))
def test_json_may_be_nested_up_to_the_bound_and_no_deeper(path: str) -> None:
    inner = JSON_DEPTH_MAX - 1
    brackets = {"x": "]" * 9 + "[" * 9 + '\\"'}  # in a text they count for nothing
    start = json.dumps({"model": "m", **GOOD[path], **brackets}).encode()[:-1] + b',"deep":'
    assert SHAPES[path].parse(start + b"[" * inner + b"]" * inner + b"}").model == "m"
    for depth in (inner + 1, 700, 50_000):
        with pytest.raises(InvalidRequest, match="nested"):
            SHAPES[path].parse(start + b"[" * depth + b"]" * depth + b"}")


def test_media_are_looked_for_as_deep_as_a_body_may_be() -> None:
    levels = JSON_DEPTH_MAX - 5
    content = b"[" + b'{"content":' * levels + b'{"type":"image"}' + b"}" * levels + b"]"
    assert CHAT.parse(b'{"model":"m","messages":[{"role":"user","content":' + content + b"}]}").media == 1


@pytest.mark.parametrize("value", [b"[]", b"{}", b"[0]"])
def test_a_body_of_nothing_but_brackets_is_refused_before_it_takes_memory(value: bytes) -> None:
    start = b'{"model":"m","messages":[{"role":"user","content":['
    few, many = (start + b",".join([value] * values) + b"]}]}" for values in (JSON_VALUES_MAX - 10, JSON_VALUES_MAX))
    assert CHAT.parse(few).messages == 1
    with pytest.raises(InvalidRequest, match="arrays and objects"):
        CHAT.parse(many)
    text = b'{"model":"m","messages":[{"role":"user","content":"' + b"[]" * JSON_VALUES_MAX + b'"}]}'
    assert CHAT.parse(text).messages == 1


@pytest.mark.parametrize(("begin", "end"), [(b"", b"}"), (b',"stream_options":{"include_usage":true', b"}}")])
def test_a_body_of_nothing_but_fields_is_refused_before_they_are_walked(begin: bytes, end: bytes) -> None:
    start = b'{"model":"m","messages":[{"role":"user","content":"a"}],"stream":true' + begin
    few, many = (start + b',"\\u0061" :1' * number + end for number in (1000, JSON_FIELDS_MAX))
    assert CHAT.parse(few).stream
    with pytest.raises(InvalidRequest, match="fields"):
        CHAT.parse(many)
    text = b'{"model":"m","messages":[{"role":"user","content":"' + b'\\":\\"' * JSON_FIELDS_MAX + b'"}]}'
    assert CHAT.parse(text).messages == 1


def test_what_stands_inside_of_a_value_is_not_walked() -> None:
    """A prompt may be a million token ids: a step for each of their commas would hold up everybody else for a second."""
    ids = b"1," * 10_000 + b'"]}"'
    body = Walked(b'{"prompt":[%b],"x":{"y":[[%b]],"z":{"prompt":[]}},"z":[[{}]]}' % (ids, ids))
    found = [(name, body[begin:end]) for name, begin, end in fields(body)]
    assert found == [("prompt", b"[%b]" % ids), ("x", b'{"y":[[%b]],"z":{"prompt":[]}}' % ids), ("z", b"[[{}]]")]
    assert body.steps < 100


@pytest.mark.parametrize("rest", [b"1]}" + b" " * 1_000_000, b'1],"text":"' + b"x" * 1_000_000])
def test_a_body_with_many_brackets_is_read_once(rest: bytes) -> None:
    """By the square of what follows the last bracket, this test would take hours."""
    text = b'{"x":[' + b"{}," * JSON_DEPTH_MAX + rest
    assert is_over(text, depth_max=JSON_DEPTH_MAX, values_max=JSON_VALUES_MAX) is None


@pytest.mark.parametrize(
    ("path", "wrong", "param"),
    [
        ("/v1/chat/completions", {"model": ""}, "model"),
        ("/v1/chat/completions", {"messages": []}, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": 1}]}, "messages[0].role"),
        ("/v1/chat/completions", {"messages": [{}]}, "messages[0].role"),
        ("/v1/chat/completions", {"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ("/v1/chat/completions", {"user": 5}, "user"),
        ("/v1/chat/completions", {"n": 0}, "n"),
        ("/v1/chat/completions", {"max_tokens": -1}, "max_tokens"),
        ("/v1/chat/completions", {"max_completion_tokens": "many"}, "max_completion_tokens"),
        ("/v1/chat/completions", {"max_completion_tokens": 0, "max_tokens": 30_000}, "max_completion_tokens"),
        ("/v1/chat/completions", {"max_tokens": 0}, "max_tokens"),
        ("/v1/messages", {"max_tokens": 0}, "max_tokens"),
        ("/v1/responses", {"max_output_tokens": 0}, "max_output_tokens"),
        ("/v1/completions", {"best_of": -3}, "best_of"),
        ("/v1/completions", {"max_tokens": 2**40}, "max_tokens"),
        ("/v1/responses", {"background": True}, "background"),
        ("/v1/responses", {"max_output_tokens": -1}, "max_output_tokens"),
        ("/v1/messages", {"messages": []}, "messages"),
        ("/v1/messages", {"stream": "yes"}, "stream"),
        ("/v1/embeddings", {"encoding_format": "bytes"}, "encoding_format"),
        ("/v1/embeddings", {"encoding_format": "bytes_only"}, "encoding_format"),
        ("/detokenize", {"tokens": "abc"}, "tokens"),
        ("/v1/chat/completions", {"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ("/v1/chat/completions", {"metadata": {"k" * (TAG_KEY_CHARACTERS_MAX + 1): ""}}, "metadata"),
        ("/v1/chat/completions", {"metadata": {"k": "v" * (TAG_VALUE_CHARACTERS_MAX + 1)}}, "metadata.k"),
        ("/v1/responses", {"metadata": {"k": "\0"}}, "metadata"),
        ("/v1/responses", {"metadata": {"k": 1}}, "metadata"),
    ],
)
def test_the_field_that_cannot_be_used_is_named(path: str, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        call(path, **wrong)
    assert raised.value.param == param


def test_a_rerank_without_documents_is_refused() -> None:
    with pytest.raises(InvalidRequest) as raised:
        SHAPES["/rerank"].parse(b'{"model":"m","query":"a"}')
    assert raised.value.param == "documents"


@pytest.mark.parametrize(
    ("path", "more", "expected"),
    [
        ("/v1/chat/completions", {"n": 3}, {"choices": 3, "output_tokens_max": None}),
        ("/v1/chat/completions", {"max_tokens": 7}, {"output_tokens_max": 7}),
        ("/v1/chat/completions", {"max_tokens": 7, "max_completion_tokens": 5}, {"output_tokens_max": 7}),
        ("/v1/chat/completions", {"max_tokens": 5, "max_completion_tokens": 7}, {"output_tokens_max": 7}),
        ("/v1/chat/completions", {"max_tokens": 7, "max_completion_tokens": None}, {"output_tokens_max": 7}),
        ("/v1/chat/completions", {"tools": [{"type": "function"}]}, {"tools": True}),
        ("/v1/chat/completions", {"tools": []}, {"tools": False}),
        ("/v1/chat/completions", {"metadata": {"team": "a"}}, {"tags": {"team": "a"}}),
        ("/v1/chat/completions", {"metadata": None}, {"tags": None}),
        ("/v1/chat/completions", {"user": "u"}, {"end_user": "u", "session": "u"}),
        ("/v1/chat/completions", {"user": "u", "prompt_cache_key": "k"}, {"end_user": "u", "session": "k"}),
        ("/v1/chat/completions", {"prompt_cache_key": "k" * 999}, {"session": "k" * SESSION_CHARACTERS_MAX}),
        ("/v1/completions", {}, {"choices": 1, "output_tokens_max": None, "output_tokens_default": 16, "messages": 1}),
        ("/v1/completions", {"echo": True, "max_tokens": 0}, {"output_tokens_max": 0}),
        ("/v1/completions", {"prompt": [1, 2, 3], "best_of": 4, "n": 2}, {"choices": 4, "messages": 1}),
        ("/v1/completions", {"prompt": ["a", "b"], "n": 2}, {"choices": 4, "messages": 2}),
        ("/v1/completions", {"prompt": ["a", "b"], "best_of": 3, "n": 2}, {"choices": 6, "messages": 2}),
        ("/v1/completions", {"prompt": ["a", "b"], "best_of": 1, "n": 2}, {"choices": 4, "messages": 2}),
        ("/v1/completions", {"prompt": [[1], [2], [3]]}, {"choices": 3, "messages": 3}),
        ("/v1/completions", {"prompt": None, "prompt_embeds": ["a", "b"]}, {"choices": 2, "messages": 2}),
        ("/v1/responses", {"conversation": {"id": "c"}}, {"session": "c", "output_tokens_max": None}),
        ("/v1/responses", {"input": [{"role": "user", "content": "a"}] * 2, "max_output_tokens": 9}, {"messages": 2}),
        ("/v1/messages", {"metadata": {"user_id": "u"}, "system": "s"}, {"end_user": "u", "messages": 2, "tags": None}),
        ("/v1/embeddings", {"input": ["a", "b"]}, {"messages": 2, "output_tokens_max": 0, "stream": False}),
        ("/v1/embeddings", {"input": [1, 2], "stream": True}, {"messages": 1, "stream": False}),
        ("/rerank", {}, {"messages": 3, "output_tokens_max": 0}),
        ("/score", {}, {"messages": 3}),
        ("/tokenize", {"messages": USER}, {"messages": 1}),
        ("/detokenize", {}, {"messages": 3}),
    ],
)
def test_what_is_routed_and_billed_by_is_read(path: str, more: dict[str, Any], expected: dict[str, Any]) -> None:
    read = call(path, **more)
    assert {name: getattr(read, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("content", "media"),
    [
        ("text", 0),
        (None, 0),
        ([{"type": "text", "text": "a"}, "b"], 0),
        ([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "input_audio", "input_audio": {}}], 2),
        ([{"image_url": "x"}, {"text": "a"}], 1),
        ([{"type": "hologram"}], 1),
        ([{"type": "text", "text": "a", "uuid": "u", "image_url": {"url": "x"}}, {"type": "text", "text": "b", "uuid": "v"}], 1),
        ([{"uuid": "u", "image_url": None}], 1),
        ([{"audio": None, "content": [{"type": "image"}, {"type": "image"}]}], 2),
        ([{"type": "tool_result", "content": [{"type": "image", "source": {}}, {"type": "text"}]}], 1),
    ],
)
def test_parts_that_are_no_text_are_counted(content: object, media: int) -> None:
    messages = [{"role": "user", "content": content}, {"role": "user", "content": "b"}]
    for path in ("/v1/chat/completions", "/v1/messages", "/tokenize", "/v1/embeddings"):
        assert call(path, messages=messages).media == media, path
    assert call("/v1/responses", input=messages).media == media


@pytest.mark.parametrize(
    ("given", "media"),
    [([{"text": "a"}, {"text": "b", "image": "x"}], 1), ({"image": "x", "video": "y", "audio": "z"}, 3), ([{"image": None}], 0)],
)
def test_so_are_those_of_an_input_without_messages(given: object, media: int) -> None:
    assert call("/v1/embeddings", input=given).media == media


@given(
    other=OTHER,
    duplicates=OTHER,
    options=st.none() | st.just({}) | st.fixed_dictionaries({"include_usage": st.booleans(), "xo": JSON}),
)
def test_only_what_the_engine_needs_is_changed(other: dict[str, Any], duplicates: dict[str, Any], options: Any) -> None:
    parts = [
        json.dumps(part)[1:-1]
        for part in (other, {"model": "old", "stream": True}, {"messages": USER, "stream_options": options}, duplicates)
    ]
    body = ("{" + ", ".join(part for part in parts if part) + ' , "big":1e400,"seed":12345678901234567890,"t":0.10}').encode()
    sent = CHAT.prepare(body, CHAT.parse(body), model='n"ew', output_tokens_max=77)
    before, after = pairs(body), pairs(sent)
    assert after[-1] == ("max_completion_tokens", ("number", "77"))
    kept = [(name, value) for name, value in before if name not in ("model", "stream_options")]
    assert [(name, value) for name, value in after[:-1] if name not in ("model", "stream_options")] == kept
    assert [name for name, _ in after[:-1]] == [name for name, _ in before]
    decoded = json.loads(sent)
    assert decoded["model"] == 'n"ew'
    assert decoded["stream_options"] == {**(options or {}), **ASKED}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False, "xo": 1}}, {"include_usage": True, "xo": 1}),
        ({"stream_options": {"include_usage": True}}, {"include_usage": True}),
    ],
)
def test_who_refuses_what_openai_does_not_have_is_not_asked_for_it(options: dict[str, Any], asked: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "stream": True, "messages": USER, **options}).encode()
    assert json.loads(CHAT.prepare(body, CHAT.parse(body), is_strict=True)) == {**json.loads(body), "stream_options": asked}


@pytest.mark.parametrize("path", list(GOOD))
@given(other=OTHER)
def test_a_request_that_needs_nothing_goes_on_as_it_came(path: str, other: dict[str, Any]) -> None:
    body = json.dumps({**other, "model": "m", **GOOD[path]}).encode() + b" \n"
    shape = SHAPES[path]
    assert shape.prepare(body, shape.parse(body)) is body
    assert shape.prepare(body, shape.parse(body), model="m") is body


@pytest.mark.parametrize("path", list(GOOD))
@pytest.mark.parametrize(
    "model", [b'"model":"old"', b'"model" : "old"', b'"mod\\u0065l":"old"', b'"model":"o\\"ld"', b'"model":"a","model":"old"']
)
def test_the_model_is_renamed_wherever_it_stands(path: str, model: bytes) -> None:
    rest = json.dumps(GOOD[path]).encode()[1:]
    text = b'"a":{"model":"x"},"b":"\\"model\\":\\"y\\"","c":["model"],'
    shape = SHAPES[path]
    for head in (b"{", b"{" + text):
        body = head + model + b"," + rest
        sent = json.loads(shape.prepare(body, shape.parse(body), model="näw"))
        assert sent == {**json.loads(body), "model": "näw"}


@pytest.mark.parametrize(
    ("path", "more", "field", "value"),
    [
        ("/v1/chat/completions", {}, "max_completion_tokens", 50),
        ("/v1/chat/completions", {"max_tokens": None}, "max_completion_tokens", 50),
        ("/v1/chat/completions", {"max_completion_tokens": None}, "max_completion_tokens", 50),
        ("/v1/completions", {}, "max_tokens", 50),
        ("/v1/completions", {"max_tokens": None}, "max_tokens", 50),
        ("/v1/responses", {}, "max_output_tokens", 50),
        ("/v1/responses", {"max_output_tokens": None}, "max_output_tokens", 50),
        ("/v1/messages", {"max_tokens": None}, "max_tokens", 50),
    ],
)
def test_output_is_capped_where_the_client_has_not_capped_it(path: str, more: dict[str, Any], field: str, value: int) -> None:
    body = json.dumps({"model": "m", **GOOD[path], **more}).encode()
    shape = SHAPES[path]
    assert json.loads(shape.prepare(body, shape.parse(body), output_tokens_max=50)) == {**json.loads(body), field: value}


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {"max_tokens": 5}),
        ("/v1/chat/completions", {"max_completion_tokens": 5}),
        ("/v1/completions", {"max_tokens": 100}),
        ("/v1/completions", {"max_tokens": 0}),
        ("/v1/responses", {"max_output_tokens": 5}),
        ("/v1/messages", {"max_tokens": 5}),
        ("/v1/embeddings", {}),
        ("/tokenize", {}),
    ],
)
def test_a_cap_of_the_client_stays_and_endpoints_without_output_get_none(path: str, more: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", **GOOD[path], **more}).encode()
    assert SHAPES[path].prepare(body, SHAPES[path].parse(body), output_tokens_max=50) is body


@given(JSON.filter(lambda value: isinstance(value, dict)), st.text(), st.booleans())
def test_fields_are_found_replaced_and_cut_out_in_any_json(value: Any, name: str, spaced: bool) -> None:
    body = json.dumps({**value, name: 1}, indent=2 if spaced else None, ensure_ascii=spaced).encode()
    decoded = json.loads(body)
    assert {found: json.loads(body[begin:end]) for found, begin, end in fields(body)} == decoded
    plain = name.isascii() and name.isalnum()
    if plain:
        assert json.loads(with_field(body, name, lambda _: b"[2]")) == {**decoded, name: [2]}
    decoded.pop(name)
    assert json.loads(without_field(body, name)) == decoded


def test_spaces_around_a_value_are_not_walked_one_by_one() -> None:
    spaces = b" " * 10_000
    body = Walked(b'{"a":' + spaces + b"1" + spaces + b',"b":2}')
    assert [body[begin:end] for _, begin, end in fields(body)] == [b"1", b"2"]
    assert body.steps < 100


def test_errors_have_the_shape_that_each_client_knows() -> None:
    error = EngineUnavailable("try again", retry_after_s=5)
    assert json.loads(CHAT.error_body(error, "r"))["error"]["code"] == "no_healthy_engine"
    assert CHAT.error_event(error, "r").startswith(b'data: {"error":')
    anthropic = json.loads(MESSAGES.error_body(error, "r"))
    assert anthropic == {"type": "error", "error": {"type": "overloaded_error", "message": "try again"}, "request_id": "r"}
    assert MESSAGES.error_event(error, "r") == b"event: error\ndata: " + errors.anthropic_body(error, "r") + b"\n\n"
    event = RESPONSES.error_event(error, "r")
    assert event.startswith(b"event: error\ndata: {")
    assert json.loads(event[19:])["error"]["message"] == json.loads(event[19:])["message"] == "try again"
    assert json.loads(SHAPES["/v1/messages"].error_body(InvalidRequest("x"), None))["error"]["type"] == "invalid_request_error"
    for status, kind in ((408, "invalid_request_error"), (415, "invalid_request_error"), (500, "api_error"), (502, "api_error")):
        assert json.loads(errors.anthropic_error(status, "x", "r"))["error"]["type"] == kind
