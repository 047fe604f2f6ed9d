"""What is logged is one JSON object a line, without keys, tokens and passwords."""

import contextvars
import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.base import requests
from warehouse.base.logging import JsonFormatter, redact
from warehouse.identity.invites import InviteToken
from warehouse.identity.keys import ApiKeySecret

KEY = ApiKeySecret.generate().reveal()
INVITE = InviteToken.generate().reveal()
SECRETS = {
    KEY: KEY,
    f"Authorization: Bearer {KEY}": KEY,
    "authorization: bearer WzcsIDE3MDAwMDAwMDBd.c2lnbmF0dXJl": "c2lnbmF0dXJl",
    "postgresql://inferhouse_router:hunter2@127.0.0.1:5432/inferhouse": "hunter2",
    "redis://:hunter2@127.0.0.1:6379/0": "hunter2",
    "host=127.0.0.1 user=inferhouse_router password=hunter2 dbname=inferhouse": "hunter2",
    "host=127.0.0.1 password='hunter2 with blanks' dbname=inferhouse": "with blanks",
    'postgresql://u:hunter"2@h/db': 'hunter"2',
    "alter role inferhouse_sql_ab password 'hunter2'": "hunter2",
    "WzcsIDE3MDAwMDAwMDBd.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJl": "c2lnbmF0dXJl",
    "otpauth://totp/Inferhouse:a@b.example?secret=JBSWY3DPEHPK3PXP&issuer=Inferhouse": "JBSWY3DP",
    "Cookie: session=abcdef; theme=dark": "abcdef",
    "POST /v1/oidc?code_verifier=hunter2&x=1": "hunter2",
    '{"invite_token": "hunter2"}': "hunter2",
    INVITE: INVITE,
    f"sent http://127.0.0.1:8501/invite?token={INVITE} to somebody": INVITE,
}


def _line(message: str, *, exception: Exception | None = None, **extra: object) -> dict[str, object]:
    """The JSON object that one record becomes."""
    exc_info = None
    if exception is not None:
        try:
            raise exception
        except type(exception):
            exc_info = sys.exc_info()
    record = logging.LogRecord("router.test", logging.WARNING, __file__, 1, message, None, exc_info)
    record.__dict__.update(extra)
    text = JsonFormatter("router").format(record)
    assert "\n" not in text
    entry: dict[str, object] = json.loads(text)
    return entry


@pytest.mark.parametrize(("text", "secret"), SECRETS.items(), ids=range(len(SECRETS)))
def test_no_secret_in_message_extra_or_exception(text: str, secret: str) -> None:
    for entry in (
        _line(f"cannot use {text}, going on"),
        _line("a message", where=text, nested={"deep": [text]}),
        _line("a message", exception=ValueError(f"connection to {text} failed")),
    ):
        assert secret not in json.dumps(entry, ensure_ascii=False)
        assert secret not in " ".join(map(str, entry.values()))
        assert "[redacted]" in str(entry)


def test_a_field_whose_name_says_secret_is_not_shown() -> None:
    fields = {"password": "a b c", "invite_token": "one two", "totp_code": 123456, "cookie": ["a"], "input_tokens": 7}
    entry = _line("a message", nested=dict(fields), **fields)
    assert entry["nested"] == {name: 7 if name == "input_tokens" else "[redacted]" for name in fields}
    assert {name: entry[name] for name in fields} == entry["nested"]


def test_a_line_names_the_request_under_way() -> None:
    assert "request_id" not in _line("before any request")
    made = contextvars.copy_context().run(lambda: (str(requests.begin()), _line("inside")["request_id"]))
    assert made[0] == made[1]


def test_the_rest_of_the_line_stays() -> None:
    entry = _line(f"key {KEY} is used", org_id=7, after="this too")
    assert entry["message"] == "key [redacted] is used"
    assert (entry["org_id"], entry["after"]) == (7, "this too")
    assert (entry["level"], entry["process"], entry["logger"]) == ("warning", "router", "router.test")
    assert str(entry["time"]).endswith("+00:00")


@pytest.mark.parametrize("part", ["://a:", "a-", "a.", "aaaaaaaaaaaa.", "token='", "password 'a ", "bearer ", "cookie:"])
def test_a_long_text_is_looked_through_once(part: str) -> None:
    """By the square of its length, this test would take minutes."""
    redact(part * (300_000 // len(part)))


@given(before=st.text(), text=st.sampled_from(list(SECRETS)), after=st.text())
def test_a_redacted_line_is_still_json(before: str, text: str, after: str) -> None:
    _line(before + text + after, other=after)


def test_what_only_looks_like_a_secret_stays() -> None:
    text = "see http://127.0.0.1:8101/health and mail admin@demo.example, sk-ih is our prefix"
    assert redact(text) == text
