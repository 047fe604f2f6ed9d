"""A small control plane and rows to put behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from warehouse.access.usage_rows import UsageEvent
from warehouse.identity.keys import ApiKeySecret

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
PEPPER = b"a pepper of the tests"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Ids of one organization's rows."""

    org_id: int
    project_id: int
    user_id: int
    api_key_id: int
    secret: ApiKeySecret


@dataclass(frozen=True, slots=True)
class Control:
    """Two tenants, one model with a list price, one engine."""

    first: Tenant
    second: Tenant
    model_id: int
    engine_id: int
    price_id: int


def _id(db: psycopg.Connection, statement: str, *parameters: object) -> int:
    row = db.execute(statement.encode() + b" returning id", parameters).fetchone()
    assert row is not None
    return int(row[0])


def _tenant(db: psycopg.Connection, number: int) -> Tenant:
    mark = f"{number:012d}"
    org_id = _id(db, "insert into control.organizations (public_id, name) values (%s, %s)", f"org_{mark}", f"Org {number}")
    project_id = _id(
        db, "insert into control.projects (public_id, org_id, name) values (%s, %s, 'Default')", f"proj_{mark}", org_id
    )
    user_id = _id(
        db, "insert into control.users (public_id, email, name, password_hash) values (%s, %s, 'Somebody', 'secret')",
        f"user_{mark}", f"somebody{number}@demo.example",
    )  # fmt: skip
    db.execute("insert into control.org_members (org_id, user_id, role) values (%s, %s, 'owner')", [org_id, user_id])
    secret = ApiKeySecret.generate()
    api_key_id = _id(
        db, "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id, user_id)"
        " values (%s, %s, 'inference', 'key', %s, %s, %s)",
        secret.public_id, secret.hash(PEPPER), org_id, project_id, user_id,
    )  # fmt: skip
    return Tenant(org_id, project_id, user_id, api_key_id, secret)


@pytest.fixture
def control(db: psycopg.Connection) -> Control:
    """Committed, so that other roles see it."""
    model_id = _id(db, "insert into control.models (name, context_tokens_max, output_tokens_max) values ('m', 4096, 1024)")
    engine_id = _id(
        db,
        "insert into control.engines (name, kind, base_url, model_id) values ('e', 'vllm', 'http://127.0.0.1:1', %s)",
        model_id,
    )
    price_id = _id(
        db, "insert into control.prices (model_id, input_picousd, cached_input_picousd, output_picousd, effective, reason)"
        " values (%s, 100, 50, 200, '[2020-01-01 00:00+00,)', 'first')",
        model_id,
    )  # fmt: skip
    made = Control(_tenant(db, 1), _tenant(db, 2), model_id, engine_id, price_id)
    db.commit()
    return made


@pytest.fixture
def event(control: Control) -> Callable[..., UsageEvent]:
    """`event(7)`: the seventh row of a busy second, as production has them; the same each time. Fields may be given."""

    def make(number: int, tenant: Tenant | None = None, **fields: object) -> UsageEvent:
        whose = tenant or control.first
        started_at = NOON + timedelta(microseconds=number * 1000)
        duration_us = 800_000 + number % 1000
        input_tokens, output_tokens = 500 + number % 400, 120 + number % 90
        row = {
            "request_id": UUID(int=(int(started_at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | number),
            "attempt": 1,
            "started_at": started_at,
            "finished_at": started_at + timedelta(microseconds=duration_us),
            "org_id": whose.org_id,
            "project_id": whose.project_id,
            "api_key_id": whose.api_key_id,
            "user_id": whose.user_id,
            "service_account_id": None,
            "end_user": f"customer-{number % 1000:06d}" if number % 2 else None,
            "trace_id": UUID(int=number << 64 | 1) if number % 4 == 0 else None,
            "tags": {"team": "search", "feature": "summaries"} if number % 5 == 0 else None,
            "endpoint": "chat.completions",
            "model_asked": None,
            "model_id": control.model_id,
            "engine_id": control.engine_id,
            "stream": number % 3 != 0,
            "status": "completed",
            "http_status": 200,
            "error_code": None,
            "finish_reason": "stop",
            "input_tokens": input_tokens,
            "cached_input_tokens": input_tokens // 4,
            "output_tokens": output_tokens,
            "reasoning_tokens": 0,
            "token_source": "engine",
            "queue_us": 150,
            "ttft_us": 40_000 + number % 500,
            "duration_us": duration_us,
            "overhead_us": 350,
            "router_life": 1_234_567_890,
            "price_id": control.price_id,
            "cost_picousd": (input_tokens - input_tokens // 4) * 100 + input_tokens // 4 * 50 + output_tokens * 200,
            "charge_class": "charged",
        }
        return UsageEvent(**row | fields)  # type: ignore[arg-type]

    return make
