"""Invites: who may give what away, one open invite for an address, and a token that works once for the right person."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pyotp
import pytest

from router.management.throttle import PAIR_FREE
from tests.factories import Tenant
from tests.integration.router.callers import (
    PASSWORD,
    add_key,
    add_project,
    add_user,
    demo,
    error,
    events,
    owner,
    signed_in,
    with_key,
)
from tests.integration.router.conftest import Stack
from tests.integration.router.evidence import Evidence
from warehouse.base.ids import public_id

INVITES = "/organization/invites"
NEW = "a password that is new"
PORTAL = "https://portal.example/inferhouse"


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_PORTAL_URL": PORTAL}


@pytest.fixture
def boss(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def _invite(client: httpx.Client, email: str = "new@demo.example", role: str = "member", **more: Any) -> dict[str, Any]:
    answer = client.post(INVITES, json={"email": email, "role": role, **more})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _accept(stack: Stack, token: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    return httpx.post(stack.base_url + "/invites/accept", json={"token": token, **more}, headers=headers)


def _person(name: str = "Ada", password: str = NEW) -> dict[str, str]:
    return {"name": name, "password": password}


def _set(stack: Stack, statement: str, *values: Any) -> None:
    assert stack.db.execute(statement.encode(), values).rowcount >= 1
    stack.db.commit()


def _changes(stack: Stack) -> list[str]:
    return [event for event in events(stack) if not event.startswith("login")]


def _other_organization(stack: Stack) -> Tenant:
    row = stack.db.execute(
        "insert into control.organizations (public_id, name) values (%s, 'Elsewhere') returning id, public_id", [public_id("org")]
    ).fetchone()
    stack.db.commit()
    assert row is not None
    return Tenant(row[0], 0, 0, row[1])


def test_nobody_invites_to_more_than_he_has(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    admin_key = add_key(stack, tenant.org_id, None, ["admin"])
    emails = {role: add_user(stack, tenant.org_id, role) for role in ("admin", "member", "auditor", "billing")}
    for role in ("member", "billing", "auditor"):
        with signed_in(stack, emails[role]) as client:
            assert client.post(INVITES, json={"email": "x@demo.example", "role": "member"}).status_code == 403
            assert client.get(INVITES).status_code == (200 if role == "auditor" else 403)
    to_own = _invite(boss, "second@demo.example", "owner")
    with signed_in(stack, emails["admin"]) as admin, with_key(stack, admin_key) as key:
        for client in (admin, key):
            refused = client.post(INVITES, json={"email": "x@demo.example", "role": "owner"})
            assert error(refused)[:2] == (403, "not_allowed")
            assert "owners.write" in refused.json()["error"]["message"]
            assert client.post(f"{INVITES}/{to_own['id']}/resend").status_code == 403
        assert _invite(admin, "third@demo.example", "admin")["status"] == "pending"
        assert _invite(key, "fourth@demo.example", "billing")["invited_by"].startswith("key_")
    assert _changes(stack) == ["invite.sent"] * 3


def test_what_cannot_be_is_refused_with_the_field(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    email = add_user(stack, tenant.org_id, "member")
    other = _other_organization(stack)
    _, foreign = add_project(stack, other.org_id, "Foreign")
    _, archived = add_project(stack, tenant.org_id, "Archived")
    boss.post(f"/organization/projects/{archived}/archive")

    def refused(**body: Any) -> tuple[int, str, Any]:
        return error(boss.post(INVITES, json={"email": "x@demo.example", "role": "member", **body}))

    assert refused(email=email.upper()) == (409, "already_exists", "email")
    said = boss.post(INVITES, json={"email": email, "role": "admin"}).json()["error"]["message"]
    assert "POST /v1/organization/users/user_" in said
    assert refused(email="nobody") == (400, "invalid_request", "email")
    assert refused(role="king")[0] == 400
    assert refused(expires_in_days=0)[2] == refused(expires_in_days=31)[2] == "expires_in_days"
    assert refused(projects=[{"id": foreign, "role": "viewer"}]) == (404, "not_found", "projects")
    assert refused(projects=[{"id": archived, "role": "viewer"}]) == (409, "conflict", "projects")
    _, project = add_project(stack, tenant.org_id, "Search")
    assert refused(projects=[{"id": project, "role": role} for role in ("viewer", "admin")]) == (
        400,
        "invalid_request",
        "projects",
    )
    assert error(boss.get(f"{INVITES}/invite_000000000000")) == (404, "not_found", "invite_id")
    assert error(boss.delete(f"{INVITES}/invite_000000000000")) == (404, "not_found", "invite_id")
    made = _invite(boss)
    again = boss.post(INVITES, json={"email": "NEW@demo.example", "role": "member"})
    assert error(again) == (409, "already_exists", "email")
    assert f"{made['id']}/resend" in again.json()["error"]["message"]
    headers = {"OpenAI-Organization": other.organization}
    assert boss.get(f"{INVITES}/{made['id']}", headers=headers).status_code == 404
    assert boss.delete(f"{INVITES}/{made['id']}", headers=headers).status_code == 404
    assert boss.get(INVITES, headers=headers).json()["data"] == []


def test_somebody_new_joins_with_the_roles_that_still_make_sense(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    _, kept = add_project(stack, tenant.org_id, "Kept")
    _, gone = add_project(stack, tenant.org_id, "Gone")
    made = _invite(boss, role="billing", projects=[{"id": kept, "role": "admin"}, {"id": gone, "role": "viewer"}])
    assert (made["object"], made["status"]) == ("organization.invite", "pending")
    assert made["url"] == f"{PORTAL}/invite?token={made['token']}"
    assert made["expires_at"] - made["created_at"] == 7 * 24 * 3600
    boss.post(f"/organization/projects/{gone}/archive")
    assert error(_accept(stack, made["token"])) == (400, "invalid_request", "name")
    assert error(_accept(stack, made["token"], name="Ada")) == (400, "invalid_request", "password")
    assert error(_accept(stack, made["token"], **_person(password="too short"))) == (400, "invalid_request", "password")
    assert error(_accept(stack, made["token"], **_person(name=" "))) == (400, "invalid_request", "name")
    joined = _accept(stack, made["token"], **_person()).json()
    assert joined["organization"] == {"id": tenant.organization, "name": "Demo"}
    assert (joined["role"], joined["user"]["email"]) == ("billing", "new@demo.example")
    assert joined["projects"] == [{"id": kept, "role": "admin"}]
    with signed_in(stack, "new@demo.example", NEW) as client:
        assert client.get(f"/organization/projects/{kept}").status_code == 200
        assert client.post(f"/organization/projects/{kept}", json={"name": "Renamed"}).status_code == 200
    seen = boss.get(f"{INVITES}/{made['id']}").json()
    assert (seen["status"], "token" in seen) == ("accepted", False)
    kinds = ["invite.sent", "project.archived", "invite.accepted", "user.added", "project_user.created", "project.updated"]
    assert _changes(stack) == kinds
    assert error(boss.delete(f"{INVITES}/{made['id']}")) == (409, "conflict", "invite_id")
    assert error(boss.post(f"{INVITES}/{made['id']}/resend")) == (409, "conflict", "invite_id")


def test_a_token_works_once(stack: Stack, boss: httpx.Client) -> None:
    token = _invite(boss)["token"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: _accept(stack, token, **_person(f"Ada {number}")), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert error(_accept(stack, token, **_person())) == (409, "conflict", "token")
    assert "accepted already" in _accept(stack, token).json()["error"]["message"]
    assert stack.db.execute("select count(*) from control.users where email = 'new@demo.example'").fetchone() == (1,)


def test_tokens_that_are_worth_nothing_say_why_and_nothing_else(stack: Stack, boss: httpx.Client) -> None:
    wrong = f"inv-ih-{'A' * 20}{'b' * 20}"
    for token in (wrong, "nothing", "\0"):
        assert error(_accept(stack, token, **_person())) == (404, "not_found", "token")
    made = _invite(boss)
    resent = boss.post(f"{INVITES}/{made['id']}/resend", json={"expires_in_days": 30}, headers={"if-match": '"1"'})
    assert resent.json()["expires_at"] > made["expires_at"]
    assert boss.post(f"{INVITES}/{made['id']}/resend", headers={"if-match": '"1"'}).status_code == 412
    assert error(_accept(stack, made["token"], **_person())) == (404, "not_found", "token")
    token = resent.json()["token"]
    assert resent.json()["url"].endswith(token)
    assert token != made["token"]
    _set(stack, "update control.invites set expires_at = now() - interval '1 second' where public_id = %s", made["id"])
    expired = _accept(stack, token, **_person())
    assert (error(expired), "has expired" in expired.text, "Demo" in expired.text) == ((409, "conflict", "token"), True, False)
    newest = boss.post(f"{INVITES}/{made['id']}/resend").json()["token"]
    assert boss.delete(f"{INVITES}/{made['id']}").json() == {
        "object": "organization.invite.deleted", "id": made["id"], "deleted": True,
    }  # fmt: skip
    assert boss.delete(f"{INVITES}/{made['id']}").status_code == 200
    assert error(boss.post(f"{INVITES}/{made['id']}/resend")) == (409, "conflict", "invite_id")
    withdrawn = _accept(stack, newest, **_person())
    assert (error(withdrawn), "withdrawn" in withdrawn.text) == ((409, "conflict", "token"), True)
    sent = ["invite.sent", "invite.resent", "invite.resent", "invite.deleted"]
    assert _changes(stack) == sent


def test_an_expired_invite_gives_way_to_a_new_one(stack: Stack, boss: httpx.Client) -> None:
    old = _invite(boss)
    _set(stack, "update control.invites set expires_at = now() - interval '1 second' where public_id = %s", old["id"])
    new = _invite(boss, expires_in_days=1)
    assert error(_accept(stack, old["token"], **_person()))[:2] == (409, "conflict")

    def ids(**filters: str) -> list[str]:
        return [invite["id"] for invite in boss.get(INVITES, params=filters).json()["data"]]

    assert (ids(status="expired"), ids(status="pending"), ids(status="revoked")) == ([old["id"]], [new["id"]], [])
    assert ids(email="NEW@demo.example") == [old["id"], new["id"]]
    assert ids(limit="1", after=old["id"]) == [new["id"]]
    assert _accept(stack, new["token"], **_person()).status_code == 200
    assert ids(status="accepted") == [new["id"]]


def test_a_repeated_create_answers_without_the_token(stack: Stack, boss: httpx.Client) -> None:
    body = {"email": "new@demo.example", "role": "member"}
    first, second = (boss.post(INVITES, json=body, headers={"idempotency-key": "one"}).json() for _ in range(2))
    assert first["id"] == second["id"]
    assert (first["token"][:7], second["token"], second["url"]) == ("inv-ih-", None, None)
    assert _changes(stack) == ["invite.sent"]


def test_who_has_a_user_here_proves_it(stack: Stack, boss: httpx.Client) -> None:
    tenant, other = demo(stack), _other_organization(stack)
    email, stranger = add_user(stack, other.org_id, "member"), add_user(stack, tenant.org_id, "member")
    token = _invite(boss, email.upper())["token"]
    assert error(_accept(stack, token, **_person())) == (401, "invalid_api_key", "password")
    assert error(_accept(stack, token, name="Ada")) == (401, "invalid_api_key", "password")
    with signed_in(stack, stranger) as client:
        refused = _accept(stack, token, {"authorization": client.headers["authorization"]}, password=PASSWORD)
        assert (refused.status_code, email in refused.text) == (403, False)
    assert _accept(stack, token, {"authorization": f"Bearer {stack.admin_key}"}, password=PASSWORD).status_code == 401
    assert _accept(stack, token, password=PASSWORD).json()["user"]["email"] == email
    joined = stack.db.execute("select m.role from control.org_members m join control.users u on u.id = m.user_id"
                              " where u.email = %s order by m.org_id", [email]).fetchall()  # fmt: skip
    assert len(joined) == 2
    fresh = add_user(stack, other.org_id, "member")
    token = _invite(boss, fresh)["token"]
    with signed_in(stack, fresh) as client:
        assert _accept(stack, token, {"authorization": client.headers["authorization"]}).status_code == 200
    told = _invite(boss, "brand-new@demo.example")["token"]
    with signed_in(stack, fresh) as client:
        headers = {"authorization": client.headers["authorization"]}
        assert error(_accept(stack, told, headers, **_person()))[:2] == (403, "not_allowed")


def test_guessing_the_password_of_an_invited_user_is_slowed_down(stack: Stack, boss: httpx.Client) -> None:
    email = add_user(stack, _other_organization(stack).org_id, "member")
    token = _invite(boss, email)["token"]
    answers = [_accept(stack, token, password=f"a wrong guess {number}") for number in range(PAIR_FREE)]
    assert [answer.status_code for answer in answers] == [401] * PAIR_FREE
    # A minute more: on a busy machine a password alone may take longer to compare than the first pause.
    _set(stack, "update control.login_failures set blocked_until = blocked_until + interval '1 minute'")
    blocked = _accept(stack, token, password="another wrong guess")
    assert blocked.status_code == 429
    assert int(blocked.headers["retry-after"]) >= 1
    assert error(_accept(stack, token, password=PASSWORD))[:2] == (429, "too_many_attempts")


def test_a_second_factor_is_asked_for(stack: Stack, boss: httpx.Client, evidence: Evidence) -> None:
    email = add_user(stack, _other_organization(stack).org_id, "member")
    with signed_in(stack, email) as client:
        secret = client.post("/users/me/totp", json={"password": PASSWORD}).json()["secret"]
        evidence.secret(secret)
        totp = pyotp.TOTP(secret)
        codes = client.post("/users/me/totp/confirm", json={"code": totp.now()}).json()["recovery_codes"]
    for code in codes:
        evidence.secret(code)
    token = _invite(boss, email)["token"]
    assert error(_accept(stack, token, password=PASSWORD)) == (401, "totp_required", "totp_code")
    assert error(_accept(stack, token, password=PASSWORD, totp_code="000000"))[0] == 401
    assert _accept(stack, token, password=PASSWORD, totp_code=codes[0]).status_code == 200


def test_a_suspended_or_deleted_organization_and_a_disabled_user_are_refused(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    token = _invite(boss)["token"]
    for column in ("suspended_at", "deleted_at"):
        _set(stack, f"update control.organizations set {column} = now() where id = %s", tenant.org_id)
        assert error(_accept(stack, token, **_person())) == (409, "conflict", "token")
        _set(stack, f"update control.organizations set {column} = null where id = %s", tenant.org_id)
    email = add_user(stack, _other_organization(stack).org_id, "member")
    other = _invite(boss, email)["token"]
    _set(stack, "update control.users set disabled_at = now() where email = %s", email)
    assert error(_accept(stack, other, password=PASSWORD))[:2] == (403, "not_allowed")
    assert _accept(stack, token, **_person()).status_code == 200


def test_a_member_by_other_means_keeps_his_role(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    email = add_user(stack, _other_organization(stack).org_id, "member")
    token = _invite(boss, email, "admin")["token"]
    statement = (
        "insert into control.org_members (org_id, user_id, role) select %s, id, 'billing' from control.users where email = %s"
    )
    _set(stack, statement, tenant.org_id, email)
    assert error(_accept(stack, token, password=PASSWORD))[:2] == (409, "already_exists")
    (found,) = boss.get("/organization/users", params={"emails": email}).json()["data"]
    assert found["role"] == "billing"


def test_tokens_are_kept_as_hashes_only(stack: Stack, boss: httpx.Client, db: psycopg.Connection) -> None:
    token = _invite(boss)["token"]
    for table in ("invites", "audit_log", "idempotent_answers"):
        rows = db.execute(f"select t::text from control.{table} t".encode()).fetchall()
        assert not [row for row in rows if token.removeprefix("inv-ih-") in str(row)]
    assert token not in stack.router.log.read_text()
