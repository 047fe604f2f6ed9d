"""Latencies, engines, and rows against engines' counters."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.dbt_runs import Dbt, table
from tests.factories import START, Tenant, add_engine, add_model, add_tenant, copy_events, engine_sample, usage_event
from warehouse.access import engine_samples
from warehouse.access.engine_samples import EngineSample
from warehouse.access.usage_rows import UsageEvent

SERVICE = ("run", "--select", "+tag:service")
MARTS = ("marts.latency_hourly", "marts.engine_hourly", "marts.reconciliation_daily")
RELATIVE_ERROR_MAX = 0.045
MINUTE = timedelta(minutes=1)
HOUR_PICOUSD = 2_500_000_000_000  # 2.50 USD


def _all(db: psycopg.Connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    rows = db.execute(query, values).fetchall()  # type: ignore[arg-type]
    db.commit()
    return rows


def _add(db: psycopg.Connection, samples: Sequence[EngineSample]) -> None:
    engine_samples.add(db, samples)
    db.commit()


def _measured_events(tenants: Sequence[Tenant], model: tuple[int, int], count: int, seed: int) -> list[UsageEvent]:
    """Completed calls over six hours, with latencies from microseconds to minutes; some broke off and are not measured."""
    chance = random.Random(seed)
    events = []
    for number in range(count):
        ttft = int(chance.lognormvariate(12, 1.5)) + chance.choice([0, 0, 10**7])
        duration = ttft + int(chance.lognormvariate(13, 2))
        started_at = START + timedelta(microseconds=chance.randrange(6 * 3_600_000_000))
        cut = chance.random() < 0.05
        events.append(
            usage_event(
                chance.choice(tenants), number, started_at, model_id=model[0], price_id=model[1], cost_picousd=0,
                finished_at=started_at + timedelta(microseconds=duration), stream=chance.random() < 0.5, ttft_us=ttft,
                duration_us=duration, queue_us=chance.randrange(0, 40), overhead_us=chance.randrange(100, 3000),
                output_tokens=chance.randrange(1, 300), status="client_closed" if cut else "completed",
            )
        )  # fmt: skip
    return events


EXACT = """
select percentile_disc(%s) within group (order by us) from (
    select {us} as us from raw.usage_events
    where status = 'completed' and started_at >= %s and started_at < %s and ({us}) is not null
) as measured
"""
MERGED = """
select marts.latency_us_at(marts.merge_buckets(buckets, bucket_requests), %s)
from marts.latency_hourly where measure = %s and hour_utc >= %s and hour_utc < %s
"""
MEASURES = {
    "time_to_first_token": "ttft_us",
    "time_per_output_token": "case when stream and output_tokens > 1 then (duration_us - ttft_us) / (output_tokens - 1) end",
    "duration": "duration_us",
    "queue": "queue_us",
    "overhead": "overhead_us",
}


def test_percentiles_of_merged_histograms_are_near_the_exact_ones(db: psycopg.Connection, dbt: Dbt) -> None:
    model, tenants = add_model(db, "m"), [add_tenant(db, "Asia/Kolkata"), add_tenant(db)]
    events = _measured_events(tenants, model, 4000, seed=3)
    random.Random(4).shuffle(events)
    copy_events(db, events[:2500])
    dbt.run(*SERVICE)
    copy_events(db, events[2500:])  # late ones, in every hour
    dbt.run(*SERVICE)
    worst = 0.0
    for hours in ((0, 6), (2, 3), (1, 5)):
        since, until = (START + timedelta(hours=hour) for hour in hours)
        for measure, us in MEASURES.items():
            for share in (0.0, 0.5, 0.9, 0.95, 0.99, 1.0):
                ((exact,),) = _all(db, EXACT.format(us=us), share, since, until)
                ((merged,),) = _all(db, MERGED, share, measure, since, until)
                worst = max(worst, abs(merged - max(exact, 1)) / max(exact, 1))
    assert worst <= RELATIVE_ERROR_MAX
    exact_sums = _all(db, "select count(*), sum(duration_us), max(duration_us) from raw.usage_events where status = 'completed'")
    told = "select sum(requests), sum(total_us), max(max_us) from marts.latency_hourly where measure = 'duration'"
    assert _all(db, told) == exact_sums
    assert _all(db, "select sum(r) from marts.latency_hourly, unnest(bucket_requests) as r where measure = 'duration'") == [
        (exact_sums[0][0],)
    ]
    incremental = table(db, "marts.latency_hourly")
    dbt.run(*SERVICE, "--full-refresh")
    assert table(db, "marts.latency_hourly") == incremental


def test_the_value_of_no_request_is_null_and_a_share_is_a_share(db: psycopg.Connection) -> None:
    assert _all(db, "select marts.latency_us_at(marts.merge_buckets('{}', '{}'), 0.5)") == [(None,)]
    assert _all(db, "select marts.latency_us_at(marts.merge_buckets('{0}', '{3}'), 0.5)") == [(1.0,)]
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        db.execute("select marts.latency_us_at('{1}', 1.5)")


def test_an_hour_of_an_engine_has_what_it_counted_cost_and_brought_in(db: psycopg.Connection, dbt: Dbt) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    engine = add_engine(db, "gpu-1", model[0], gpus=2, gpu_hour_picousd=HOUR_PICOUSD)
    spent = {"gpus": 2, "gpu_hour_picousd": HOUR_PICOUSD}
    counts = [(0, 0), (1000, 200), (1000, 200), (3000, 600), (3000, 600)]  # what is idle counts nothing
    samples = [
        engine_sample(
            engine, START + n * MINUTE, prompt_tokens=1_000_000 + prompt, generation_tokens=5000 + generation,
            prefix_cache_queries=prompt, prefix_cache_hits=prompt // 4, requests_finished=n, request_us=n * 300_000,
            running=3 if n in {1, 3} else 0, kv_cache_usage=Decimal("0.5") if n == 1 else Decimal("0.1"),
            waiting=5 if n == 1 else 0, **spent,
        )
        for n, (prompt, generation) in enumerate(counts)
    ]  # fmt: skip
    # Nobody saw it for an hour less two minutes, and when it is seen again it has started anew.
    again = engine_sample(
        engine, START + 62 * MINUTE, started_at=START + 61 * MINUTE, prompt_tokens=70, generation_tokens=7, **spent
    )
    _add(db, [*samples, again])
    row = {"model_id": model[0], "price_id": model[1], "engine_id": engine, "input_tokens": 900, "output_tokens": 500}
    copy_events(db, [usage_event(tenant, 1, START + MINUTE, cost_picousd=9 * 10**12, **row)])
    dbt.run(*SERVICE)
    first, second = _all(
        db,
        "select samples, seconds_seen, restarts, input_tokens, output_tokens, output_tokens_per_second, prefix_cache_hit_share,"
        " requests_finished, request_us_avg, running_avg, waiting_max, kv_cache_usage_avg, kv_cache_usage_max, cost_picousd,"
        " idle_cost_picousd, cost_per_token_picousd, revenue_picousd, margin_picousd, row_output_tokens"
        " from marts.engine_hourly order by hour_utc",
    )
    cost, idle = (round(Decimal(2 * HOUR_PICOUSD * seconds) / 3600) for seconds in (240, 120))
    assert first == (
        5, Decimal(240), 0, 3000, 600, Decimal("2.5"), Decimal("0.25"), 4, 300_000, Decimal("1.2"), 5, Decimal("0.18"),
        Decimal("0.5"), cost, idle, Decimal("92592592.593"), 9 * 10**12, 9 * 10**12 - cost, 500,
    )  # fmt: skip
    assert second[:6] == (1, 0, 1, 70, 7, None)


DAYS = """
select status, drift_share, input_tokens_unexplained, output_tokens_unexplained, output_tokens_difference, restarts,
    rows_unseen, edge_rows
