"""Clients of the management API for tests: the demo's owner, who is also a platform admin, and others with less."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.factories import Tenant
from tests.integration.router.conftest import Stack
from warehouse.base.ids import public_id
from warehouse.identity.keys import ApiKeySecret
from warehouse.identity.passwords import hash_password

PASSWORD = "a password of the tests"
_HASH = hash_password(PASSWORD)


@contextmanager
def owner(stack: Stack) -> Iterator[httpx.Client]:
    """The demo's owner and platform admin, in the demo organization."""
    with signed_in(stack, stack.email, stack.password) as client:
        yield client


@contextmanager
def signed_in(stack: Stack, email: str, password: str = PASSWORD) -> Iterator[httpx.Client]:
    """Somebody, in the first of their organizations."""
    session = httpx.post(stack.base_url + "/sessions", json={"email": email, "password": password}).json()
    headers = {"authorization": f"Bearer {session['token']}", "OpenAI-Organization": session["organizations"][0]["id"]}
    with httpx.Client(base_url=stack.base_url, headers=headers, timeout=60) as client:
        yield client


@contextmanager
def with_key(stack: Stack, key: str) -> Iterator[httpx.Client]:
    """Whoever has this key."""
    with httpx.Client(base_url=stack.base_url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        yield client


def add_user(stack: Stack, org_id: int, role: str, projects: dict[int, str] | None = None) -> str:
    """A member of an organization with roles in some of its projects; the e-mail address."""
    email = f"{public_id('u')}@demo.example"
    row = stack.db.execute(
        "insert into control.users (public_id, email, name, password_hash) values (%s, %s, 'Somebody', %s) returning id",
        [public_id("user"), email, _HASH],
    ).fetchone()
    assert row is not None
    stack.db.execute("insert into control.org_members (org_id, user_id, role) values (%s, %s, %s)", [org_id, row[0], role])
    for project_id, project_role in (projects or {}).items():
        stack.db.execute(
            "insert into control.project_members (org_id, project_id, user_id, role) values (%s, %s, %s, %s)",
            [org_id, project_id, row[0], project_role],
        )
    stack.db.commit()
    return email


def add_key(stack: Stack, org_id: int, project_id: int | None, scopes: list[str]) -> str:
    """A key of a project, or of the organization; the whole key."""
    secret = ApiKeySecret.generate()
    stack.db.execute(
        "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id, scopes)"
        " values (%s, %s, %s, 'key', %s, %s, %s)",
        [secret.public_id, secret.hash(stack.pepper), "inference" if project_id else "admin", org_id, project_id, scopes],
    )
    stack.db.commit()
    return secret.reveal()


def add_project(stack: Stack, org_id: int, name: str) -> tuple[int, str]:
    """(internal id, public id) of a new project."""
    project = public_id("proj")
    query = "insert into control.projects (public_id, org_id, name) values (%s, %s, %s) returning id"
    row = stack.db.execute(query, [project, org_id, name]).fetchone()
    stack.db.commit()
    assert row is not None
    return row[0], project


def demo(stack: Stack) -> Tenant:
    """The ids of the demo organization, its project and its key."""
    row = stack.db.execute(
        "select o.id, p.id, k.id, o.public_id from control.organizations o join control.projects p on p.org_id = o.id"
        " join control.api_keys k on k.project_id = p.id where o.name = 'Demo' order by p.id, k.id limit 1"
    ).fetchone()
    stack.db.commit()
    assert row is not None
    return Tenant(*row)


def error(answer: httpx.Response) -> tuple[int, str, Any]:
    """(status, code, param) of a refusal."""
    said = answer.json()["error"]
    return answer.status_code, said["code"], said["param"]


def events(stack: Stack, *, sign_ins: bool = False) -> list[str]:
    """Types of the audit log's entries, in order; sign-ins, which every test makes, only where they are asked for."""
    rows = stack.db.execute("select event_type from control.audit_log order by sequence").fetchall()
    stack.db.commit()
    return [row[0] for row in rows if sign_ins or not row[0].startswith("login.")]
