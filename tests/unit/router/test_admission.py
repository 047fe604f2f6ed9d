"""What is read of a request, and what is changed in it before an engine has it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.inference.admission import parse_chat, with_usage_asked
from warehouse.base.errors import InvalidRequest

ASKED = {"include_usage": True, "continuous_usage_stats": True}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(extra=st.dictionaries(st.text(), JSON), options=st.none() | st.just({"include_usage": True, "other": 1}))
def test_only_the_stream_options_change(extra: dict[str, Any], options: dict[str, Any] | None) -> None:
    body = extra | {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True, "user": None}
    body.pop("stream_options", None)
    if options:
        body["stream_options"] = options
    raw = json.dumps(body).encode() + b" \n"
    sent = json.loads(with_usage_asked(raw, parse_chat(raw)))
    assert sent == body | {"stream_options": ASKED}


def test_numbers_keep_their_digits() -> None:
    raw = b'{"model":"m","messages":[{"role":"user"}],"temperature":0.10,"seed":12345678901234567890,"stream_options":null}'
    assert b"0.10" in with_usage_asked(raw, parse_chat(raw))
    assert b"12345678901234567890" in with_usage_asked(raw, parse_chat(raw))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ('{"model":"","messages":[{"role":"user"}]}', "model"),
        ('{"model":"m","messages":[{"role":1}]}', "messages[0].role"),
        ('{"model":"m","messages":[{"role":"user"}],"stream_options":{"include_usage":1}}', "stream_options.include_usage"),
        ('{"model":"m","messages":[{"role":"user"}],"user":5}', "user"),
    ],
)
def test_the_field_is_named(body: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_chat(body.encode())
    assert raised.value.param == param
