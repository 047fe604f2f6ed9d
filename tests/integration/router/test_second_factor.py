"""The second factor: asked for once it is on, each code once, and what an organization that asks for it shows without."""

from collections.abc import Iterator

import httpx
import pyotp
import pytest

from tests.integration.router.callers import PASSWORD, add_user, demo, error, events
from tests.integration.router.conftest import Stack
from tests.integration.router.evidence import Evidence


def _sign_in(stack: Stack, email: str, **more: str) -> httpx.Response:
    return httpx.post(stack.base_url + "/sessions", json={"email": email, "password": PASSWORD, **more})


@pytest.fixture
def email(stack: Stack) -> str:
    """A member of the demo organization."""
    return add_user(stack, demo(stack).org_id, "owner")


@pytest.fixture
def me(stack: Stack, email: str) -> Iterator[httpx.Client]:
    """That member, signed in without a second factor."""
    token = _sign_in(stack, email).json()["token"]
    with httpx.Client(base_url=stack.base_url, headers={"authorization": f"Bearer {token}"}) as client:
        yield client


def _turn_on(me: httpx.Client, evidence: Evidence) -> tuple[pyotp.TOTP, list[str], str]:
    """(authenticator, recovery codes, the code that confirmed it)."""
    made = me.post("/users/me/totp", json={"password": PASSWORD}).json()
    evidence.secret(made["secret"])
    totp = pyotp.TOTP(made["secret"])
    assert made["uri"].startswith("otpauth://totp/Inferhouse:")
    code = totp.now()
    codes = me.post("/users/me/totp/confirm", json={"code": code}).json()["recovery_codes"]
    for one in codes:
        evidence.secret(one)
    return totp, codes, code


def test_setting_it_up_needs_the_password_and_a_right_code(stack: Stack, me: httpx.Client, email: str) -> None:
    assert error(me.post("/users/me/totp", json={}))[2] == "password"
    assert error(me.post("/users/me/totp", json={"password": "wrong"}))[2] == "password"
    assert error(me.post("/users/me/totp/confirm", json={"code": "000000"}))[:2] == (409, "conflict")
    assert me.post("/users/me/totp", json={"password": PASSWORD}).status_code == 200
    assert error(me.post("/users/me/totp/confirm", json={"code": "00000x"}))[2] == "code"
    assert _sign_in(stack, email).status_code == 200  # one that was never confirmed locks nobody out


def test_a_code_is_asked_for_and_works_once(stack: Stack, me: httpx.Client, email: str, evidence: Evidence) -> None:
    totp, recovery, used = _turn_on(me, evidence)
    assert me.get("/sessions/current").json()["second_factor"] is True
    missing = _sign_in(stack, email)
    assert error(missing) == (401, "totp_required", "totp_code")
    assert error(_sign_in(stack, email, totp_code=used))[2] == "totp_code"
    assert error(_sign_in(stack, email, totp_code="000000"))[0] == 401
    assert _sign_in(stack, email, totp_code=recovery[0].upper()).json()["second_factor"] is True
    assert _sign_in(stack, email, totp_code=recovery[0]).status_code == 401
    assert error(me.post("/users/me/totp", json={"password": PASSWORD}))[:2] == (409, "already_exists")
    assert error(me.post("/users/me/totp/disable", json={"code": recovery[0]}))[2] == "code"
    assert me.post("/users/me/totp/disable", json={"code": recovery[1]}).json()["deleted"] is True
    assert _sign_in(stack, email).status_code == 200
    assert [event for event in events(stack) if "totp" in event] == ["user.totp_enabled", "user.totp_disabled"]
    row = stack.db.execute("select totp_secret, recovery_hashes from control.users where email = %s", [email]).fetchone()
    assert row == (None, [])
    assert totp.secret not in stack.router.log.read_text()


def test_guessing_codes_is_stopped(stack: Stack, me: httpx.Client, email: str, evidence: Evidence) -> None:
    _turn_on(me, evidence)
    codes = [_sign_in(stack, email, totp_code=f"{number:06}").status_code for number in range(6)]
    assert (codes[0], codes[-1]) == (401, 429)


def test_an_organization_that_asks_for_it_shows_nothing_without(
    stack: Stack, me: httpx.Client, email: str, evidence: Evidence
) -> None:
    stack.db.execute("update control.organizations set totp_required = true")
    stack.db.commit()
    refused = me.get("/organization/projects")
    assert error(refused)[:2] == (403, "not_allowed")
    assert "second factor" in refused.json()["error"]["message"]
    assert [org["second_factor_needed"] for org in me.get("/sessions/current").json()["organizations"]] == [True]
    by_key = httpx.get(stack.base_url + "/models", headers={"authorization": f"Bearer {stack.api_key}"})
    assert by_key.status_code == 200
    _turn_on(me, evidence)
    assert me.get("/organization/projects").status_code == 200
    assert [org["second_factor_needed"] for org in me.get("/sessions/current").json()["organizations"]] == [False]
