"""What a key's requests may ask for at most. Pure."""

from router.inference.auth import Caller
from router.inference.shapes import Call, Shape
from warehouse.base.errors import InvalidRequest


class CapExceeded(InvalidRequest):
    """The request asks for more than its key may. Nothing was charged."""

    code = "cap_exceeded"


def own_cap(call: Call, caller: Caller) -> int | None:
    """Of the output of each choice, where none was asked for; None: as many as fit."""
    default, cap = call.output_tokens_default, caller.output_tokens_max
    if default is None or cap is None:
        return cap if default is None else default
    return min(default, cap)


def check_caps(call: Call, shape: Shape, caller: Caller) -> None:
    """Raises: CapExceeded, which says what the key may ask for."""
    choices = call.choices // call.prompts
    if caller.choices_max is not None and choices > caller.choices_max:
        raise CapExceeded(f"this key may ask for at most {caller.choices_max} choices, and {choices} are asked for", param="n")
    asked = call.output_tokens_max
    if caller.output_tokens_max is not None and asked is not None and asked > caller.output_tokens_max:
        raise CapExceeded(
            f"this key may ask for at most {caller.output_tokens_max} output tokens, and {asked} are asked for", param=shape.cap
        )
