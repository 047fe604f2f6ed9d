"""docs/sql.md is a contract: every query in it runs, as the login of a tenant."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.dbt_runs import Dbt
from tests.factories import START, add_model, add_tenant, copy_events, month_of_events, usage_event

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "sql.md"


def test_every_example_runs_as_a_tenant(db: psycopg.Connection, dbt: Dbt, role_url: Callable[..., str]) -> None:
    examples = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    assert len(examples) >= 7
    tenant, model = add_tenant(db), add_model(db, "m")
    copy_events(db, month_of_events([tenant], model, 100))
    copy_events(
        db, [usage_event(tenant, 10**6, START, status="engine_failed", http_status=502, charge_class="free_engine_failed")]
    )
    login = f"inferhouse_sql_{tenant.organization.removeprefix('org_')}"
    db.execute("select control.create_sql_login(%s, %s, 'pw')", [login, tenant.org_id])
    db.commit()
    dbt.run("build")
    found = {}
    with psycopg.connect(role_url(login, "pw")) as session:
        for example in examples:
            found[example] = session.execute(example).fetchall()  # type: ignore[arg-type]
    assert sum(bool(rows) for rows in found.values()) >= 3, "the lines, the days of a zone and the failed request are there"
    db.execute(f"drop owned by {login}")  # type: ignore[arg-type]
    db.execute(f"drop role {login}")  # type: ignore[arg-type]
    db.commit()
