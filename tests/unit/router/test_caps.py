"""What a key's requests may ask for at most, on every endpoint that has an output."""

from datetime import UTC, datetime

import pytest

from router.inference.auth import Caller
from router.inference.caps import CapExceeded, check_caps, own_cap
from router.inference.shapes import SHAPES
from warehouse.access.catalogue import Model

MODEL = Model(1, "m", 8192, 8000, datetime(2026, 1, 1, tzinfo=UTC))


def caller(choices_max: int | None = None, output_tokens_max: int | None = None) -> Caller:
    """A caller whose key has these caps."""
    return Caller(1, 1, 1, None, None, None, 0, choices_max, output_tokens_max)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/chat/completions", b'{"model":"m","messages":[{"role":"user","content":"a"}],"max_tokens":11}', "max_tokens"),
        (
            "/v1/chat/completions",
            b'{"model":"m","messages":[{"role":"user","content":"a"}],"max_completion_tokens":11}',
            "max_completion_tokens",
        ),
        ("/v1/completions", b'{"model":"m","prompt":"a","max_tokens":11}', "max_tokens"),
        ("/v1/responses", b'{"model":"m","input":"a","max_output_tokens":11}', "max_output_tokens"),
        ("/v1/messages", b'{"model":"m","messages":[{"role":"user","content":"a"}],"max_tokens":11}', "max_tokens"),
    ],
)
def test_more_output_than_the_key_may_have_is_refused(path: str, body: bytes, field: str) -> None:
    shape = SHAPES[path]
    call = shape.parse(body)
    with pytest.raises(CapExceeded, match="at most 10 output tokens") as refused:
        check_caps(call, shape, caller(output_tokens_max=10))
    assert (refused.value.status, refused.value.param) == (400, field)
    check_caps(call, shape, caller(output_tokens_max=11))
    check_caps(call, shape, caller())


@pytest.mark.parametrize(("path", "default"), [("/v1/completions", 16), ("/v1/responses", None)])
@pytest.mark.parametrize("asked", [b"", b',"max_tokens":null,"max_output_tokens":null'])
def test_where_nothing_is_asked_for_the_least_that_is_known_is_the_cap(path: str, default: int | None, asked: bytes) -> None:
    shape = SHAPES[path]
    call = shape.parse(b'{"model":"m","prompt":"a","input":"a"%b}' % asked)
    for cap, least in ((None, default), (10, 10), (100, default or 100)):
        check_caps(call, shape, caller(output_tokens_max=cap))
        assert own_cap(call, caller(output_tokens_max=cap), 60, MODEL) == least


@pytest.mark.parametrize(
    ("cap", "body_bytes", "least"),
    [
        (4000, 6000, 4000), (8000, 1000, 6920), (8000, 8000, 3096), (2**31 - 1, 1000, 6920), (8000, 40_000, 1),
        (2**31 - 1, 100, 8000), (6692, 6000, 6692), (6693, 6000, 3346),
    ],
)  # fmt: skip
def test_a_cap_that_the_client_has_not_named_leaves_room_for_its_prompt(cap: int, body_bytes: int, least: int) -> None:
    call = SHAPES["/v1/responses"].parse(b'{"model":"m","input":"a"}')
    assert own_cap(call, caller(output_tokens_max=cap), body_bytes, MODEL) == least


@pytest.mark.parametrize("field", [b"n", b"best_of"])
def test_choices_are_those_of_one_prompt(field: bytes) -> None:
    shape = SHAPES["/v1/completions"]
    call = shape.parse(b'{"model":"m","prompt":["a","b","c"],"%b":3}' % field)
    check_caps(call, shape, caller(choices_max=3))
    with pytest.raises(CapExceeded, match="at most 2 choices, and 3 are asked for") as refused:
        check_caps(call, shape, caller(choices_max=2))
    assert refused.value.param == "n"


def test_what_has_no_output_is_never_over_a_cap() -> None:
    shape = SHAPES["/v1/embeddings"]
    check_caps(shape.parse(b'{"model":"m","input":["a","b"]}'), shape, caller(1, 1))
