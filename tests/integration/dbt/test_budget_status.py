"""What budgets show is the sum of the raw rows of their windows, in every zone, scope and order of arrival."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg

from tests.dbt_runs import Dbt
from tests.factories import Tenant, add_model, add_tenant, copy_events, usage_event
from warehouse.access.usage_rows import UsageEvent
from warehouse.base.ids import public_id

ZONES = ("UTC", "Asia/Kathmandu", "America/New_York")
TABLES = ("--select", "config.materialized:incremental", "--exclude", "resource_type:test")
SPENT = """
select b.public_id, coalesce(sum(e.cost_picousd), 0)
from control.budgets as b
join control.organizations as o on o.id = b.org_id
cross join (select max(computed_at) as at from marts.budget_status) as now
left join raw.usage_events as e on e.org_id = b.org_id
    and e.started_at >= case when b.period = 'lifetime' then b.created_at
        else date_trunc(b.period, now.at at time zone o.time_zone) at time zone o.time_zone end
    and (b.period = 'lifetime' or e.started_at < (date_trunc(b.period, now.at at time zone o.time_zone)
        + ('1 ' || b.period)::interval) at time zone o.time_zone)
    and (b.project_id is null or e.project_id = b.project_id)
    and (b.user_id is null or e.user_id = b.user_id)
    and (b.service_account_id is null or e.service_account_id = b.service_account_id)
    and (b.api_key_id is null or e.api_key_id = b.api_key_id)
    and (b.model_id is null or e.model_id = b.model_id)
where b.deleted_at is null
group by b.public_id
"""


def _user(db: psycopg.Connection) -> int:
    row = db.execute(
        "insert into control.users (public_id, email, name, password_hash) values (%s, %s, 'U', 'x') returning id",
        [public_id("user"), f"{public_id('u')}@demo.example"],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _budgets(db: psycopg.Connection, tenant: Tenant, scopes: list[dict[str, int]], created_at: datetime) -> None:
    for scope in scopes:
        for period in ("day", "week", "month", "lifetime"):
            values = {"org_id": tenant.org_id, "period": period, "limit_picousd": 10**6, "alert_percents": [50, 100]}
            columns = values | scope | {"public_id": public_id("budget"), "created_at": created_at}
            db.execute(
                f"insert into control.budgets ({', '.join(columns)}) values ({', '.join(['%s'] * len(columns))})".encode(),
                list(columns.values()),
            )


def _events(tenant: Tenant, scopes: list[dict[str, int]], count: int, seed: int, now: datetime) -> list[UsageEvent]:
    """Rows of the last 45 days, as many in the last hours as before; each in one of the scopes."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        age = chance.choice([timedelta(days=45), timedelta(days=2)]) * chance.random()
        who = chance.choice(scopes)
        cost = chance.randrange(1, 10_000)
        rows.append(
            usage_event(tenant, seed * 10**6 + number, now - age, **{"model_id": 1, **who}, price_id=1, cost_picousd=cost)
        )
    return rows


def _shown(db: psycopg.Connection) -> dict[str, Decimal]:
    shown = dict(db.execute("select budget, spent_picousd from marts.budget_status").fetchall())
    db.commit()
    return shown


def _summed(db: psycopg.Connection) -> dict[str, Decimal]:
    summed = dict(db.execute(SPENT.encode()).fetchall())
    db.commit()
    return summed


def test_budgets_are_the_sums_of_their_rows_however_those_come(db: psycopg.Connection, dbt: Dbt) -> None:
    now = datetime.now(UTC)
    models = [add_model(db, "m")[0], add_model(db, "n")[0]]
    rows = []
    for number, zone in enumerate(ZONES):
        tenant = add_tenant(db, zone)
        scopes = [{"user_id": _user(db)}, {"model_id": models[1]}, {"project_id": tenant.project_id}, {}]
        _budgets(db, tenant, [*scopes, {"api_key_id": tenant.api_key_id}], now - timedelta(days=40, minutes=7))
        rows += _events(tenant, [*scopes[:2], {}], 300, number + 1, now)
    random.Random(1).shuffle(rows)
    db.commit()
    copy_events(db, rows[:450])
    dbt.run("run")
    assert len(_shown(db)) == 60
    assert _shown(db) == _summed(db)
    assert any(_shown(db).values())
    gone = db.execute("update control.budgets set deleted_at = now() where id = 1 returning public_id").fetchone()
    db.execute("update control.budgets set limit_picousd = 1, version = version + 1 where id = 2")
    db.commit()
    copy_events(db, rows[450:])
    dbt.run("build", *TABLES)
    assert gone is not None
    assert gone[0] not in _shown(db)
    assert _shown(db) == _summed(db)
    _fields_agree(db)


def _fields_agree(db: psycopg.Connection) -> None:
    """Percent, rest and shares reached follow from spent and limit; a forecast is never below what is spent."""
    rows = db.execute(
        "select s.spent_picousd, s.limit_picousd, s.remaining_picousd, s.percent_used, s.reached_percents, s.forecast_picousd,"
        " s.period, s.used_up_at, s.computed_at, s.window_ends_at from marts.budget_status s"
    ).fetchall()
    for spent, limit, remaining, percent, reached, forecast, period, used_up_at, computed_at, ends_at in rows:
        assert remaining == max(limit - spent, 0)
        assert percent == round(spent * 100 / limit, 4)
        assert reached == [share for share in (50, 100) if spent * 100 >= limit * share and spent > 0]
        assert (forecast is None) == (period == "lifetime")
        assert forecast is None or forecast >= spent
        if spent >= limit:
            assert used_up_at == computed_at
        elif forecast is not None:
            assert (used_up_at is not None) == (forecast >= limit) or abs(forecast - limit) <= 1
            assert used_up_at is None or computed_at < used_up_at <= ends_at
    assert {row[1] for row in rows} == {1, 10**6}
