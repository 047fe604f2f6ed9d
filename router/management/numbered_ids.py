"""Public ids that are a kind and the number of a row, as `price_12`."""

from warehouse.base.errors import InvalidRequest

DIGITS_MAX = 9  # fewer than an integer column holds


def number_of(public_id: str, kind: str, param: str, digits_max: int = DIGITS_MAX) -> int:
    """12 of `price_12`. Raises: InvalidRequest: it is no id of this kind."""
    found, _, number = public_id.partition("_")
    if found != kind or not number.isascii() or not number.isdigit() or len(number) > digits_max:
        raise InvalidRequest(f"an id like {kind}_12 is wanted", param=param)
    return int(number)
