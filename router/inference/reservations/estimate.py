"""The most that a request can use, before it is tokenized. Pure.

Every tokenizer in use works on bytes: a token stands for at least one of them, as they are when the text has been normalized,
which makes a few characters longer (`growth`), or is put there by the chat template, which the catalogue bounds model by model.
The engine keeps input and output of a choice together within the context; what it only counts, as for /tokenize, has no such
bound.
"""

from collections.abc import Sequence
from unicodedata import decomposition, normalize

import msgspec

from router.inference.shapes import Call
from warehouse.access.catalogue import Model, Price

TOKEN_BYTES = 4  # about; nothing that is charged or held goes by it
MEDIA_TOKENS = 1024  # of an image, a sound, or a file, about: models make some hundreds to some thousands of one
_DATA_BYTES = 4096  # a string in a body that goes on for so long without a space is no text
_SAMPLE_BYTES = 256
_SCANNED = 2**25  # characters: 30 ms, in which no other request of the worker goes on
_TOKENS_SANE = 2**53  # exact in Lua's doubles, and far above any limit: millions of prompts times billions of choices are not


def _growing() -> dict[str, int]:
    """{character: bytes more than its own} of those that a normal form makes longer.

    Of NFC, as Qwen's tokenizers have it, the bytes count; of NFKC, as SentencePiece has it, the characters, each a piece at most.
    """
    blocks = (range(0x80, 0x3400), range(0xF900, 0xFE00), range(0x1D100, 0x1D200), range(0x2F800, 0x2FA20))
    made_of_others = [char for block in blocks for char in map(chr, block) if decomposition(char)]
    longest = {char: max(len(normalize("NFC", char).encode()), len(normalize("NFKC", char))) for char in made_of_others}
    return {char: most - len(char.encode()) for char, most in longest.items() if most > len(char.encode())}


_GROWING = _growing()


def growth(body: bytes) -> int:
    """Bytes that the text of a body may be longer once it is normalized; at most, where counting them would take long."""
    text = body.decode(errors="replace")
    present = _GROWING.keys() & set(text)
    if len(present) * len(text) > _SCANNED:
        return len(text) * max(_GROWING[char] for char in present)
    return sum(text.count(char) * _GROWING[char] for char in present)


class Bounds(msgspec.Struct, frozen=True):
    """Upper bounds of one request, in tokens and pico-dollars."""

    input_tokens: int
    output_tokens: int
    cost_picousd: int
    is_priced: bool = True
    """Without a price nobody knows what it costs."""


def tokens_with_media(body: bytes, media: int) -> int:
    """How much work a request with images and their like is, about: an engine with one of them is not as loaded as its bytes say.

    Args: media: how many of them it has.
    """
    return (len(body) - _data_bytes(body)) // TOKEN_BYTES + media * MEDIA_TOKENS


def _data_bytes(body: bytes) -> int:
    """Of long strings as base64 makes them. Few looks at a body, whatever its size: to parse it took less than to read it all."""
    found = at = 0
    while at < len(body):
        last = body.rfind(b'"', at, at + _DATA_BYTES)
        if last >= 0:
            at = last + 1
            continue
        end = body.find(b'"', at + _DATA_BYTES)
        end = len(body) if end < 0 else end
        sample = body[at : at + _SAMPLE_BYTES] + body[max(at, end - _SAMPLE_BYTES) : end]
        if sample.isascii() and b" " not in sample and end - at >= _DATA_BYTES:
            found += end - at
        at = end + 1
    return found


def bounds(call: Call, body_bytes: int, model: Model, prices: Sequence[Price], output_tokens_max: int | None) -> Bounds:
    """The most that it can use and cost, whichever of the prices it turns out to have.

    Args: body_bytes: of the plain body.  prices: of which one will price it; the last is for any input, if it has a price.
        output_tokens_max: per choice, as asked or set by the router; None: the context's.
    """
    context = model.context_tokens_max
    tokens = body_bytes + model.template_tokens_per_call * call.prompts + model.template_tokens_per_message * call.messages
    if call.tools:
        tokens += body_bytes + model.template_tokens_for_tools  # templates write schemas anew, with indents
    if call.media:
        tokens += call.media * (context if model.media_tokens_max is None else model.media_tokens_max)
    if call.remembered:
        tokens = context * call.prompts
    if call.unread:
        tokens = call.ids or tokens
        context = max(context, tokens)
    input_tokens = min(tokens * call.prompts if call.paired else tokens, context * call.prompts)
    each = min(context if output_tokens_max is None else output_tokens_max, context)
    output_tokens = most_output(call, model, each)
    cost_picousd = 0
    for price in prices:
        most = input_tokens
        if not price.any_input:
            if price.input_tokens_from > most:
                continue
            most = most if price.input_tokens_until is None else min(most, price.input_tokens_until - 1)
        input_price, output_price = price.input_picousd_max, price.output_picousd_max
        if call.prompts > 1 or most + each <= context:
            dearest = most * input_price + output_tokens * output_price
        else:
            # They share the context, so the dearest call is at one end of the ways to share it.
            least = max(context - each, price.input_tokens_from)
            dearest = max(
                most * input_price + call.choices * (context - most) * output_price,
                least * input_price + min(call.choices * (context - least), output_tokens) * output_price,
            )
        cost_picousd = max(cost_picousd, dearest + price.request_picousd)
    return Bounds(input_tokens, output_tokens, cost_picousd, bool(prices) and prices[-1].any_input)


def most_output(call: Call, model: Model, output_tokens_max: int | None) -> int:
    """The most that all choices together can have. Args: output_tokens_max: per choice; None: as the catalogue says."""
    each = model.output_tokens_max if output_tokens_max is None else output_tokens_max
    return min(call.choices * min(each, model.context_tokens_max), _TOKENS_SANE)
