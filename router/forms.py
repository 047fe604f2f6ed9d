"""What to enter where a form is wanted, in words: people who are refused read no regular expressions."""

from collections.abc import Mapping

_AN_ID = "copy the id as it is shown, such as {}"
_A_MONTH = "write a month as year and month, such as 2026-12"

WORDS: Mapping[str, str] = {
    r"^[0-9]{1,12}(\.[0-9]{1,12})?$": (
        "write an amount of USD in digits, such as 250 or 0.50: at most 12 of them before the point and 12 behind it"
    ),
    r"^[0-9]{1,12}(\.[0-9]{1,2})?$": "write an amount of USD in digits and whole cents, such as 250 or 12.50",
    r"^[0-9]{1,7}(\.[0-9]{1,6})?$": (
        "write USD per million tokens in digits, such as 2 or 0.15: at most 7 of them before the point and 6 behind it"
    ),
    r"^[0-9]{1,4}(\.[0-9]{1,12})?$": (
        "write an amount of USD in digits, such as 2 or 0.002: at most 4 of them before the point and 12 behind it"
    ),
    r"^[^\x00-\x1f\x7f-\x9f]*$": "write it in one line, without control characters such as tabs",
    r"^[^\x00]*$": "leave out the NUL character",
    r"^[^\x00]+$": "write something, without the NUL character",
    r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+$": "write an address of mail, such as name@example.org",
    r"^[a-z0-9][a-z0-9-]{0,62}$": "use at most 63 small letters, digits and hyphens, a letter or digit first, such as gpu-1",
    r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$": (
        "use at most 128 letters, digits and . _ : / -, a letter or digit first, such as qwen3-8b or org/model"
    ),
    r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$": "use letters, digits and . _ : / -, a letter or digit first, such as org/model",
    r"^[0-9A-Fa-f.:/]+$": "write a network or an address, such as 10.0.0.0/8 or 2001:db8::1",
    r"^[A-Z]{2}(-[A-Z0-9]{1,10})?$": "write a region as DE or US-CA: the capital letters of the country, and perhaps a part",
    r"^[A-Za-z]{4}-?[A-Za-z]{4}$": "write the code as it is shown, such as ABCD-EFGH",
    r"^[a-z_]+(\.[a-z_]+)+$": "write the type of an event, such as budget.exhausted",
    r"^2[0-9]{3}-(0[1-9]|1[0-2])$": _A_MONTH,
    r"^20[0-9]{2}-(0[1-9]|1[0-2])$": _A_MONTH,
    r"^[0-9a-f]{64}$": "copy the code as it was shown: 64 digits and letters from a to f",
    r"^[0-9A-Za-z_-]+$": "copy the id as it is shown: letters, digits, _ and -",
    r"^[0-9A-Za-z_]+$": "copy the id as it is shown: letters, digits and _",
    r"^price_[1-9][0-9]{0,8}$": _AN_ID.format("price_12"),
    r"^discount_[1-9][0-9]{0,8}$": _AN_ID.format("discount_12"),
    r"^tier_[1-9][0-9]{0,8}$": _AN_ID.format("tier_12"),
    r"^inv_[0-9a-z]{12,32}$": _AN_ID.format("inv_, and letters and digits"),
    r"^il_[0-9a-f]{24}$": _AN_ID.format("il_, and 24 digits and letters from a to f"),
}
"""{pattern in the API's document: what to enter}. A test holds that each has its words."""
