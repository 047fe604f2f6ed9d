"""Sign-in by a code that is confirmed elsewhere (RFC 8628): once, by somebody who is signed in, and not guessed."""

import concurrent.futures
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.router.callers import add_user, demo, error, events, signed_in
from tests.integration.router.conftest import Stack

PORTAL = "http://portal.example:8501"


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_PORTAL_URL": PORTAL}


@pytest.fixture
def email(stack: Stack) -> str:
    """A member of the demo organization."""
    return add_user(stack, demo(stack).org_id, "member")


@pytest.fixture
def person(stack: Stack, email: str) -> Iterator[httpx.Client]:
    """That member, in a browser."""
    with signed_in(stack, email) as client:
        yield client


def _begin(stack: Stack) -> dict[str, Any]:
    made = httpx.post(stack.base_url + "/sessions/device", json={}, headers={"user-agent": "a device of the tests"})
    answer: dict[str, Any] = made.json()
    return answer


def _ask(stack: Stack, begun: dict[str, Any]) -> httpx.Response:
    return httpx.post(stack.base_url + "/sessions/device/token", json={"device_code": begun["device_code"]})


def _later(stack: Stack) -> None:
    stack.db.execute("update control.device_logins set polled_at = polled_at - interval '3 seconds'")
    stack.db.commit()


def test_a_device_gets_a_session_once_its_user_has_said_yes(stack: Stack, person: httpx.Client, email: str) -> None:
    begun = _begin(stack)
    assert re.fullmatch(r"[B-Z]{4}-[B-Z]{4}", begun["user_code"])
    assert begun["verification_uri_complete"] == f"{PORTAL}/device?code={begun['user_code']}"
    waiting = _ask(stack, begun)
    assert (error(waiting)[:2], waiting.headers["retry-after"]) == ((400, "authorization_pending"), str(begun["interval"]))
    assert error(_ask(stack, begun))[:2] == (400, "slow_down")
    typed = begun["user_code"].lower().replace("-", "")
    found = person.post("/sessions/device/find", json={"user_code": typed}).json()
    assert (found["ip"], found["user_agent"]) == ("127.0.0.1", "a device of the tests")
    assert person.post("/sessions/device/approve", json={"user_code": typed}).json()["approved"] is True
    session = _ask(stack, begun).json()
    assert (session["method"], session["user"]["email"]) == ("device", email)
    current = httpx.get(stack.base_url + "/sessions/current", headers={"authorization": f"Bearer {session['token']}"})
    assert current.json()["user"]["email"] == email
    assert error(_ask(stack, begun))[:2] == (400, "expired_token")
    assert events(stack, sign_ins=True)[-2:] == ["login.device_approved", "login.succeeded"]
    assert begun["device_code"] not in str(stack.db.execute("select * from control.device_logins").fetchall())


def test_of_many_that_ask_at_once_one_gets_the_session(stack: Stack, person: httpx.Client) -> None:
    begun = _begin(stack)
    person.post("/sessions/device/approve", json={"user_code": begun["user_code"]})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: _ask(stack, begun).status_code, range(8)))
    assert sorted(codes) == [200] + [400] * 7


def test_a_no_is_told_to_the_device(stack: Stack, person: httpx.Client) -> None:
    begun = _begin(stack)
    assert person.post("/sessions/device/deny", json={"user_code": begun["user_code"]}).json()["approved"] is False
    assert error(person.post("/sessions/device/approve", json={"user_code": begun["user_code"]}))[2] == "user_code"
    assert error(_ask(stack, begun))[:2] == (400, "access_denied")
    assert error(_ask(stack, begun))[:2] == (400, "expired_token")


def test_a_code_ends(stack: Stack, person: httpx.Client) -> None:
    begun = _begin(stack)
    stack.db.execute("update control.device_logins set expires_at = now()")
    stack.db.commit()
    assert error(person.post("/sessions/device/approve", json={"user_code": begun["user_code"]}))[2] == "user_code"
    assert error(_ask(stack, begun))[:2] == (400, "expired_token")
    assert error(_ask(stack, {"device_code": "unknown"}))[:2] == (400, "expired_token")


def test_codes_are_not_guessed_and_nobody_approves_unseen(stack: Stack, person: httpx.Client) -> None:
    begun = _begin(stack)
    anonymous = httpx.post(stack.base_url + "/sessions/device/approve", json={"user_code": begun["user_code"]})
    assert anonymous.status_code == 401
    guesses = [person.post("/sessions/device/find", json={"user_code": f"BBBB-BBB{letter}"}).status_code for letter in "BCDFGH"]
    assert guesses == [404] * 5 + [429]
    _later(stack)
    assert error(_ask(stack, begun))[:2] == (400, "authorization_pending")


def test_a_disabled_user_gets_no_session(stack: Stack, person: httpx.Client, email: str) -> None:
    begun = _begin(stack)
    person.post("/sessions/device/approve", json={"user_code": begun["user_code"]})
    stack.db.execute("update control.users set disabled_at = now() where email = %s", [email])
    stack.db.commit()
    assert error(_ask(stack, begun))[:2] == (400, "access_denied")


class TestWithoutAPortal:
    """Nobody could approve."""

    @pytest.fixture
    def router_env(self) -> dict[str, str]:
        return {}

    def test_it_is_said_at_once(self, stack: Stack) -> None:
        refused = httpx.post(stack.base_url + "/sessions/device", json={})
        assert error(refused)[:2] == (400, "invalid_request")
        assert "ROUTER_PORTAL_URL" in refused.json()["error"]["message"]
