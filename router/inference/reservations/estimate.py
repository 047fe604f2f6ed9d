"""The most that a request can use, before it is tokenized. Pure.

Every tokenizer in use works on bytes: a token stands for at least one of them, or is put there by the chat template, which
the catalogue bounds model by model. The engine keeps input and output of a choice together within the context.
"""

from dataclasses import dataclass

from router.inference.shapes import Call
from warehouse.access.catalogue import Model, Price

_TOKENS_SANE = 2**53  # exact in Lua's doubles, and far above any limit: millions of prompts times billions of choices are not


@dataclass(frozen=True, slots=True)
class Bounds:
    """Upper bounds of one request, in tokens and pico-dollars."""

    input_tokens: int
    output_tokens: int
    cost_picousd: int
    is_priced: bool = True
    """Without a price nobody knows what it costs."""


def bounds(call: Call, body_bytes: int, model: Model, price: Price | None, output_tokens_max: int | None) -> Bounds:
    """Args: body_bytes: of the plain body.  output_tokens_max: per choice, as asked or set by the router; None: the context's."""
    context = model.context_tokens_max
    tokens = body_bytes + model.template_tokens_per_call * call.prompts + model.template_tokens_per_message * call.messages
    if call.tools:
        tokens += body_bytes + model.template_tokens_for_tools  # templates write schemas anew, with indents
    if call.media:
        tokens += call.media * (context if model.media_tokens_max is None else model.media_tokens_max)
    if call.remembered:
        tokens = context
    input_tokens = min(tokens * call.prompts if call.paired else tokens, context * call.prompts)
    each = min(context if output_tokens_max is None else output_tokens_max, context)
    output_tokens = min(call.choices * each, _TOKENS_SANE)
    if price is None:
        return Bounds(input_tokens, output_tokens, 0, is_priced=False)
    input_price = max(price.input_picousd, price.cached_input_picousd)
    if call.prompts > 1 or input_tokens + each <= context:
        return Bounds(input_tokens, output_tokens, input_tokens * input_price + output_tokens * price.output_picousd)
    # They share the context, so the dearest call is at one end of the ways to share it.
    most_input = input_tokens * input_price + call.choices * (context - input_tokens) * price.output_picousd
    most_output = (context - each) * input_price + output_tokens * price.output_picousd
    return Bounds(input_tokens, output_tokens, max(most_input, most_output))
