"""Money is whole pico-dollars (1e-12 USD) until it is printed; there is no float here."""

from decimal import Decimal, InvalidOperation

PICOUSD_PER_USD = 10**12
TOKENS_PER_MILLION = 10**6
USD_PER_MILLION_DECIMALS_MAX = 6
USD_DECIMALS_MAX = 12


def picousd_per_token(usd_per_million: str) -> int:
    """Whole pico-dollars per token of a price in USD per million tokens.

    Exact for up to six decimals: 1 USD per million tokens is 1,000,000 pico-dollars a token.
    Raises: ValueError: not a decimal number, negative, or finer than six decimals.
    """
    try:
        price = Decimal(usd_per_million)
    except InvalidOperation as error:
        raise ValueError(f"{usd_per_million!r} is not a decimal number") from error
    picousd = price * PICOUSD_PER_USD / TOKENS_PER_MILLION
    if not price.is_finite() or picousd < 0 or picousd != int(picousd):
        raise ValueError(f"{usd_per_million!r}: a price is at least 0 and has at most {USD_PER_MILLION_DECIMALS_MAX} decimals")
    return int(picousd)


def usd_per_million(picousd_per_token: int) -> str:
    """Exact price in USD per million tokens of whole pico-dollars per token. `150000` -> `0.15`."""
    return usd(picousd_per_token * TOKENS_PER_MILLION)


def picousd(usd_text: str) -> int:
    """Whole pico-dollars of an amount in USD. Raises: ValueError: not a decimal number, negative, or finer than 12 decimals."""
    try:
        amount = Decimal(usd_text)
    except InvalidOperation as error:
        raise ValueError(f"{usd_text!r} is not a decimal number") from error
    if not amount.is_finite() or amount < 0 or amount * PICOUSD_PER_USD != int(amount * PICOUSD_PER_USD):
        raise ValueError(f"{usd_text!r}: an amount is at least 0 and has at most {USD_DECIMALS_MAX} decimals")
    return int(amount * PICOUSD_PER_USD)


def usd(picousd: int) -> str:
    """Exact USD of whole pico-dollars: as many decimals as it needs, at least two. `1500000` -> `0.0000015`."""
    whole, rest = divmod(abs(picousd), PICOUSD_PER_USD)
    decimals = f"{rest:012d}".rstrip("0").ljust(2, "0")
    return f"{'-' if picousd < 0 else ''}{whole}.{decimals}"
