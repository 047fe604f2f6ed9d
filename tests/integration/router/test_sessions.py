"""Sessions: each can be ended, a copied token ends its session, and guessing is slow."""

import concurrent.futures

import httpx
import pytest

from tests.integration.router.callers import PASSWORD, add_user, demo, error, events, owner
from tests.integration.router.conftest import Stack

FAILURES = 5  # free for one address of mail from one network address


def _sign_in(stack: Stack, email: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    return httpx.post(stack.base_url + "/sessions", json={"email": email, "password": password, **more}, timeout=60)


def _current(stack: Stack, token: str) -> int:
    return httpx.get(stack.base_url + "/sessions/current", headers=_bearer(token)).status_code


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def email(stack: Stack) -> str:
    """A member of the demo organization."""
    return add_user(stack, demo(stack).org_id, "member")


def test_ways_to_sign_in_are_told(stack: Stack) -> None:
    said = httpx.get(stack.base_url + "/sessions/methods").json()
    assert (said["password"], said["device"], said["oidc"]) == (True, False, None)


def test_a_session_that_was_ended_is_worth_nothing_at_once(stack: Stack, email: str) -> None:
    first, second = (_sign_in(stack, email).json() for _ in range(2))
    listed = httpx.get(stack.base_url + "/sessions", headers=_bearer(first["token"])).json()["data"]
    assert [(row["id"], row["current"]) for row in listed] == [(second["id"], False), (first["id"], True)]
    assert [row["ip"] for row in listed] == ["127.0.0.1", "127.0.0.1"]
    ended = httpx.delete(f"{stack.base_url}/sessions/{second['id']}", headers=_bearer(first["token"]))
    assert ended.json()["deleted"] is True
    assert (_current(stack, first["token"]), _current(stack, second["token"])) == (200, 401)
    again = httpx.delete(f"{stack.base_url}/sessions/{second['id']}", headers=_bearer(first["token"]))
    assert error(again) == (404, "not_found", "session_id")
    assert httpx.delete(stack.base_url + "/sessions/current", headers=_bearer(first["token"])).status_code == 200
    assert _current(stack, first["token"]) == 401
    wanted = ["login.succeeded", "login.succeeded", "session.revoked", "logout.succeeded"]
    assert events(stack, sign_ins=True) == wanted


def test_nobody_ends_somebody_elses_session(stack: Stack, email: str) -> None:
    theirs = _sign_in(stack, stack.email, stack.password).json()
    mine = _sign_in(stack, email).json()
    refused = httpx.delete(f"{stack.base_url}/sessions/{theirs['id']}", headers=_bearer(mine["token"]))
    assert error(refused) == (404, "not_found", "session_id")
    assert _current(stack, theirs["token"]) == 200


def test_a_rotated_token_works_for_a_moment_and_a_copy_ends_the_session(stack: Stack, email: str) -> None:
    tokens = [_sign_in(stack, email).json()["token"]]
    for _ in range(2):
        tokens.append(httpx.post(stack.base_url + "/sessions/current/rotate", headers=_bearer(tokens[-1])).json()["token"])
    assert [_current(stack, token) for token in tokens[:0:-1]] == [200, 200]
    late = httpx.post(stack.base_url + "/sessions/current/rotate", headers=_bearer(tokens[1]))
    assert error(late)[:2] == (409, "conflict")
    copied = httpx.get(stack.base_url + "/sessions/current", headers=_bearer(tokens[0]))
    assert (copied.status_code, "replaced" in copied.json()["error"]["message"]) == (401, True)
    assert _current(stack, tokens[2]) == 401
    assert events(stack)[-1] == "session.token_reused"


def test_the_token_before_stops_after_its_moment(stack: Stack, email: str) -> None:
    old = _sign_in(stack, email).json()["token"]
    new = httpx.post(stack.base_url + "/sessions/current/rotate", headers=_bearer(old)).json()["token"]
    stack.db.execute("update control.sessions set rotated_at = rotated_at - interval '61 seconds'")
    stack.db.commit()
    assert (_current(stack, old), _current(stack, new)) == (401, 401)


def test_guessing_is_stopped_and_the_right_password_counts_again_later(stack: Stack, email: str) -> None:
    answers = [_sign_in(stack, email, "a wrong password") for _ in range(FAILURES)]
    assert [answer.status_code for answer in answers] == [401] * FAILURES
    paused = stack.db.execute("select extract(epoch from max(blocked_until - last_at)) from control.login_failures").fetchone()
    assert paused == (1,)
    # A minute more: on a busy machine a password alone may take longer to compare than the first pause.
    stack.db.execute("update control.login_failures set blocked_until = blocked_until + interval '1 minute'")
    stack.db.commit()
    blocked = _sign_in(stack, email)
    assert error(blocked)[:2] == (429, "too_many_attempts")
    assert 30 <= int(blocked.headers["retry-after"]) <= 62
    assert _sign_in(stack, stack.email, stack.password).status_code == 200  # somebody else, from the same place
    stack.db.execute("update control.login_failures set blocked_until = now()")
    stack.db.commit()
    assert _sign_in(stack, email).status_code == 200
    assert [_sign_in(stack, email, "a wrong password").status_code for _ in range(FAILURES)] == [401] * FAILURES


def test_guesses_at_the_same_time_are_counted_each(stack: Stack, email: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda _: _sign_in(stack, email, "a wrong password").status_code, range(20)))
    assert (codes.count(401), codes.count(429)) == (FAILURES, 20 - FAILURES)


