"""The most that a request can cost: no way of using it costs more, and none of the bounds is looser than it must be."""

import sys
from datetime import UTC, datetime
from typing import Any
from unicodedata import normalize

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.inference.reservations.estimate import MEDIA_TOKENS, TOKEN_BYTES, bounds, growth, tokens_with_media
from router.inference.shapes import SHAPES, Call
from tests.routing_world import World, engine
from warehouse.access.catalogue import Model, Price

AT = datetime(2026, 1, 1, tzinfo=UTC)


def model(context: int, *, call: int = 0, message: int = 0, tools: int = 0, media: int | None = None) -> Model:
    """A model with so large a context, and what its template adds."""
    return Model(1, "model", context, context, AT, call, message, tools, media)


def price(input_picousd: int, output_picousd: int) -> Price:
    """So much a token."""
    return Price(1, 1, None, input_picousd, input_picousd // 2, output_picousd, AT, None)


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo/+" * 300_000 + "=="}}


@pytest.mark.parametrize(
    "part",
    [
        IMAGE,
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K" * 1000}},
        {"type": "input_audio", "input_audio": {"data": "UklGRiQA" * 1000, "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "https://images.example/1.png"}},
    ],
)
@pytest.mark.parametrize(
    "text", ["What is in this picture? " * 4000, "\u8fd9\u5f20\u56fe\u7247\u91cc\u6709\u4ec0\u4e48" * 4000, "no"]
)
def test_what_is_no_text_is_not_work_by_its_bytes(part: dict[str, Any], text: str) -> None:
    for parts in ([part, {"type": "text", "text": text}], [{"type": "text", "text": text}, part]):
        body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": parts}]})
        about = tokens_with_media(body, 1)
        assert about == pytest.approx(len(text.encode()) // TOKEN_BYTES + MEDIA_TOKENS, abs=200)


def test_an_engine_with_an_image_gets_as_many_requests_as_the_others() -> None:
    world = World([engine(1), engine(2)])
    body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": [IMAGE]}]})
    world.begin(tokens_with_media(body, 1))
    for _ in range(100):
        world.begin(500)
    assert min(state.requests for state in world.set.states.values()) >= 45


@given(
    context=st.integers(1, 40), body=st.integers(1, 60), cap=st.none() | st.integers(0, 60), choices=st.integers(1, 4),
    prices=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)  # fmt: skip
def test_the_cost_is_that_of_the_dearest_way_to_use_it(
    context: int, body: int, cap: int | None, choices: int, prices: tuple[int, int]
) -> None:
    most = bounds(Call("model", choices=choices), body, model(context), [price(*prices)], cap)
    each_max = context if cap is None else min(cap, context)
    dearest = max(
        tokens_in * prices[0] + choices * tokens_out * prices[1]
        for tokens_in in range(min(body, context) + 1)
        for tokens_out in range(each_max + 1)
        if tokens_in + tokens_out <= context
    )
    assert most.cost_picousd == dearest
    assert (most.input_tokens, most.output_tokens) == (min(body, context), choices * each_max)


TIERS = st.lists(
    st.tuples(st.integers(0, 50), st.none() | st.integers(1, 20), *[st.integers(0, 9)] * 4, st.none() | st.integers(0, 9)),
    max_size=3,
)


@given(
    context=st.integers(1, 30), body=st.integers(1, 50), cap=st.none() | st.integers(0, 40), choices=st.integers(1, 3),
    tiers=TIERS,
)  # fmt: skip
def test_no_tier_that_the_request_may_turn_out_to_be_in_costs_more(
    context: int, body: int, cap: int | None, choices: int, tiers: list[tuple[int, int | None, int, int, int, int, int | None]]
) -> None:
    prices = [
        Price(
            n, 1, None, tokens_in, cached, tokens_out, AT, None, reasoning, request, 1, None, start,
            None if width is None else start + width,
        )
        for n, (start, width, tokens_in, cached, tokens_out, request, reasoning) in enumerate(tiers)
    ]  # fmt: skip
    prices.append(price(2, 3))
    most = bounds(Call("model", choices=choices), body, model(context), prices, cap)
    each_max = context if cap is None else min(cap, context)
    costs = [
        one.cost_picousd(tokens_in, cached, choices * tokens_out, reasoning)
        for tokens_in in range(min(body, context) + 1)
        for tokens_out in {0, min(each_max, context - tokens_in)}
        for cached in (0, tokens_in)
        for reasoning in (0, choices * tokens_out)
        for one in prices
        if one.is_for(tokens_in)
    ]
    assert most.cost_picousd == max(costs)


def test_the_most_absurd_request_still_is_a_number_for_redis() -> None:
    prompts = 3_000_000
    call = Call("model", choices=prompts * (2**31 - 1), prompts=prompts, messages=prompts)
    most = bounds(call, 8_000_000, model(1_000_000), [price(10**12, 10**12)], None)
    assert msgspec.msgpack.encode((most.input_tokens, most.output_tokens, most.cost_picousd // 10**12))


def test_without_a_price_a_request_holds_tokens_and_no_money() -> None:
    most = bounds(Call("model"), 10, model(100), [], 5)
    assert not most.is_priced
    assert (most.input_tokens, most.output_tokens, most.cost_picousd) == (10, 5, 0)
    short = Price(1, 1, None, 2, 1, 3, AT, None, priority=1, input_tokens_until=10)
    assert not bounds(Call("model"), 10, model(100), [short], 5).is_priced  # nor is a longer one


def test_what_the_template_adds_is_bounded_by_the_catalogue() -> None:
    call = Call("model", messages=3, tools=True, media=2)
    assert (
        bounds(call, 100, model(10**6, call=7, message=5, tools=11, media=1000), [], 0).input_tokens == 200 + 7 + 15 + 11 + 2000
    )
    assert bounds(call, 100, model(5000), [], 0).input_tokens == 5000  # media of no known size: the context


@pytest.mark.parametrize(
    ("path", "body", "tokens"),
    [
        ("/v1/embeddings", b'{"model":"model","input":["aaaa","bb"]}', 39),
        ("/v1/completions", b'{"model":"model","prompt":["aaaa","bb"],"max_tokens":3}', 55),
        ("/v1/rerank", b'{"model":"model","query":"q","documents":["a","b"]}', 51 * 3),
        ("/v1/responses", b'{"model":"model","input":"a","previous_response_id":"resp_1"}', 8000),
        ("/v1/completions", b'{"model":"model","prompt_embeds":["QUJD","REVG"],"max_tokens":3}', 16_000),  # of sparse tensors
    ],
)
def test_every_endpoint_bounds_its_input(path: str, body: bytes, tokens: int) -> None:
    call = SHAPES[path].parse(body)
    assert bounds(call, len(body), model(8000), [], call.output_tokens_max).input_tokens == tokens


def test_each_of_several_prompts_has_the_context_to_itself() -> None:
    call = SHAPES["/v1/completions"].parse(b'{"model":"model","prompt":["a","b","c"],"n":2,"max_tokens":50}')
    most = bounds(call, 10_000, model(100), [price(1, 2)], call.output_tokens_max)
    assert (most.input_tokens, most.output_tokens, most.cost_picousd) == (300, 300, 300 + 600)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", b'{"model":"model","prompt":"%b"}' % (b"a b " * 1000)),
        ("/v1/messages/count_tokens", b'{"model":"model","messages":[{"role":"user","content":"%b"}]}' % (b"a b " * 1000)),
        ("/detokenize", b'{"model":"model","tokens":[%b7]}' % (b"7," * 1000)),
    ],
)
def test_no_context_bounds_what_is_only_counted(path: str, body: bytes) -> None:
    call = SHAPES[path].parse(body)
    most = bounds(call, len(body), model(100, call=7, message=5), [price(2, 3)], call.output_tokens_max)
    tokens = 1001 if path == "/detokenize" else len(body) + 7 + 5
    assert (most.input_tokens, most.output_tokens, most.cost_picousd) == (tokens, 0, 2 * tokens)


def test_no_normal_form_makes_more_of_a_text_than_is_held() -> None:
    for char in map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]):
        size = len(char.encode())
        assert size + (growth(char.encode()) if size > 1 else 0) >= max(
            len(normalize("NFC", char).encode()), len(normalize("NFKC", char))
        )
    notes = "\N{MUSICAL SYMBOL EIGHTH NOTE}" * 3
    for text, more in (("a b", 0), ("這是中文，été", 0), (notes + "\N{DEVANAGARI LETTER QA}", 3 * 8 + 3)):
        assert growth(text.encode()) == more


def test_a_long_text_of_every_character_that_grows_is_bounded_at_once() -> None:
    """Each would be looked for in all of it, and the worker's other requests would wait."""
    written = "".join(char for char in map(chr, range(0x80, 0x3400)) if growth(char.encode()))
    short, long = written * 10, written * 10_000
    assert growth(short.encode()) == sum(growth(char.encode()) for char in short)
    assert growth(long.encode()) == len(long) * max(growth(char.encode()) for char in written)
    half = "\N{DEVANAGARI LETTER QA}" * 1_000_000
    assert growth(half.encode()) == 3_000_000
