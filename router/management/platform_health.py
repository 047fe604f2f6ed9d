"""`/v1/platform/health`: what is well, what is not, and what to do about it. `inferhouse doctor` shows it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Depends, Request
from psycopg.errors import QueryCanceled
from pydantic import BaseModel

from router.inference.state import CONNECTIONS_MAX, InferenceState
from router.management import state as management
from router.management.access import Access, Needs
from router.routes import routes
from warehouse.access import health
from warehouse.access.health import Facts
from warehouse.migrations import runner

router = routes("platform", "/platform/health")
QUERY_S_MAX = 20.0  # counting a day of raw rows; a dashboard must not be able to keep the database busy for longer
NAMES_MAX = 20
CONNECTIONS_SHARE_MAX = 0.8  # of the database's connections in use: what opens more may be refused
SKEW_S_MAX = 2.0  # from here keys and sessions seem to expire early or late
LAG_MAX = timedelta(hours=2)  # marts are built every few minutes
Status = Literal["ok", "warning", "failed"]


class Check(BaseModel):
    """One question and its answer. `what_to_do` is null where nothing is."""

    name: str
    status: Status
    message: str
    what_to_do: str | None = None


class HealthShape(BaseModel):
    """Every check; `status` is the worst of them."""

    object: Literal["platform.health"] = "platform.health"
    status: Status
    checks: list[Check]


@router.get("", response_model=HealthShape)
async def get_platform_health(request: Request, access: Annotated[Access, Depends(Needs("health.read"))]) -> HealthShape:
    """What is well and what is not. Asks the database only what an index or one day of rows answers."""
    state: InferenceState = request.app.state.inference
    try:
        async with access.transaction() as conn:
            unpriced = await health.without_price(conn, rows_max=NAMES_MAX)
            facts = await health.facts(conn, seconds_max=QUERY_S_MAX)
    except QueryCanceled:
        slow = f"it did not answer within {QUERY_S_MAX:g} s"
        checks = [_warning("database", slow, "look at its load: `select * from pg_stat_activity`")]
    else:
        checks = [*_of_database(facts), connections(facts, state.settings.workers), _prices(unpriced), *_of_marts(facts)]
    checks += [_engines(state), *_redis(state), *_journal(state)]
    worst = max((check.status for check in checks), key=("ok", "warning", "failed").index)
    return HealthShape(status=worst, checks=checks)


def _ok(name: str, message: str) -> Check:
    return Check(name=name, status="ok", message=message)


def _warning(name: str, message: str, what_to_do: str) -> Check:
    return Check(name=name, status="warning", message=message, what_to_do=what_to_do)


def _failed(name: str, message: str, what_to_do: str) -> Check:
    return Check(name=name, status="failed", message=message, what_to_do=what_to_do)


def _of_database(facts: Facts) -> Iterator[Check]:
    yield _ok("database", f"answers; PostgreSQL {facts.version}")
    yield _migrations(facts)
    skew_s = (datetime.now(UTC) - facts.now).total_seconds()
    said = f"{abs(skew_s):.1f} s apart"
    if abs(skew_s) > SKEW_S_MAX:
        yield _failed("clock", f"router and database are {said}", "synchronize both by NTP: keys expire by these clocks")
    else:
        yield _ok("clock", f"router and database are {said}")
    entries = facts.audit_sequence or 0
    yield _ok("audit", f"{entries} entries; `inferhouse audit verify` checks their chain")


def connections(facts: Facts, workers: int) -> Check:
    """Workers open theirs as they need them: that they do not fit shows only under load, as rows and keys that wait."""
    there = facts.connections_max
    wanted = workers * (CONNECTIONS_MAX + 1 + management.CONNECTIONS_MAX)  # the one is for LISTEN
    message = f"{facts.connections} of {there} are in use; this router takes up to {wanted}"
    if wanted > there or facts.connections > CONNECTIONS_SHARE_MAX * there:
        return _warning("connections", message, "raise max_connections of the database, or have fewer workers")
    return _ok("connections", message)


def _migrations(facts: Facts) -> Check:
    known = {migration.name: migration.sha256 for migration in runner.load("once")}
    missing = [name for name in known if name not in facts.applied]
    newer = [name for name in facts.applied if name not in known]
    edited = [name for name, sha256 in known.items() if facts.applied.get(name, sha256) != sha256]
    if missing or edited:
        message = f"not applied: {', '.join(missing)}" if missing else f"applied with another text: {', '.join(edited)}"
        return _failed("migrations", message, "run `python -m warehouse.migrations` with the version that this router has")
    if newer:
        return _warning("migrations", f"the database has newer ones: {', '.join(newer)}", "update this router")
    return _ok("migrations", f"all {len(known)} are applied")


def _prices(unpriced: list[str]) -> Check:
    if unpriced:
        shown = ", ".join(unpriced)
        more = " and more" if len(unpriced) == NAMES_MAX else ""
        return _failed("prices", f"no list price in force: {shown}{more}", "`inferhouse price create`: usage cannot be billed")
    return _ok("prices", "every model in service has a list price in force")


def _of_marts(facts: Facts) -> Iterator[Check]:
    if not facts.marts_built:
        yield _warning("completeness", "the marts are not built yet", "wait for the first run of dbt, or look at Dagster")
        return
    lag = facts.now - facts.complete_to if facts.complete_to else None
    behind = facts.last_request is not None and (facts.complete_to is None or facts.complete_to < facts.last_request)
    if behind and (lag is None or lag > LAG_MAX):
        hours = "from the beginning" if lag is None else f"{lag.total_seconds() / 3600:.1f} h behind"
        yield _failed("completeness", f"the marts are {hours}", "look at the last runs in Dagster")
    else:
        until = facts.complete_to.strftime("%Y-%m-%d %H:%M:%SZ") if facts.complete_to else "now: there was no request yet"
        yield _ok("completeness", f"complete to {until}")
    if facts.raw_rows != facts.mart_rows:
        message = f"yesterday has {facts.raw_rows} raw rows, and {facts.mart_rows} in the marts"
        yield _failed("parity", message, "look at the last runs in Dagster; `python -m dbt build` for the day repairs it")
    else:
        yield _ok("parity", f"yesterday's {facts.raw_rows} raw rows are all in the marts")


def _engines(state: InferenceState) -> Check:
    if not state.settings.serves_inference:
        return _ok("engines", "this process does not call engines")
    down = [each.engine.name for each in state.engines.states.values() if not each.healthy]
    failing = sorted(each.engine.name for each in state.engines.states.values() if each.healthy and each.breaker.is_open)
    if not down and failing:
        message = f"calls have failed lately: {', '.join(failing[:NAMES_MAX])}"
        return _warning("engines", message, "look at their logs; they are tried again by themselves")
    if not down:
        return _ok("engines", f"all {len(state.engines.states)} answer")
    message = f"no answer: {', '.join(sorted(down)[:NAMES_MAX])}"
    if len(down) == len(state.engines.states):
        return _failed("engines", message, "no request can be served: start an engine, or `inferhouse engine list`")
    return _warning("engines", message, "look at their logs, or `inferhouse engine disable`")


def _redis(state: InferenceState) -> Iterator[Check]:
    if not state.settings.serves_inference:
        return
    if trouble := state.reservations.degraded():
        yield _failed("redis", trouble, "docs/runbooks/redis-down.md says what to do")
    else:
        yield _ok("redis", "answers; budgets and limits are held there")


def _journal(state: InferenceState) -> Iterator[Check]:
    if not state.settings.serves_inference:
        return
    used, bytes_max = state.sink.journal.lacking_bytes, state.settings.journal_bytes_max
    message = f"{used} of {bytes_max} bytes in use, {state.sink.rows_waiting} rows wait"
    refused, damaged = state.sink.rows_quarantined, state.sink.files_damaged
    if used * 2 > bytes_max:
        yield _failed("journal", message, "the database does not take usage rows: see its log; full, requests get 503")
    elif refused or damaged or state.sink.database_error:
        kept = f"{refused} rows were refused by the database, {damaged} files were damaged"
        why = state.sink.database_error or kept
        yield _warning("journal", f"{message}; {why}", "docs/runbooks/journal-growing.md says what to do about each")
    else:
        yield _ok("journal", message)
