"""Sign-in at a real OpenID Connect provider: discovery, PKCE, nonce, users made just in time, and groups that give roles."""

import html
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.identity_provider import CLIENT_ID, CLIENT_SECRET, Person, identity_provider
from tests.integration.router.callers import add_project, demo, error, events
from tests.integration.router.command import Command
from tests.integration.router.conftest import Stack
from tests.integration.router.evidence import Evidence
from tests.processes import ServerProcess, running
from tests.services import ROOT, free_port
from warehouse.base.ids import public_id

PORT = free_port()
BACK = f"http://127.0.0.1:{PORT}/callback"
ADA = Person("ada", "ada@people.example", secrets.token_hex(12), ["engineering", "leads"])
BOB = Person("bob", "bob@people.example", secrets.token_hex(12), ["engineering"])
EVE = Person("eve", "eve@people.example", secrets.token_hex(12), [])
ORGANIZATION = public_id("org")


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The provider, with three people."""
    log = tmp_path_factory.mktemp("provider") / "provider.log"
    with running(identity_provider(free_port(), log, [ADA, BOB, EVE], [BACK])) as server:
        yield server


@pytest.fixture
def router_env(provider: ServerProcess, evidence: Evidence) -> dict[str, str]:
    for secret in (CLIENT_SECRET, ADA.password, BOB.password, EVE.password):
        evidence.secret(secret)
    return {
        "ROUTER_OIDC_ISSUER": provider.url,
        "ROUTER_OIDC_CLIENT_ID": CLIENT_ID,
        "ROUTER_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "ROUTER_OIDC_SCOPES": "openid email profile groups",
        "ROUTER_OIDC_GROUP_ROLES": f"engineering={ORGANIZATION}:member, leads={ORGANIZATION}:admin",
        "ROUTER_OIDC_EMAIL_TRUSTED": "true",  # this provider does not say whether it has verified an address
    }


@pytest.fixture
def stack(stack: Stack) -> Stack:
    """The demo organization, under the id that groups are mapped to."""
    stack.db.execute("update control.organizations set public_id = %s", [ORGANIZATION])
    stack.db.commit()
    return stack


def _start(stack: Stack, redirect_uri: str = BACK) -> httpx.Response:
    return httpx.post(stack.base_url + "/sessions/oidc/start", json={"redirect_uri": redirect_uri}, timeout=20)


def _back(stack: Stack, state: str, code: str) -> httpx.Response:
    return httpx.post(stack.base_url + "/sessions/oidc", json={"state": state, "code": code}, timeout=20)


def _at_provider(url: str, person: Person) -> dict[str, str]:
    """What the browser comes back with, once somebody has typed name and password into the provider's own pages."""
    time.sleep(1 - time.time() % 1)  # this provider cannot make two tokens for one person in the same second
    with httpx.Client() as browser:
        page = browser.get(url)
        for _ in range(12):
            if page.is_redirect:
                target = page.url.join(page.headers["location"])
                if str(target).startswith(BACK):
                    return {name: values[0] for name, values in parse_qs(urlsplit(str(target)).query).items()}
                page = browser.get(target)
                continue
            assert page.status_code == 200, page.text
            hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)"[^>]*value="([^"]*)"', page.text))
            typed = {"login": person.name} if 'name="login"' in page.text else {"password": person.password}
            page = browser.post(page.url, data={name: html.unescape(value) for name, value in hidden.items()} | typed)
    raise AssertionError("the provider goes on asking")


def _sign_in(stack: Stack, person: Person) -> dict[str, Any]:
    begun = _start(stack).json()
    came = _at_provider(begun["authorization_url"], person)
    assert came["state"] == begun["state"]
    answer = _back(stack, came["state"], came["code"])
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    return session


def _roles(session: dict[str, Any]) -> dict[str, str]:
    return {org["id"]: org["role"] for org in session["organizations"]}


def test_a_new_person_is_made_with_the_role_of_the_groups(stack: Stack) -> None:
    methods = httpx.get(stack.base_url + "/sessions/methods").json()
    assert methods["oidc"]["issuer"].startswith("http://127.0.0.1:")
    first = _sign_in(stack, ADA)
    assert (first["method"], first["second_factor"], first["user"]["email"], first["user"]["name"]) == (
        "oidc",
        True,
        ADA.email,
        "Ada",
    )
    assert _roles(first) == {ORGANIZATION: "admin"}
    again = _sign_in(stack, ADA)
    assert again["user"]["id"] == first["user"]["id"]
    assert _roles(_sign_in(stack, BOB)) == {ORGANIZATION: "member"}
    assert _roles(_sign_in(stack, EVE)) == {}
    assert events(stack) == ["user.added", "user.added"]


def test_what_the_browser_is_sent_with(stack: Stack) -> None:
    asked = parse_qs(urlsplit(_start(stack).json()["authorization_url"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["nonce"][0]) >= 40
    assert len(asked["state"][0]) >= 40
    assert (asked["redirect_uri"], asked["response_type"]) == ([BACK], ["code"])
    other = parse_qs(urlsplit(_start(stack).json()["authorization_url"]).query)
    assert not {asked[name][0] for name in ("state", "nonce", "code_challenge")} & {values[0] for values in other.values()}


def test_a_way_back_works_once(stack: Stack) -> None:
    begun = _start(stack).json()
    came = _at_provider(begun["authorization_url"], BOB)
    assert _back(stack, came["state"], came["code"]).status_code == 200
    assert error(_back(stack, came["state"], came["code"])) == (401, "invalid_api_key", "state")
    assert error(_back(stack, "unknown", came["code"])) == (401, "invalid_api_key", "state")


def test_a_way_back_that_took_too_long_is_refused(stack: Stack) -> None:
    begun = _start(stack).json()
    came = _at_provider(begun["authorization_url"], BOB)
    stack.db.execute("update control.oidc_logins set expires_at = now()")
    stack.db.commit()
    assert error(_back(stack, came["state"], came["code"]))[2] == "state"


def test_a_stolen_code_is_worth_nothing_without_its_verifier(stack: Stack) -> None:
    """PKCE: the provider compares the verifier with the challenge that came with the browser."""
    mine, theirs = _start(stack).json(), _start(stack).json()
    code = _at_provider(theirs["authorization_url"], ADA)["code"]
    refused = _back(stack, mine["state"], code)
    assert error(refused)[:2] == (401, "invalid_api_key")
    assert "invalid_grant" in refused.json()["error"]["message"]


def test_a_token_of_another_sign_in_is_refused(stack: Stack) -> None:
    """The nonce: a code and a verifier that fit are not enough, if the token answers another question."""
    begun = _start(stack).json()
    came = _at_provider(begun["authorization_url"], ADA)
    stack.db.execute("update control.oidc_logins set nonce = 'another'")
    stack.db.commit()
    refused = _back(stack, came["state"], came["code"])
    assert refused.status_code == 401
    assert "not for this sign-in" in refused.json()["error"]["message"]


def test_a_code_of_nobody_and_a_foreign_way_back_are_refused(stack: Stack) -> None:
    assert _back(stack, _start(stack).json()["state"], "no code").status_code == 401
    for uri in ("https://evil.example/", "http://127.0.0.1.evil.example/", "http://localhost:80/", "javascript:alert(1)"):
        assert error(_start(stack, uri)) == (400, "invalid_request", "redirect_uri"), uri


def test_who_leaves_the_group_loses_role_and_keys_and_gifts_of_people_stay(stack: Stack) -> None:
    session = _sign_in(stack, BOB)
    organization = demo(stack).org_id
    project, _ = add_project(stack, organization, "Search")
    user_id = stack.db.execute("select id from control.users where email = %s", [BOB.email]).fetchone()
    assert user_id is not None
    stack.db.execute("update control.org_members set role = 'admin' where user_id = %s", user_id)
    stack.db.commit()
    assert _roles(_sign_in(stack, BOB)) == {ORGANIZATION: "member"}  # what a group gives, the group decides
    stack.db.execute("update control.org_members set role = 'auditor', by_group = false where user_id = %s", user_id)
    stack.db.commit()
    assert _roles(_sign_in(stack, BOB)) == {ORGANIZATION: "auditor"}
    eve = _sign_in(stack, EVE)["user"]["id"]
    stack.db.execute(
        "insert into control.org_members (org_id, user_id, role, by_group) select %s, id, 'member', true"
        " from control.users where public_id = %s",
        [organization, eve],
    )
    stack.db.execute(
        "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id, user_id)"
        " select 'abcdefghijklmnop', decode(repeat('00', 32), 'hex'), 'inference', 'key', %s, %s, id"
        " from control.users where public_id = %s",
        [organization, project, eve],
    )
    stack.db.commit()
    assert _roles(_sign_in(stack, EVE)) == {}
    revoked = stack.db.execute(
        "select revoked_at is not null from control.api_keys where public_id = 'abcdefghijklmnop'"
    ).fetchone()
    assert revoked == (True,)
    assert session["user"]["id"] != eve


def test_an_organization_keeps_its_last_owner(stack: Stack) -> None:
    _sign_in(stack, EVE)
    stack.db.execute("delete from control.org_members")
    stack.db.execute(
        "insert into control.org_members (org_id, user_id, role, by_group)"
        " select o.id, u.id, 'owner', true from control.organizations o, control.users u where u.email = %s",
        [EVE.email],
    )
    stack.db.commit()
    assert _roles(_sign_in(stack, EVE)) == {ORGANIZATION: "owner"}


def test_the_command_signs_in_with_a_browser(stack: Stack, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "INFERHOUSE_BASE_URL": stack.base_url}
    argv = [ROOT / "bin" / "inferhouse", "login", "--oidc", "--no-browser", "--port", str(PORT)]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        url = waiting.stderr.readline().removeprefix("Open ").strip()
        came = _at_provider(url, ADA)
        forged = httpx.get(BACK, params={"state": "another", "code": came["code"]})  # somebody else's link
        assert forged.status_code == 200
        assert "Signed in" in httpx.get(BACK, params=came).text
        assert ADA.email in waiting.communicate(timeout=30)[1]
        assert waiting.returncode == 0
    assert Command(stack, tmp_path).json("whoami")["method"] == "oidc"


def test_a_disabled_user_stays_out(stack: Stack) -> None:
    _sign_in(stack, BOB)
    stack.db.execute("update control.users set disabled_at = now() where email = %s", [BOB.email])
    stack.db.commit()
    begun = _start(stack).json()
    came = _at_provider(begun["authorization_url"], BOB)
    assert error(_back(stack, came["state"], came["code"]))[:2] == (403, "not_allowed")


def test_the_user_with_the_address_is_the_same_person(stack: Stack) -> None:
    stack.db.execute("update control.users set email = upper(%s)", [ADA.email])
    stack.db.commit()
    credentials = {"email": ADA.email, "password": stack.password}
    before = httpx.post(stack.base_url + "/sessions", json=credentials).json()["token"]
    session = _sign_in(stack, ADA)
    assert session["user"]["platform_admin"] is True
    # Who made the user may have been somebody else: what they know is worth nothing from now on.
    bearer = {"authorization": f"Bearer {before}"}
    assert httpx.get(stack.base_url + "/sessions/current", headers=bearer).status_code == 401
    assert httpx.post(stack.base_url + "/sessions", json=credentials).status_code == 401
    stack.db.execute("update control.users set oidc_subject = 'somebody else'")
    stack.db.commit()
    begun = _start(stack).json()
    came = _at_provider(begun["authorization_url"], ADA)
    refused = _back(stack, came["state"], came["code"])
    assert error(refused)[:2] == (403, "not_allowed")
    assert "another account" in refused.json()["error"]["message"]


class TestWithProvidersThatAreNotTrusted:
    """As a provider that anybody can join: an address counts where it is called verified."""

    @pytest.fixture
    def router_env(self, router_env: dict[str, str]) -> dict[str, str]:
        return router_env | {"ROUTER_OIDC_EMAIL_TRUSTED": "false"}

    def test_an_address_that_is_not_verified_is_nobodys(self, stack: Stack) -> None:
        begun = _start(stack).json()
        came = _at_provider(begun["authorization_url"], ADA)
        refused = _back(stack, came["state"], came["code"])
        assert error(refused)[:2] == (403, "not_allowed")
        assert "verified" in refused.json()["error"]["message"]
        assert stack.db.execute("select count(*) from control.users where oidc_subject is not null").fetchone() == (0,)


class TestWithAnotherIssuer:
    """A discovery document that is not about the issuer that was set."""

    @pytest.fixture
    def router_env(self, router_env: dict[str, str]) -> dict[str, str]:
        return router_env | {"ROUTER_OIDC_ISSUER": router_env["ROUTER_OIDC_ISSUER"] + "/"}

    def test_it_is_said(self, stack: Stack) -> None:
        refused = _start(stack)
        assert error(refused)[:2] == (503, "not_ready")
        assert "ROUTER_OIDC_ISSUER" in refused.json()["error"]["message"]
