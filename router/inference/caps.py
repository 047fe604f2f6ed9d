"""What a key's requests may ask for at most. Pure."""

from router.inference.auth import Caller
from router.inference.reservations.estimate import TOKEN_BYTES, bounds
from router.inference.shapes import Call, Shape
from warehouse.access.catalogue import Model
from warehouse.base.errors import InvalidRequest


class CapExceeded(InvalidRequest):
    """The request asks for more than its key may. Nothing was charged."""

    code = "cap_exceeded"


def own_cap(call: Call, caller: Caller, body_bytes: int, model: Model) -> int | None:
    """Of the output of each choice, where none was asked for; None: as many as fit."""
    default, cap = call.output_tokens_default, caller.output_tokens_max
    if cap is None:
        return default
    return _that_fits(cap, call, body_bytes, model) if default is None else min(default, cap)


def _that_fits(cap: int, call: Call, body_bytes: int, model: Model) -> int:
    """Engines refuse a cap for which the context has no room beside the prompt, and the client has named none.

    Where it is likely to have none, as much as there is room for whatever the tokenizer makes of the prompt, or half of what is
    likely.
    """
    cap = min(cap, model.output_tokens_max)
    likely = model.context_tokens_max - body_bytes // TOKEN_BYTES
    if cap <= likely:
        return cap
    sure = model.context_tokens_max - bounds(call, body_bytes, model, (), cap).input_tokens
    return max(sure, likely // 2, 1)


def check_caps(call: Call, shape: Shape, caller: Caller) -> None:
    """Raises: CapExceeded, which says what the key may ask for."""
    choices = call.choices // call.prompts
    if caller.choices_max is not None and choices > caller.choices_max:
        raise CapExceeded(f"this key may ask for at most {caller.choices_max} choices, and {choices} are asked for", param="n")
    asked = call.output_tokens_max
    if caller.output_tokens_max is not None and asked is not None and asked > caller.output_tokens_max:
        raise CapExceeded(
            f"this key may ask for at most {caller.output_tokens_max} output tokens, and {asked} are asked for",
            param=shape.cap if call.names_cap else "max_tokens",  # the older name of chat's, which most clients still send
        )
