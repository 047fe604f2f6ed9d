"""Which keys are in force, as the router asks for them."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from psycopg import AsyncConnection

from tests.integration.warehouse.conftest import PEPPER, Control
from warehouse.access.api_keys import ApiKey, find_by_public_id

ENDS = {
    "revoked": "update control.api_keys set revoked_at = now()",
    "expired": "update control.api_keys set expires_at = now()",
    "its organization suspended": "update control.organizations set suspended_at = now()",
    "its project archived": "update control.projects set archived_at = now()",
}


@pytest.fixture
def find(role_url: Callable[..., str]) -> Callable[[str], ApiKey | None]:
    def find(public_id: str) -> ApiKey | None:
        async def read() -> ApiKey | None:
            async with await AsyncConnection.connect(role_url("inferhouse_router")) as conn:
                return await find_by_public_id(conn, public_id)

        return asyncio.run(read())

    return find


Find = Callable[[str], ApiKey | None]


def test_a_key_in_force_is_found_with_its_owner(find: Find, control: Control) -> None:
    first = control.first
    key = find(first.secret.public_id)
    assert key is not None
    assert first.secret.matches(key.secret_hash, PEPPER)
    assert (key.org_id, key.project_id, key.user_id, key.models) == (first.org_id, first.project_id, first.user_id, None)
    assert repr(key.secret_hash) not in repr(key)


def test_an_unknown_key_is_not_found(find: Find, control: Control) -> None:
    assert find("0" * 16) is None


@pytest.mark.parametrize("why", ENDS)
def test_a_key_that_is_out_of_force_is_not_found(find: Find, db: psycopg.Connection, control: Control, why: str) -> None:
    db.execute(ENDS[why].encode())
    db.commit()
    assert find(control.first.secret.public_id) is None


def test_a_key_that_expires_later_is_in_force(find: Find, db: psycopg.Connection, control: Control) -> None:
    db.execute("update control.api_keys set expires_at = now() + interval '1 minute', models = array['m']")
    db.commit()
    key = find(control.first.secret.public_id)
    assert key is not None
    assert key.models == ["m"]


def test_a_key_of_one_organization_cannot_be_put_into_a_project_of_another(db: psycopg.Connection, control: Control) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        db.execute(
            "update control.api_keys set project_id = %s where id = %s", [control.second.project_id, control.first.api_key_id]
        )
