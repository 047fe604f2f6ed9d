"""`/v1/organization/sql_access`: read-only logins to the marts of an organization."""

import secrets
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import Conflict, IdempotencyKey, changing, creating
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import sql_access
from warehouse.access.sql_access import SqlLogin
from warehouse.base.errors import NotFound
from warehouse.base.ids import public_id

router = routes("SQL access", "/organization/sql_access")
LOGINS_MAX = 20
PREFIX = "inferhouse_sql_"
PASSWORD_BYTES = 24
ORGANIZATION_CHARACTERS = 20  # of its id in a login's name; a name in PostgreSQL has at most 63 bytes
STATEMENT_S_MAX = 60
CONNECTIONS_MAX = 10
LoginId = Annotated[str, Path(max_length=63)]
SECRET = frozenset({"password"})


class SqlAccessShape(BaseModel):
    """A login. Its sessions see the rows of this organization in schema marts, and cannot write."""

    object: Literal["organization.sql_access"] = "organization.sql_access"
    id: str
    name: str
    database: str
    statement_s_max: int = Field(default=STATEMENT_S_MAX, description="A default that a session can raise; see docs/sql.md.")
    connections_max: int = CONNECTIONS_MAX
    created_by: str | None
    created_at: int
    rotated_at: int | None

    @classmethod
    def values(cls, row: SqlLogin) -> dict[str, Any]:
        """The fields of a row."""
        return {
            "id": row.login,
            "name": row.name,
            "database": row.database,
            "created_by": row.created_by,
            "created_at": int(row.created_at.timestamp()),
            "rotated_at": int(row.rotated_at.timestamp()) if row.rotated_at else None,
        }


class SqlAccessSecret(SqlAccessShape):
    """A login with its password, which is shown this once and kept nowhere."""

    password: str | None = Field(description="Null where the answer to an earlier request is repeated.")


class SqlAccessBody(BaseModel):
    """A new login."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$", description="What it is for.")


class SqlAccessDeleted(BaseModel):
    """A login that is no more."""

    object: Literal["organization.sql_access.deleted"] = "organization.sql_access.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("", response_model=Listed[SqlAccessShape])
async def list_sql_access(access: Annotated[Access, Depends(Needs("sql_access.read"))], window: Paged) -> Listed[SqlAccessShape]:
    """Logins by name."""
    async with access.transaction() as conn:
        rows = await sql_access.page(conn, access.org.id, **window.sorted_values)
    return window.page([SqlAccessShape(**SqlAccessShape.values(row)) for row in rows], [row.login for row in rows])


@router.post("", response_model=SqlAccessSecret)
async def create_sql_access(
    body: SqlAccessBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("sql_access.write"))],
    idempotency_key: IdempotencyKey = None,
) -> SqlAccessSecret | dict[str, Any]:
    """A new login; its password is shown once. Raises: Conflict: the organization has as many as it may."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        if await sql_access.lock(creation.conn, access.org.id) >= LOGINS_MAX:
            raise Conflict(f"an organization has at most {LOGINS_MAX} SQL logins: delete one")
        password, login = secrets.token_urlsafe(PASSWORD_BYTES), _login(access)
        made_by = access.principal.public_id
        row = await sql_access.add(creation.conn, access.org.id, login, password, name=body.name, created_by=made_by)
        shown = SqlAccessShape(**SqlAccessShape.values(row))
        await creation.changing.record("sql_access.created", row.login, after=shown)
        shape = SqlAccessSecret(**SqlAccessShape.values(row), password=password)
        await creation.keep(shape, secrets=SECRET)
        return shape


@router.get("/{login_id}", response_model=SqlAccessShape)
async def get_sql_access(login_id: LoginId, access: Annotated[Access, Depends(Needs("sql_access.read"))]) -> SqlAccessShape:
    """One login."""
    async with access.transaction() as conn:
        row = _there(await sql_access.find(conn, access.org.id, login_id))
    return SqlAccessShape(**SqlAccessShape.values(row))


@router.post("/{login_id}/rotate", response_model=SqlAccessSecret)
async def rotate_sql_access(login_id: LoginId, access: Annotated[Access, Depends(Needs("sql_access.write"))]) -> SqlAccessSecret:
    """A new password, shown once. The old one stops at once, and its sessions end."""
    async with changing(access) as change:
        await sql_access.lock(change.conn, access.org.id)
        before = _there(await sql_access.find(change.conn, access.org.id, login_id))
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        row = await sql_access.rotate(change.conn, access.org.id, login_id, password)
        was, now = (SqlAccessShape(**SqlAccessShape.values(login)) for login in (before, row))
        await change.record("sql_access.rotated", login_id, before=was, after=now)
    return SqlAccessSecret(**SqlAccessShape.values(row), password=password)


@router.delete("/{login_id}", response_model=SqlAccessDeleted)
async def delete_sql_access(login_id: LoginId, access: Annotated[Access, Depends(Needs("sql_access.write"))]) -> SqlAccessDeleted:
    """The login goes at once, and its sessions end."""
    async with changing(access) as change:
        await sql_access.lock(change.conn, access.org.id)
        before = _there(await sql_access.find(change.conn, access.org.id, login_id))
        await sql_access.remove(change.conn, access.org.id, login_id)
        await change.record("sql_access.deleted", login_id, before=SqlAccessShape(**SqlAccessShape.values(before)))
    return SqlAccessDeleted(id=login_id)


def _login(access: Access) -> str:
    """A name that tells whose it is, and that nobody had before."""
    organization = access.org.public_id.removeprefix("org_")[:ORGANIZATION_CHARACTERS]
    return f"{PREFIX}{organization}_{public_id('x')[2:10]}"


def _there(row: SqlLogin | None) -> SqlLogin:
    if row is None:
        raise NotFound("there is no such SQL login in this organization", param="login_id")
    return row
