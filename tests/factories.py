"""Raw usage rows by the thousand: seeded, priced, COPY-fast."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from warehouse.access.engine_samples import EngineSample
from warehouse.access.usage_events import QUERIES
from warehouse.access.usage_rows import COLUMNS, UsageEvent, copy_data, encode
from warehouse.base.ids import public_id

START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organization with one project, one key and what they are called outside."""

    org_id: int
    project_id: int
    api_key_id: int
    organization: str


def midday_zone(*, west: int = 0) -> str:
    """A zone where it is midday, or so many hours west of it: no day, week or month there ends while a test runs."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12 + west:+d}"  # the sign says what is west of Greenwich


def add_tenant(db: psycopg.Connection, time_zone: str = "UTC", name: str = "Tenant") -> Tenant:
    """A new organization with a project and a key."""
    organization = public_id("org")
    org_id = _id(
        db,
        "insert into control.organizations (public_id, name, time_zone) values (%s, %s, %s) returning id",
        organization,
        name,
        time_zone,
    )
    project_id = _id(
        db,
        "insert into control.projects (public_id, org_id, name) values (%s, %s, 'Project') returning id",
        public_id("proj"),
        org_id,
    )
    key_id = _id(
        db,
        "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id) "
        "values (%s, %s, 'inference', 'key', %s, %s) returning id",
        public_id("k")[2:18],
        b"\0" * 32,
        org_id,
        project_id,
    )
    return Tenant(org_id, project_id, key_id, organization)


def add_model(db: psycopg.Connection, name: str, prices: Sequence[int] = (100, 50, 400)) -> tuple[int, int]:
    """(model id, price id) of a new model with one list price, in pico-dollars per token."""
    model_id = _id(
        db,
        "insert into control.models (name, context_tokens_max, output_tokens_max) values (%s, 8192, 8192) returning id",
        name,
    )
    price_id = _id(
        db,
        "insert into control.prices (model_id, input_picousd, cached_input_picousd, output_picousd, effective, reason) "
        "values (%s, %s, %s, %s, tstzrange('2020-01-01+00', null), 'test') returning id",
        model_id,
        *prices,
    )
    return model_id, price_id


def add_engine(db: psycopg.Connection, name: str, model_id: int, **fields: Any) -> int:
    """Id of a new engine; `kind`, `base_url`, `gpus` and `gpu_hour_picousd` may be given."""
    values = {"kind": "vllm", "base_url": "http://127.0.0.1:9", "gpus": 0, "gpu_hour_picousd": 0} | fields
    return _id(
        db,
        "insert into control.engines (name, model_id, kind, base_url, gpus, gpu_hour_picousd) "
        "values (%s, %s, %s, %s, %s, %s) returning id",
        name,
        model_id,
        values["kind"],
        values["base_url"],
        values["gpus"],
        values["gpu_hour_picousd"],
    )


def engine_sample(engine_id: int, sampled_at: datetime, **fields: Any) -> EngineSample:
    """One reading of an engine that has done nothing; any field may be given."""
    numbers = dict.fromkeys(EngineSample.__dataclass_fields__, 0)
    values = numbers | {"engine_id": engine_id, "sampled_at": sampled_at, "started_at": START - timedelta(days=1)}
    return EngineSample(**values | fields)  # type: ignore[arg-type]


def usage_event(tenant: Tenant, number: int, started_at: datetime, **fields: Any) -> UsageEvent:
    """One completed chat completion; any field may be given. The request id follows from `number`."""
    values: dict[str, Any] = {
        "request_id": UUID(int=(7 << 76) | (2 << 62) | number),
        "attempt": 1,
        "started_at": started_at,
        "finished_at": started_at + timedelta(milliseconds=250),
        "org_id": tenant.org_id,
        "project_id": tenant.project_id,
        "api_key_id": tenant.api_key_id,
        "endpoint": "chat.completions",
        "stream": False,
        "status": "completed",
        "http_status": 200,
        "finish_reason": "stop",
        "input_tokens": 0,
        "cached_input_tokens": 0,
        "output_tokens": 0,
        "reasoning_tokens": 0,
        "token_source": "engine",
        "duration_us": 250_000,
        "charge_class": "charged",
    }
    absent = dict.fromkeys(UsageEvent.__struct_fields__)
    return UsageEvent(**absent | values | fields)


def month_of_events(
    tenants: Sequence[Tenant], model: tuple[int, int], count: int, seed: int = 0, days: int = 30
) -> list[UsageEvent]:
    """A month of rows over some tenants, priced at (100, 50, 400) pico-dollars; the same for the same seed."""
    chance = random.Random(seed)
    model_id, price_id = model
    events = []
    for number in range(count):
        input_tokens, output_tokens = chance.randrange(1, 2000), chance.randrange(1, 500)
        cached = chance.randrange(input_tokens + 1) if chance.random() < 0.3 else 0
        cost = (input_tokens - cached) * 100 + cached * 50 + output_tokens * 400
        started_at = START + timedelta(microseconds=chance.randrange(days * 86_400_000_000))
        events.append(
            usage_event(
                chance.choice(tenants),
                number,
                started_at,
                model_id=model_id,
                price_id=price_id,
                cost_picousd=cost,
                input_tokens=input_tokens,
                cached_input_tokens=cached,
                output_tokens=output_tokens,
            )
        )
    return events


def copy_events(db: psycopg.Connection, events: Iterable[UsageEvent], *, replay: bool = False) -> None:
    """Put rows into raw.usage_events and commit; with `replay`, those that are there already are left as they are."""
    table = "replay" if replay else "raw.usage_events"
    with db.cursor() as cur:
        if replay:
            cur.execute(QUERIES["create_replay"])
        with cur.copy(f"copy {table} ({', '.join(COLUMNS)}) from stdin (format binary)".encode()) as copy:
            copy.write(copy_data(map(encode, events)))
        if replay:
            cur.execute(QUERIES["insert_replay"])
    db.commit()


def _id(db: psycopg.Connection, query: str, *values: Any) -> int:
    row = db.execute(query, values).fetchone()
    assert row is not None
    return int(row[0])
