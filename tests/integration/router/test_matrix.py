"""Every route x every role x own, sibling-project and foreign tenant, as the policy file says; new routes join by themselves."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from router.management.access import Needs, NeedsInProject
from router.management.app import PUBLIC, SIGNED_IN, needs, operations
from router.management.reach import NeedsSomewhere
from tests.integration.router.conftest import Stack
from tests.integration.router.matrix import FOREIGN, PASSWORD, SIBLING, Home, Role, Snapshot, World
from tests.integration.router.matrix_calls import body, filled, parameters, query
from warehouse.identity.policy import OWN, Principal, Scope, policy

CELLS_MIN = 1500
WRONG_SHOWN = 60
OPERATIONS = {(method, path): needs(route) for method, path, route in operations()}


@dataclass(frozen=True, slots=True)
class Cell:
    """One question: may this role do that there?"""

    method: str
    path: str
    role: Role
    tenant: str
    header: str
    """The organization that is named in the header."""
    things: dict[str, str]
    """What the path and the body name."""
    expected: str
    """allowed, refused (401 or 403, or 404 where it is hidden), unauthenticated (401), hidden (404 or 403), any."""

    def __str__(self) -> str:
        return f"{self.method} {self.path} as {self.role.name} in {self.tenant}"


@dataclass
class Matrix:
    """The cells, and what was wrong with them."""

    stack: Stack
    world: World
    snapshot: Snapshot
    document: dict[str, Any]
    client: httpx.Client
    tokens: dict[str, str]
    cells: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def ask(self, cell: Cell) -> None:
        """Send it, compare, and leave everything as it was."""
        operation = self.document["paths"][cell.path][cell.method.lower()]
        headers = {"OpenAI-Organization": cell.header}
        if cell.role.name in self.tokens:
            headers["authorization"] = f"Bearer {self.tokens[cell.role.name]}"
        sent = body(operation, self.document, cell.things | self.spare(cell))
        path = filled(cell.path, cell.things)
        arguments = {"json": sent} if sent is not None else {}
        answer = self.client.request(cell.method, path, headers=headers, params=query(operation, self.document), **arguments)
        self.cells[f"{cell.method} {cell.path}"] += 1
        problem = self._judge(cell, answer) or self._leak(cell, answer, f"{path} {sent} {cell.header}")
        changed = self._change(cell) if cell.method != "GET" else None
        problem = problem or changed
        if problem:
            self.wrong.append(f"{cell} (expected {cell.expected}): {answer.status_code} {problem}")

    def spare(self, cell: Cell) -> dict[str, str]:
        """Ids for bodies that take somebody or something new."""
        return {"user_id": self.spare_user, "email": "new@matrix.example", "password": PASSWORD}

    def _judge(self, cell: Cell, answer: httpx.Response) -> str | None:
        status = answer.status_code
        if status >= 500:
            return f"a server error: {answer.text[:300]}"
        if "x-request-id" not in answer.headers:
            return "no request id"
        refused = {
            "allowed": status in {401, 403} or (status == 404 and _about_the_path(cell, answer)),
            "refused": status not in {401, 403, 404},
            "unauthenticated": status != 401,
            "hidden": status not in {403, 404},
            "any": False,
        }[cell.expected]
        return answer.text[:300] if refused else None

    def _leak(self, cell: Cell, answer: httpx.Response, sent: str) -> str | None:
        """Names and ids of others in the answer, but for those that were sent."""
        principal = cell.role.principal
        if principal is not None and principal.platform_admin:
            return None
        for name in self.foreign_names:
            if name in answer.text and name not in sent:
                return f"tells {name}, which is another tenant's"
        bound = principal is not None and (principal.project_id is not None or bool(principal.project_roles))
        if bound and SIBLING in answer.text and cell.tenant != "sibling":
            return "tells of a project that is none of the caller's"
        return None

    def _change(self, cell: Cell) -> str | None:
        """What a refused request has changed; what an allowed one has is undone."""
        row = self.stack.db.execute("select sequence from control.audit_head").fetchone()
        self.stack.db.commit()
        assert row is not None
        if row[0] == self.sequence and cell.expected != "allowed":
            return None
        self.snapshot.restore()
        if "login_id" in parameters(cell.path):
            self.world.add_login(cell.things["login_id"])
            self.stack.db.commit()
        return "changed something" if cell.expected in {"refused", "unauthenticated", "hidden"} else None

    spare_user: str = ""
    sequence: int = 0
    foreign_names: frozenset[str] = frozenset()


def _about_the_path(cell: Cell, answer: httpx.Response) -> bool:
    """Whether a 404 is about what the path names, and not about something in the body."""
    param = answer.json()["error"]["param"]
    return param is None or param in parameters(cell.path) or param == "OpenAI-Organization"


@pytest.fixture
def matrix(stack: Stack, server_dsn: str) -> Iterator[Matrix]:
    world = World(stack.db, stack.pepper)
    document = httpx.get(f"{stack.router.url}/openapi.json").json()
    with (
        httpx.Client(base_url=stack.router.url, timeout=30) as client,
        psycopg.connect(make_conninfo(server_dsn, dbname=stack.db.info.dbname)) as superuser,
    ):
        tokens = {role.name: token for role in world.roles if (token := _token(role, client)) is not None}
        ended = world.member("expired session", world.own, "owner")
        spare = world.member("spare", world.own, "member")
        stack.db.commit()
        tokens["expired session"] = _ended_token(stack, client, ended)
        made = Matrix(stack, world, Snapshot(superuser), document, client, tokens)
        row = stack.db.execute("select sequence from control.audit_head").fetchone()
        assert row is not None
        made.spare_user, made.sequence = spare[1], row[0]
        made.foreign_names = frozenset({*world.names_of(world.foreign.org_id), FOREIGN})
        stack.db.commit()
        yield made


def _token(role: Role, client: httpx.Client) -> str | None:
    if role.key is not None:
        return role.key.reveal()
    if role.email is None:
        return None
    answer = client.post("/v1/sessions", json={"email": role.email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def _ended_token(stack: Stack, client: httpx.Client, user: tuple[int, str, str]) -> str:
    """A token that was good."""
    token = _token(Role("expired session", None, user[2]), client)
    assert token is not None
    ended = stack.db.execute(
        "update control.sessions set created_at = created_at - interval '1 day', expires_at = now() - interval '1 second'"
        " where user_id = %s",
        [user[0]],
    ).rowcount
    stack.db.commit()
    if not ended:
        stack.db.execute("update control.users set disabled_at = now() where id = %s", [user[0]])
    stack.db.commit()
    return token


def _scopes(matrix: Matrix, path: str) -> Iterator[tuple[str, Home, int, str]]:
    """(tenant, whose things, of which project, the organization of the header)."""
    own, foreign = matrix.world.own, matrix.world.foreign
    yield "own", own, 0, own.organization
    if parameters(path):
        yield "sibling", own, 1, own.organization
        yield "foreign, by ids in the path", foreign, 0, own.organization
    yield "foreign", foreign, 0, foreign.organization


def _cells(matrix: Matrix, method: str, path: str) -> Iterator[Cell]:
    for tenant, home, number, header in _scopes(matrix, path):
        for role in matrix.world.roles:
            expected = _expected(matrix, method, path, role, tenant)
            things = home.things[number] | matrix.world.shared
            if expected == "own" and set(role.own) & set(parameters(path)):
                yield Cell(method, path, role, f"{tenant}, of his own", header, things | role.own, "allowed")
                expected = "refused"
            yield Cell(method, path, role, tenant, header, things, "allowed" if expected == "own" else expected)


def _expected(matrix: Matrix, method: str, path: str, role: Role, tenant: str) -> str:
    """What the policy says, by the permission that the route declares and by nothing else."""
    if (method, path) in PUBLIC:
        return "any"
    if role.principal is None:
        return "unauthenticated"
    if (method, path) in SIGNED_IN:
        somebody_elses = "hidden" if parameters(path) else "allowed"
        return somebody_elses if role.principal.kind == "user" else "refused"
    (needed,) = OPERATIONS[method, path]
    if needed.permission in policy().platform:
        return "allowed" if needed.permission in policy().granted(role.principal, Scope()) else "refused"
    return _in_organization(matrix.world, needed, role.principal, tenant)


def _in_organization(world: World, needed: Needs, principal: Principal, tenant: str) -> str:
    home = world.foreign if tenant.startswith("foreign") else world.own
    project_id = home.projects[tenant == "sibling"] if isinstance(needed, NeedsInProject) else None
    granted = policy().granted(principal, Scope(home.org_id, project_id))
    if needed.permission in granted:
        return "hidden" if tenant == "foreign, by ids in the path" else "allowed"
    if home is world.foreign:
        return "hidden"
    if isinstance(needed, NeedsSomewhere):
        in_own_project = policy().granted(principal, Scope(home.org_id, home.projects[0]))
        if needed.permission in in_own_project:
            return "allowed" if tenant == "own" else "hidden"
    return "own" if needed.permission + OWN in granted else "refused"


@pytest.mark.timeout(300)
def test_every_route_answers_every_role_in_every_tenant_as_the_policy_says(matrix: Matrix) -> None:
    started_s = time.monotonic()
    for method, path in OPERATIONS:
        for cell in _cells(matrix, method, path):
            matrix.ask(cell)
    print("\n".join(f"{count:5} {name}" for name, count in sorted(matrix.cells.items())))
    taken_s = time.monotonic() - started_s
    print(f"{matrix.cells.total():5} cells of {len(matrix.cells)} routes, {len(matrix.wrong)} wrong, {taken_s:.0f} s")
    assert not matrix.wrong, "\n".join(matrix.wrong[:WRONG_SHOWN])
    assert set(matrix.cells) == {f"{method} {path}" for method, path in OPERATIONS}
    assert matrix.cells.total() >= CELLS_MIN
