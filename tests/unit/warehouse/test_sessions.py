"""Portal sessions: nobody can make or change one without the secret, and each ends."""

import base64
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.base.clock import now
from warehouse.identity.sessions import OVERLAP, Session, is_current, sign, verify

SECRET = b"a session secret of the tests"


def _session(seconds: int = 60) -> Session:
    return Session("sess_1", 3, int(time.time()) + seconds)


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
    token = sign(Session("sess_1", 3, 2**40), SECRET)
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    assert changed == token or verify(changed, SECRET) is None


def test_a_payload_of_ones_own_is_refused() -> None:
    signature = sign(_session(), SECRET).partition(".")[2]
    forged = base64.urlsafe_b64encode(b'["sess_2", 1, 99999999999]').rstrip(b"=").decode()
    assert verify(f"{forged}.{signature}", SECRET) is None


@given(text=st.text())
def test_any_text_is_refused_without_an_error(text: str) -> None:
    assert verify(text, SECRET) is None


def test_nothing_secret_is_inside() -> None:
    payload = sign(_session(), SECRET).partition(".")[0]
    assert base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).startswith(b'["sess_1", 3, ')


def test_the_token_before_the_newest_works_for_a_moment_and_no_other() -> None:
    rotated_at = now()
    assert is_current(3, 3, rotated_at, rotated_at + timedelta(days=1))
    assert is_current(2, 3, rotated_at, rotated_at + OVERLAP - timedelta(seconds=1))
    assert not is_current(2, 3, rotated_at, rotated_at + OVERLAP)
    assert not is_current(1, 3, rotated_at, rotated_at)
    assert not is_current(4, 3, rotated_at, rotated_at)
