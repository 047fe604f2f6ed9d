"""Public ids that are a kind and the number of a row, as `price_12`."""

from warehouse.base.errors import InvalidRequest

INTEGER_DIGITS, BIGINT_DIGITS = 9, 18  # any number of so many fits such a column


def number_of(public_id: str, kind: str, param: str, digits: int = INTEGER_DIGITS) -> int:
    """12 of `price_12`. Raises: InvalidRequest: it is no id of this kind."""
    found, _, number = public_id.partition("_")
    if found != kind or not number.isascii() or not number.isdigit() or len(number) > digits:
        raise InvalidRequest(f"an id like {kind}_12 is wanted", param=param)
    return int(number)
