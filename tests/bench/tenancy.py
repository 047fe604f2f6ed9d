"""`python -m tests.bench.tenancy`: how long lists, filters and a cold key take with 10,000 organizations.

Every GET of the OpenAPI document that has pages is timed, as a platform admin in the largest organization, and every filter in
FILTERS; then look-ups of keys that no cache has. Bars: pages under 100 ms at the median, a cold key under 2 ms.
"""

import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy.local.postgres import OWNER, create_database, create_owner
from tests.conftest import SERVICE_ROLES
from tests.integration.router.matrix_calls import filled, parameters
from tests.processes import router, running
from tests.services import free_port, running_services
from warehouse.access import api_keys
from warehouse.access.queries import load_queries
from warehouse.identity.keys import ApiKeySecret
from warehouse.identity.passwords import hash_password
from warehouse.migrations.runner import migrate
from warehouse.role_passwords import set_role_passwords

PAGE_MS_MAX, KEY_MS_MAX = 100.0, 2.0
TRIES, KEYS = 15, 500
PEPPER, PASSWORD, EMAIL = b"a pepper of the bench", "a password of the bench", "admin@bench.example"
ORGANIZATION = "org_000000000001"
THINGS = {
    "project_id": "proj_000000000001", "user_id": "user_000000000001", "organization_id": ORGANIZATION,
    "service_account_id": "svc_000000000001", "model_id": "none", "engine_id": "none",
}  # fmt: skip
REQUIRED = {"start_time": int(time.time()) - 7 * 86_400}
FILTERS: dict[str, list[dict[str, Any]]] = {
    "/v1/organization/audit_logs": [
        {"event_types": "login.failed"}, {"event_types[]": "login.failed"}, {"actor_ids[]": "user_000000000007"},
        {"actor_emails[]": "user7@bench.example"}, {"resource_ids[]": "proj_000000000031"},
        {"project_ids[]": "proj_000000000001"},
        {"effective_at[gte]": int(time.time()) - 3600}, {"effective_at[lt]": int(time.time()) - 20_000_000},
        {"after": "audit_000000500000"}, {"event_types[]": "none.such"}, {"actor_ids[]": "user_000000000000"},
    ],
    "/v1/platform/audit_logs": [{"event_types[]": "login.failed"}, {"after": "audit_000000500000"}],
    "/v1/organization/projects": [{"after": "proj_000000001000"}, {"include_archived": True}],
    "/v1/organization/users": [{"emails": "user77@bench.example"}, {"after": "user_000000001000"}],
    "/v1/organizations": [{"after": "org_000000005000"}],
}  # fmt: skip


@contextmanager
def loaded() -> Iterator[tuple[str, dict[str, str], list[ApiKeySecret]]]:
    """(connection string of the owner, passwords of the roles, keys that nobody has used) of a database with everything."""
    with running_services() as services, psycopg.connect(services.server_dsn, autocommit=True) as admin:
        passwords = {role: secrets.token_hex(8) for role in (OWNER, *SERVICE_ROLES)}
        create_owner(admin, passwords[OWNER])
        create_database(admin, "bench")
        owner = make_conninfo(services.server_dsn, dbname="bench", user=OWNER, password=passwords[OWNER])
        migrate(owner)
        set_role_passwords(owner, {role: passwords[role] for role in SERVICE_ROLES})
        started_s = time.monotonic()
        with psycopg.connect(owner) as conn:
            conn.execute(Path(__file__).with_suffix(".sql").read_bytes())
            keys = [_key(conn, number) for number in range(KEYS)]
            conn.execute(
                "insert into control.users (public_id, email, name, password_hash, platform_admin)"
                " values ('user_benchadmin00', %s, 'Admin', %s, true)",
                [EMAIL, hash_password(PASSWORD)],
            )
        print(f"loaded in {time.monotonic() - started_s:.0f} s", file=sys.stderr)
        yield owner, passwords, keys


def _key(conn: psycopg.Connection, number: int) -> ApiKeySecret:
    """A new key of some organization."""
    key = ApiKeySecret.generate()
    conn.execute(
        "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id)"
        " select %s, %s, 'inference', 'bench', org_id, id from control.projects where id = %s",
        [key.public_id, key.hash(PEPPER), 3000 + number],
    )
    return key


def median_ms(call: Callable[[], object], tries: int = TRIES) -> float:
    """The median of some calls, the first one left out: it fills caches of plans and connections."""
    call()
    taken = []
    for _ in range(tries):
        started_s = time.perf_counter()
        call()
        taken.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(taken)


def pages(client: httpx.Client) -> Iterator[tuple[str, str, float]]:
    """(path, query, median in ms) of every list."""
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        names = {parameter["name"] for parameter in methods.get("get", {}).get("parameters", ())}
        if "limit" not in names or set(parameters(path)) - THINGS.keys():
            continue
        most = 7 if "start_time" in names else 100  # buckets of a day, or rows
        for query in ({}, {"limit": most}, *FILTERS.get(path, [])):
            if not set(query) <= names:
                continue
            url, asked = (
                filled(path, THINGS | {"admin_key_id": "", "platform_key_id": ""}),
                {name: REQUIRED[name] for name in REQUIRED if name in names},
            )
            taken = median_ms(lambda url=url, asked=asked | query: _get(client, url, asked))
            yield path, "&".join(f"{name}={value}" for name, value in query.items()), taken


def _get(client: httpx.Client, path: str, query: dict[str, Any]) -> None:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, f"{path} {query}: {answer.text[:300]}"


def cold_keys(url: str, keys: list[ApiKeySecret]) -> float:
    """Median in ms of the router's query for a key that it has not seen."""
    taken, query = [], load_queries(api_keys.__file__)["find_by_public_ids"]
    with psycopg.connect(url, autocommit=True) as conn:
        for key in keys:
            started_s = time.perf_counter()
            found = conn.execute(query, {"public_ids": [key.public_id]}).fetchone()
            taken.append((time.perf_counter() - started_s) * 1000)
            assert found is not None
    return statistics.median(taken)


def main() -> int:
    slow = 0
    with loaded() as (owner, passwords, keys), TemporaryDirectory() as folder:
        parts = conninfo_to_dict(owner)

        def url(role: str) -> str:
            return f"postgresql://{role}:{passwords[role]}@{parts['host']}:{parts['port']}/bench"

        env = {
            "ROUTER_SERVES": "management",
            "ROUTER_DATABASE_URL": url("inferhouse_router"),
            "ROUTER_MANAGEMENT_DATABASE_URL": url("inferhouse_management"),
            "ROUTER_JOURNAL_DIR": folder,
            "ROUTER_KEY_PEPPER": PEPPER.decode(),
            "ROUTER_SESSION_SECRET": secrets.token_hex(16),
        }
        with (
            running(router(free_port(), Path(folder) / "router.log", env)) as served,
            httpx.Client(base_url=served.url, headers={"OpenAI-Organization": ORGANIZATION}, timeout=60) as client,
        ):
            session = client.post("/v1/sessions", json={"email": EMAIL, "password": PASSWORD}).json()
            client.headers["authorization"] = f"Bearer {session['token']}"
            for path, query, taken in pages(client):
                slow += taken >= PAGE_MS_MAX
                print(f"{taken:8.1f} ms{'  SLOW' if taken >= PAGE_MS_MAX else ''}  {path}  {query}")
        cold = cold_keys(url("inferhouse_router"), keys)
        slow += cold >= KEY_MS_MAX
        print(f"{cold:8.2f} ms{'  SLOW' if cold >= KEY_MS_MAX else ''}  a key on a cold cache, of 100,000")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
