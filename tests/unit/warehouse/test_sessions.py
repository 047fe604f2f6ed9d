"""Portal sessions: nobody can make or change one without the secret, and each ends."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.identity.sessions import Session, sign, verify

SECRET = b"a session secret of the tests"


def _session(seconds: int = 60) -> Session:
    return Session(user_id=7, expires_at_s=int(time.time()) + seconds)


def test_a_session_is_read_back() -> None:
    session = _session()
    assert verify(sign(session, SECRET), SECRET) == session


@pytest.mark.parametrize("seconds", [0, -1, -3600])
def test_an_ended_session_is_refused(seconds: int) -> None:
    assert verify(sign(_session(seconds), SECRET), SECRET) is None


def test_another_secret_signs_everybody_out() -> None:
    assert verify(sign(_session(), SECRET), b"another secret entirely") is None


@given(position=st.integers(0, 200), character=st.characters(codec="ascii", exclude_categories=["Cc"]))
def test_a_changed_character_is_refused(position: int, character: str) -> None:
    token = sign(Session(7, 2**40), SECRET)
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    assert changed == token or verify(changed, SECRET) is None


def test_a_payload_of_ones_own_is_refused() -> None:
    signature = sign(_session(), SECRET).partition(".")[2]
    forged = base64.urlsafe_b64encode(b"[1, 99999999999]").rstrip(b"=").decode()
    assert verify(f"{forged}.{signature}", SECRET) is None


@given(text=st.text())
def test_any_text_is_refused_without_an_error(text: str) -> None:
    assert verify(text, SECRET) is None


def test_nothing_secret_is_inside() -> None:
    payload = sign(_session(), SECRET).partition(".")[0]
    assert base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).startswith(b"[7, ")