def test_an_address_that_nobody_has_is_stopped_alike(stack: Stack) -> None:
    codes = [_sign_in(stack, "nobody@demo.example").status_code for _ in range(FAILURES + 1)]
    assert codes == [401] * FAILURES + [429]
    subjects = stack.db.execute("select subject from control.login_failures").fetchall()
    assert all(b"nobody" not in bytes(subject[0]) for subject in subjects)


def test_each_failure_doubles_the_pause_up_to_a_bound(stack: Stack, email: str) -> None:
    stack.db.execute("update control.login_failures set failures = 0")
    pauses = []
    for _ in range(16):
        _sign_in(stack, email, "a wrong password")
        found = stack.db.execute(
            "select max(extract(epoch from blocked_until - last_at)) from control.login_failures where blocked_until is not null"
        ).fetchone()
        pauses.append(float(found[0]) if found and found[0] is not None else 0)
        stack.db.execute(
            "update control.login_failures set blocked_until = now() - interval '1 s' where blocked_until is not null"
        )
        stack.db.commit()
    assert pauses[3:8] == [0, 1, 2, 4, 8]
    assert pauses[-1] == 900


def test_a_new_password_ends_every_other_session(stack: Stack, email: str) -> None:
    here, there = (_sign_in(stack, email).json()["token"] for _ in range(2))
    path = stack.base_url + "/users/me/password"
    wrong = httpx.post(path, json={"current_password": "wrong", "new_password": "long enough a password"}, headers=_bearer(here))
    assert error(wrong)[2] == "current_password"
    short = httpx.post(path, json={"current_password": PASSWORD, "new_password": "short"}, headers=_bearer(here))
    assert error(short) == (400, "invalid_request", "new_password")
    done = httpx.post(path, json={"current_password": PASSWORD, "new_password": "long enough a password"}, headers=_bearer(here))
    assert done.json()["revoked_sessions"] == 1
    assert (_current(stack, here), _current(stack, there)) == (200, 401)
    assert _sign_in(stack, email).status_code == 401
    assert _sign_in(stack, email, "long enough a password").status_code == 200


def test_other_sessions_are_ended_together(stack: Stack, email: str) -> None:
    tokens = [_sign_in(stack, email).json()["token"] for _ in range(3)]
    ended = httpx.post(stack.base_url + "/sessions/revoke_others", headers=_bearer(tokens[1])).json()
    assert ended["revoked"] == 2
    assert [_current(stack, token) for token in tokens] == [401, 200, 401]


def test_a_key_has_no_session(stack: Stack) -> None:
    with owner(stack) as client:
        for method, path in (("GET", "/sessions"), ("POST", "/sessions/current/rotate"), ("DELETE", "/sessions/current")):
            answer = client.request(method, path, headers=_bearer(stack.admin_key))
            assert answer.status_code == 401, path


class TestWithoutPasswords:
    """An installation that signs people in with its identity provider only."""

    @pytest.fixture
    def router_env(self) -> dict[str, str]:
        return {
            "ROUTER_PASSWORD_SIGN_IN": "false",
            "ROUTER_OIDC_ISSUER": "http://127.0.0.1:9/nobody",
            "ROUTER_OIDC_CLIENT_ID": "inferhouse",
        }

    def test_a_right_password_is_refused_and_says_why(self, stack: Stack) -> None:
        refused = _sign_in(stack, stack.email, stack.password)
        assert error(refused)[:2] == (403, "not_allowed")
        assert "identity provider" in refused.json()["error"]["message"]
        away = httpx.post(stack.base_url + "/sessions/oidc/start", json={"redirect_uri": "http://127.0.0.1:1/"})
        assert error(away)[:2] == (503, "not_ready")
