"""The audit log through the API: OpenAI's filters, one's own organization only, and a check that finds what was done to it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest

from tests.factories import add_tenant
from tests.integration.router.callers import add_key, add_user, demo, error, owner, signed_in, with_key
from tests.integration.router.conftest import Stack
from warehouse.access.audit_log import QUERIES

LOGS = "/organization/audit_logs"
PLATFORM = "/platform/audit_logs"


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def _ids(client: httpx.Client, path: str = LOGS, **filters: Any) -> list[str]:
    answer = client.get(path, params=filters)
    assert answer.status_code == 200, answer.text
    return [entry["id"] for entry in answer.json()["data"] if not entry["type"].startswith("login.")]


def test_only_auditors_admins_and_owners_read_the_log(client: httpx.Client, stack: Stack) -> None:
    mine = demo(stack)
    client.post("/organization/projects", json={"name": "Search"})
    for role, status in (("auditor", 200), ("admin", 200), ("owner", 200), ("member", 403), ("billing", 403)):
        with signed_in(stack, add_user(stack, mine.org_id, role)) as caller:
            assert caller.get(LOGS).status_code == status, role
            assert caller.get(PLATFORM).status_code == caller.post(f"{PLATFORM}/verify").status_code == 403


def test_entries_have_openais_shape(client: httpx.Client, stack: Stack) -> None:
    project = client.post("/organization/projects", json={"name": "Search"}).json()
    client.post(f"/organization/projects/{project['id']}", json={"name": "Find"})
    with with_key(stack, add_key(stack, demo(stack).org_id, None, ["admin"])) as key:
        key.post("/organization/projects", json={"name": "By key"})
    by_key, updated, created = client.get(LOGS).json()["data"]
    assert (created["object"], created["type"]) == ("organization.audit_log", "project.created")
    assert created["actor"]["type"] == "session"
    assert created["actor"]["session"]["user"]["email"] == stack.email
    assert created["actor"]["session"]["ip_address"] == "127.0.0.1"
    assert created["project"] == {"id": project["id"], "name": "Find"}
    assert created["project.created"] == {"id": project["id"], "data": project}
    assert updated["project.updated"]["changes_requested"]["name"] == "Find"
    assert (updated["before"]["name"], updated["after"]["name"]) == ("Search", "Find")
    assert by_key["actor"]["type"] == "api_key"
    assert by_key["actor"]["api_key"]["id"].startswith("key_")
    assert by_key["sequence"] > updated["sequence"] > created["sequence"]


def test_filters_and_pages(client: httpx.Client, stack: Stack) -> None:
    for number in range(3):
        client.post("/organization/projects", json={"name": f"P{number}"})
    last = client.get("/organization/projects").json()["data"][-1]
    client.post(f"/organization/projects/{last['id']}/archive")
    archived, third, second, first = client.get(LOGS).json()["data"]
    user = first["actor"]["session"]["user"]
    everything = [archived["id"], third["id"], second["id"], first["id"]]
    instant = first["effective_at"]
    for filters, expected in (
        ({"event_types[]": ["project.archived"]}, everything[:1]),
        ({"event_types": ["project.archived", "project.created"]}, everything),
        ({"event_types[]": "project.archived", "event_types": "project.created"}, everything),
        ({"event_types[]": "nothing.happened"}, []),
        ({"actor_ids[]": [user["id"]]}, everything),
        ({"actor_ids[]": ["user_000000000000"]}, []),
        ({"actor_emails[]": [stack.email]}, everything),
        ({"actor_emails[]": ["nobody@demo.example"]}, []),
        ({"resource_ids[]": [last["id"]]}, everything[:2]),
        ({"project_ids[]": [last["id"]]}, everything[:2]),
        ({"project_ids[]": ["proj_000000000000"]}, []),
        ({"effective_at[gte]": instant}, everything),
        ({"effective_at[gt]": instant + 60}, []),
        ({"effective_at[gt]": instant - 1, "effective_at[lt]": instant + 60}, everything),
        ({"effective_at[lt]": instant}, []),
        ({"effective_at[lte]": instant + 60}, everything),
        ({"limit": 2}, everything[:2]),
        ({"limit": 2, "after": everything[1]}, everything[2:]),
        ({"after": everything[3]}, []),
    ):
        assert _ids(client, **filters) == expected, filters
        assert _ids(client, PLATFORM, **filters) == expected, filters
    assert error(client.get(LOGS, params={"after": "audit_000000000000"})) == (400, "invalid_request", "after")
    assert error(client.get(LOGS, params={"effective_at[gt]": "now"}))[2] == "effective_at[gt]"
    assert error(client.get(LOGS, params={"event_types[]": ["x"] * 101}))[0] == 400


def test_another_organizations_entries_are_not_there_and_the_platform_has_all(client: httpx.Client, stack: Stack) -> None:
    other = add_tenant(stack.db, name="Other")
    with signed_in(stack, add_user(stack, other.org_id, "owner")) as there:
        there.post("/organization/projects", json={"name": "Theirs"})
        (theirs,) = there.get(LOGS).json()["data"]
    client.post("/organization/projects", json={"name": "Mine"})
    client.post("/platform/models", json={"id": "m", "context_tokens_max": 1, "output_tokens_max": 1})
    (mine,) = _ids(client)
    everything = [entry for entry in client.get(PLATFORM).json()["data"] if not entry["type"].startswith("login.")]
    assert [entry["organization_id"] for entry in everything] == [None, demo(stack).organization, other.organization]
    assert [entry["id"] for entry in everything][1:] == [mine, theirs["id"]]
    assert error(client.get(LOGS, params={"after": theirs["id"]}))[0] == 400
    assert _ids(client, **{"resource_ids[]": [theirs["target_id"]]}) == []
    assert _ids(client, **{"project_ids[]": [theirs["project"]["id"]]}) == []


def test_a_check_finds_what_the_owner_did(client: httpx.Client, stack: Stack) -> None:
    for number in range(5):
        client.post("/organization/projects", json={"name": f"P{number}"})
    good = client.post(f"{PLATFORM}/verify").json()
    assert (good["entries"], good["findings"], good["has_more"], good["head"]["sequence"]) == (6, [], False, 6)
    stack.db.execute("update control.audit_log set actor_email = 'x@demo.example' where sequence = 2")
    stack.db.commit()
    found = client.post(f"{PLATFORM}/verify").json()
    assert (found["findings"], found["head"]) == ([{"sequence": 2, "what": "was altered"}], None)


def test_an_old_end_put_back_is_found_by_the_router_and_by_whoever_kept_the_head(client: httpx.Client, stack: Stack) -> None:
    for number in range(3):
        client.post("/organization/projects", json={"name": f"P{number}"})
    head = stack.db.execute("select sequence, mac, head_mac from control.audit_head").fetchone()
    client.post("/organization/projects", json={"name": "Hidden"})
    kept = client.post(f"{PLATFORM}/verify").json()["head"]
    assert head is not None
    stack.db.execute("delete from control.audit_log where sequence > %s", [head[0]])
    stack.db.execute("update control.audit_head set sequence = %s, mac = %s, head_mac = %s", head)
    stack.db.commit()
    cut = [{"sequence": 5, "what": "the log ends at 4, an earlier check saw entry 5"}]
    assert client.post(f"{PLATFORM}/verify").json()["findings"] == cut, "the router's own file"
    anchor = stack.journal / "audit_seen.json"
    assert json.loads(anchor.read_text()) == kept
    anchor.unlink()
    assert client.post(f"{PLATFORM}/verify").json()["findings"] == []
    assert client.post(f"{PLATFORM}/verify", json={"seen": kept}).json()["findings"] == cut
    anchor.write_text("{")
    assert "damaged" in client.post(f"{PLATFORM}/verify").json()["findings"][0]["what"]
    assert error(client.post(f"{PLATFORM}/verify", json={"seen": {"sequence": 1, "mac": "x"}}))[2] == "seen.mac"


ENTRIES = 200_000
BLOCKS_MAX = 200  # 1.6 MB; the table has some 8,000
PARAMETERS = (
    "event_types", "actor_ids", "actor_emails", "target_ids", "project_ids", "since", "until", "after_at", "after_sequence",
)  # fmt: skip
INDEXED = {
    "org": {"org_id": True},
    "org, event type": {"org_id": True, "event_types": ["rare.event"]},
    "org, actor": {"org_id": True, "actor_ids": ["user_rare"]},
    "org, email": {"org_id": True, "actor_emails": ["rare@demo.example"]},
    "org, target": {"org_id": True, "target_ids": ["proj_199000"]},
    "org, project": {"org_id": True, "project_ids": [1]},
    "org, old": {"org_id": True, "until": datetime(2020, 1, 2, tzinfo=UTC)},
    "org, between": {
        "org_id": True, "since": datetime(2020, 1, 2, tzinfo=UTC), "until": datetime(2020, 1, 2, 1, tzinfo=UTC),
    },
    "org, behind": {"org_id": True, "after_at": datetime(2020, 1, 2, tzinfo=UTC), "after_sequence": 5000},
    "platform": {},
    "platform, event type": {"event_types": ["rare.event"]},
    "platform, actor": {"actor_ids": ["user_rare"]},
    "platform, email": {"actor_emails": ["rare@demo.example"]},
    "platform, target": {"target_ids": ["proj_199000"]},
    "platform, project": {"project_ids": [1]},
    "platform, old": {"until": datetime(2020, 1, 2, tzinfo=UTC)},
    "platform, behind": {"after_at": datetime(2020, 1, 2, tzinfo=UTC), "after_sequence": 5000},
}  # fmt: skip


@pytest.fixture
def long_log(db: psycopg.Connection, role_url: Any) -> Iterator[tuple[psycopg.Connection, int, int]]:
    """(the management role's connection, an organization, its project) with a log of ENTRIES entries of four organizations."""
    tenants = [add_tenant(db, name=f"T{number}") for number in range(4)]
    db.execute(
        "insert into control.audit_log (sequence, public_id, org_id, project_id, effective_at, event_type, actor_type, actor_id,"
        " actor_email, target_id, after, previous_mac, mac)"
        " select n, 'audit_' || lpad(n::text, 12, '0'), (%(orgs)s::bigint[])[1 + n %% 4],"
        " case when n %% 10 = 0 then (%(projects)s::bigint[])[1 + n %% 4] end,"
        " timestamptz '2020-01-01+00' + n * interval '1 minute',"
        " case when n %% 50000 = 2 then 'rare.event'"
        " else 'project.' || (array['created', 'updated', 'archived'])[1 + n %% 3] end,"
        " 'user', case when n %% 50000 = 3 then 'user_rare' else 'user_' || n %% 500 end,"
        " case when n %% 50000 = 3 then 'rare@demo.example' else 'u' || n %% 500 || '@demo.example' end,"
        " 'proj_' || n, '{\"name\": \"x\"}', decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex')"
        " from generate_series(1, %(entries)s) n",
        {"orgs": [t.org_id for t in tenants], "projects": [t.project_id for t in tenants], "entries": ENTRIES},
    )
    db.execute("analyze control.audit_log")
    db.commit()
    with psycopg.connect(role_url("inferhouse_management"), autocommit=True) as conn:
        yield conn, tenants[0].org_id, tenants[0].project_id


def test_every_filter_is_an_index_range_and_no_scan(long_log: tuple[psycopg.Connection, int, int]) -> None:
    conn, org_id, project_id = long_log
    slow = {}
    for name, filters in INDEXED.items():
        values = dict.fromkeys(PARAMETERS) | filters | {"rows_max": 21, "org_id": org_id if "org_id" in filters else None}
        values["project_ids"] = [project_id] if "project_ids" in filters else None
        seeing = [str(org_id), "off" if values["org_id"] else "on"]
        conn.execute("select set_config('inferhouse.org_id', %s, false), set_config('inferhouse.platform', %s, false)", seeing)
        plan = conn.execute(b"explain (analyze, buffers, format json) " + QUERIES["page"], values, prepare=False).fetchone()
        assert plan is not None
        root = plan[0][0]["Plan"]
        blocks = root["Shared Hit Blocks"] + root["Shared Read Blocks"]
        if ("Seq Scan", "audit_log") in _scans(root) or blocks > BLOCKS_MAX:
            slow[name] = (blocks, plan[0][0]["Execution Time"], _scans(root))
    assert slow == {}


def _scans(plan: dict[str, Any]) -> list[tuple[str, str]]:
    own = [(plan["Node Type"], plan.get("Relation Name", ""))] if "Scan" in plan["Node Type"] else []
    return own + [scan for inner in plan.get("Plans", []) for scan in _scans(inner)]