from marts.reconciliation_daily where engine = %s and day_utc = '2026-03-01'
"""


class Day:
    """A day of an engine: a row and a reading every five minutes from 0:10 on, which agree."""

    def __init__(self, db: psycopg.Connection, tenant: Tenant, model: tuple[int, int], name: str, **engine: Any) -> None:
        self.db, self.tenant, self.model, self.name = db, tenant, model, name
        self.engine = add_engine(db, name, model[0], **engine)
        self.samples: list[EngineSample] = []
        self.rows: list[UsageEvent] = []
        self.counted = [0, 0]
        self.started_at = START - timedelta(days=1)
        self.sample(-5)
        for step in range(2, 285):
            self.row(step * 5)
            self.count(1000, 100)
            self.sample(step * 5 + 3)
        self.sample(24 * 60 + 1)

    def row(self, minute: float, **fields: Any) -> None:
        values: dict[str, Any] = {
            "model_id": self.model[0], "price_id": self.model[1], "cost_picousd": 0, "engine_id": self.engine,
            "input_tokens": 1000, "output_tokens": 100,
        }  # fmt: skip
        number = self.engine * 10**6 + len(self.rows)
        self.rows.append(usage_event(self.tenant, number, START + minute * MINUTE, **values | fields))

    def count(self, prompt: int, generation: int) -> None:
        self.counted = [self.counted[0] + prompt, self.counted[1] + generation]

    def sample(self, minute: float) -> None:
        self.samples.append(
            engine_sample(
                self.engine, START + minute * MINUTE, started_at=self.started_at,
                prompt_tokens=self.counted[0], generation_tokens=self.counted[1],
            )
        )  # fmt: skip

    def starts(self, minute: float) -> None:
        """Its process, a while after the catalogue had it."""
        self.samples = [replace(sample, started_at=START + minute * MINUTE) for sample in self.samples]
        created_at = START + (minute - 1) * MINUTE
        self.db.execute("update control.engines set created_at = %s where id = %s", [created_at, self.engine])
        self.db.commit()

    def said(self) -> tuple[Any, ...]:
        (found,) = _all(self.db, DAYS, self.name)
        return found


def _grown(day: Day, since: int, prompt: int, generation: int) -> None:
    """The counters of all readings from the one at place `since` on, grown by so much."""
    for place in range(since, len(day.samples)):
        fields = {name: getattr(day.samples[place], name) for name in EngineSample.__dataclass_fields__}
        fields["prompt_tokens"] += prompt
        fields["generation_tokens"] += generation
        day.samples[place] = EngineSample(**fields)


def _restarted(day: Day, at: int) -> None:
    """The process starts anew before the reading at place `at`: its counters go on from 0."""
    before = day.samples[at - 1]
    _grown(day, at, -before.prompt_tokens, -before.generation_tokens)
    for place in range(at, len(day.samples)):
        fields = {name: getattr(day.samples[place], name) for name in EngineSample.__dataclass_fields__}
        # One process does not say when it started: that a counter fell says it, too.
        fields["started_at"] = None if at == 101 else day.samples[at - 1].sampled_at + MINUTE
        day.samples[place] = EngineSample(**fields)


def test_rows_and_counters_are_compared_and_what_differs_is_explained_or_drift(db: psycopg.Connection, dbt: Dbt) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    days = {
        name: Day(db, tenant, model, name)
        for name in ("exact", "direct", "little", "restarted", "left", "lost", "edges", "late", "unread", "estimated", "young")
    }
    hosted = Day(db, tenant, model, "hosted", kind="openai")
    _grown(days["direct"], 100, 5000, 900)  # somebody calls the engine itself
    _grown(days["little"], 100, 150, 10)  # within 0.1 %
    for at in (1, 101, 200):
        _restarted(days["restarted"], at)
    for minute in (500, 505):  # callers who left: it made more tokens than they have in their rows
        days["left"].row(minute, status="client_closed", token_source="running", output_tokens=10, input_tokens=0)
    _grown(days["left"], 120, 2000, 20 + 2 * 24)
    for n in range(30):  # rows that it never counted
        days["lost"].row(600 + n)
    days["edges"].row(24 * 60 - 3, finished_at=START + (24 * 60 + 10) * MINUTE, output_tokens=50_000, duration_us=780_000_000)
    days["unread"].samples = []
    # Nobody read it for hours, and its counters go back to the start of its process, which came after it was ours.
    days["young"].samples = days["young"].samples[60:]
    days["young"].starts(-1)
    for n in range(20):
        days["estimated"].row(600 + n, status="engine_failed", token_source="estimate", charge_class="free_engine_failed")
    late, days["late"].samples = days["late"].samples[200:], days["late"].samples[:200]
    for day in [*days.values(), hosted]:
        copy_events(db, day.rows)
        _add(db, day.samples)
    dbt.run(*SERVICE)
    said = {name: day.said() for name, day in days.items()}
    assert said["exact"] == ("ok", 0, 0, 0, 0, 0, 0, 0)
    assert (said["direct"][0], said["direct"][2:5]) == ("drift", (5000, 900, 900))
    assert said["young"] == said["exact"]
    assert said["little"][0] == "ok"
    assert said["little"][1] > 0
    assert (said["restarted"][0], said["restarted"][2:6]) == ("ok", (0, 0, 0, 3))
    assert (said["left"][0], said["left"][2:5]) == ("ok", (0, 0, 2 * 24))
    assert (said["lost"][0], said["lost"][2:4]) == ("drift", (-30_000, -3000))
    assert (said["edges"][0], said["edges"][4], said["edges"][7]) == ("ok", -50_000, 1)
    assert (said["estimated"][0], said["estimated"][4]) == ("ok", -2000)
    assert (said["unread"][0], said["late"][0], said["late"][6] > 0) == ("no_samples", "no_samples", True)
    assert _all(db, DAYS, "hosted") == []
    _add(db, late)  # the counters come, after all
    dbt.run(*SERVICE)
    assert days["late"].said() == said["exact"]
    incremental = {mart: table(db, mart) for mart in MARTS}
    dbt.run(*SERVICE, "--full-refresh")
    assert {mart: table(db, mart) for mart in MARTS} == incremental


def test_a_call_that_ran_while_nobody_read_the_engine_is_at_the_edge_of_the_day_of_the_next_reading(
    db: psycopg.Connection, dbt: Dbt
) -> None:
    day = Day(db, add_tenant(db), add_model(db, "m"), "silent")
    day.row(24 * 60 - 2, finished_at=START + (24 * 60 + 20) * MINUTE, output_tokens=70_000, duration_us=1_320_000_000)
    copy_events(db, day.rows)
    seen, day.samples = len(day.samples), [*day.samples, *_readings_after(day, 4 * 24 * 60)]
    _add(db, day.samples[:seen])
    dbt.run(*SERVICE)
    _add(db, day.samples[seen:])  # the days between are settled and have no reading
    dbt.run(*SERVICE)
    ends = "select day_utc::text, edge_rows from marts.reconciliation_daily order by day_utc"
    incremental = {mart: table(db, mart) for mart in MARTS}
    assert _all(db, ends)[1:] == [("2026-03-01", 1), ("2026-03-02", 1), ("2026-03-05", 1)]
    dbt.run(*SERVICE, "--full-refresh")
    assert {mart: table(db, mart) for mart in MARTS} == incremental


def _readings_after(day: Day, minute: int) -> list[EngineSample]:
    """Two of its counters as they are then."""
    before = len(day.samples)
    day.sample(minute)
    day.sample(minute + 1)
    made, day.samples = day.samples[before:], day.samples[:before]
    return made


SAMPLES = """
insert into raw.engine_samples (
    engine_id, sampled_at, prompt_tokens, cached_tokens, generation_tokens, prefix_cache_queries, prefix_cache_hits,
    requests_finished, requests_aborted, preemptions, queue_us, request_us, gpu_hour_picousd, running, waiting, gpus,
    kv_cache_usage
)
select %s, timestamptz '2026-03-01 00:00+00' + n * interval '30 seconds', n, 0, n, 0, 0, n, 0, 0, 0, 0, 0, 1, 0, 0, 0
from generate_series(1, 28800) as n
"""


def test_a_build_reads_samples_once_and_not_for_each_of_them(db: psycopg.Connection, dbt: Dbt) -> None:
    """Ten days of two engines without statistics: half a second, or minutes where each sample looks for the one before it."""
    model = add_model(db, "m")
    for name in ("one", "two"):
        db.execute(SAMPLES, [add_engine(db, name, model[0])])
    db.execute("alter role inferhouse_transform set statement_timeout = '30s'")
    db.commit()
    try:
        dbt.run(*SERVICE)
    finally:
        db.execute("alter role inferhouse_transform reset statement_timeout")
        db.commit()
    counted = "select sum(input_tokens), count(*) from marts.engine_hourly"
    assert _all(db, counted) == [(2 * 28_799, 2 * 241)]


PLATFORM_ONLY = ("engine_hourly", "reconciliation_daily", "engines")
OF_TENANTS = ("latency_hourly", "organizations", "projects", "api_keys", "users")


def test_tenants_see_their_own_rows_and_nothing_of_engines(
    db: psycopg.Connection, dbt: Dbt, role_url: Callable[..., str]
) -> None:
    mine, other, model = add_tenant(db, name="Mine"), add_tenant(db, name="Other"), add_model(db, "m")
    engine = add_engine(db, "gpu-1", model[0])
    _add(db, [engine_sample(engine, START), engine_sample(engine, START + MINUTE)])
    for number, tenant in enumerate((mine, other)):
        copy_events(
            db, [usage_event(tenant, number, START, model_id=model[0], price_id=model[1], cost_picousd=0, engine_id=engine)]
        )
        db.execute(
            "insert into control.prices (model_id, org_id, input_picousd, cached_input_picousd, output_picousd, effective,"
            " reason) values (%s, %s, 1, 1, 1, '[2026-01-01 00:00+00,)', 'of one tenant')",
            [model[0], tenant.org_id],
        )
        user = db.execute(
            "insert into control.users (public_id, email, name) values (%s, %s, 'N') returning id",
            [f"user_{number:012d}", f"{number}@example.org"],
        ).fetchone()
        assert user is not None
        db.execute("insert into control.org_members (org_id, user_id, role) values (%s, %s, 'owner')", [tenant.org_id, user[0]])
    login = f"inferhouse_sql_{mine.organization.removeprefix('org_')}"
    db.execute("select control.create_sql_login(%s, %s, 'pw')", [login, mine.org_id])
    db.commit()
    dbt.run("build")
    with psycopg.connect(role_url("inferhouse_platform")) as platform:
        for mart in (*PLATFORM_ONLY, *OF_TENANTS):
            assert platform.execute(f"select count(*) > 0 from marts.{mart}").fetchone() == (True,), mart  # type: ignore[arg-type]
        assert platform.execute("select count(*) from marts.prices").fetchone() == (3,)
    for session in (_portal(role_url, mine), psycopg.connect(role_url(login, "pw"))):
        with session:
            session.execute(f"set inferhouse.org_id = {other.org_id if 'sql' in session.info.user else mine.org_id}")  # type: ignore[arg-type]
            for mart in PLATFORM_ONLY:
                assert session.execute(f"select count(*) from marts.{mart}").fetchone() == (0,), mart  # type: ignore[arg-type]
            for mart in OF_TENANTS:
                found = session.execute(f"select distinct org_id from marts.{mart}").fetchall()  # type: ignore[arg-type]
                assert found == [(mine.org_id,)], mart
            prices = session.execute("select org_id from marts.prices order by org_id nulls first").fetchall()
            assert prices == [(None,), (mine.org_id,)]
            assert session.execute("select model from marts.models").fetchall() == [("m",)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute("select * from raw.engine_samples")
    with psycopg.connect(role_url("inferhouse_management")) as management:
        management.execute("select set_config('inferhouse.org_id', %s, false)", [str(mine.org_id)])
        counts = [management.execute(f"select count(*) from marts.{mart}").fetchone() for mart in PLATFORM_ONLY]  # type: ignore[arg-type]
        assert counts == [(0,)] * 3
        management.execute("select set_config('inferhouse.platform', 'on', false)")
        assert management.execute("select count(*) from marts.engine_hourly").fetchone() == (1,)
    db.execute("update control.organizations set suspended_at = now() where id = %s", [mine.org_id])
    db.commit()
    with psycopg.connect(role_url(login, "pw")) as session:
        for mart in ("prices", "models", *OF_TENANTS):
            assert session.execute(f"select count(*) from marts.{mart}").fetchone() == (0,), mart  # type: ignore[arg-type]
    db.execute(f"drop owned by {login}")  # type: ignore[arg-type]
    db.execute(f"drop role {login}")  # type: ignore[arg-type]
    db.commit()


def _portal(role_url: Callable[..., str], tenant: Tenant) -> psycopg.Connection:
    session = psycopg.connect(role_url("inferhouse_portal"))
    session.execute(f"set inferhouse.org_id = {tenant.org_id}")  # type: ignore[arg-type]
    return session
