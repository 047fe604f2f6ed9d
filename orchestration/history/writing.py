"""A history into the database, by processes that write days of their own.

A unit of days is one transaction a piece. Its first rows go ahead in a transaction that does nothing else: making a chunk locks
the hypertable against other makers until it ends, and the processes would wait for each other.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.sql import SQL, Identifier

from orchestration.history import world as worlds
from orchestration.history.draws import ENCODER, Rows, draw
from orchestration.history.encoding import HEADER, TRAILER
from orchestration.history.plan import HOURS_A_DAY, HistoryRefused, Plan, Unit, units
from orchestration.history.world import EPOCH, FIRST_ID, MODELS, US_A_HOUR, World, microseconds
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
PROCESSES = 2
_COPY = SQL("copy {} ({}) from stdin (format binary)")
_COLUMNS = SQL(", ").join(map(Identifier, ENCODER.columns))
_SHARE = 10_000


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it."""

    rows: int
    refused: int
    """Rows that were sent a second time, and that the unique index refused."""
    seconds: float


def write(url: str, plan: Plan, progress: Callable[[int], None]) -> Written:
    """Put the world and all rows into the database. `progress` is told how many rows are there, about once a second.

    Raises: HistoryRefused: a writing process ended early; psycopg.Error.
    """
    with psycopg.connect(url) as conn:
        put_world(conn, worlds.build(plan))
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes = []
    for number in range(PROCESSES):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_write_part, args=(url, plan, number, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    rows = refused = 0
    said_at = began
    while pipes:
        for pipe in wait(pipes):
            assert isinstance(pipe, Connection)
            try:
                came = pipe.recv()
            except EOFError:
                pipes.remove(pipe)
                continue
            rows, refused = rows + came[0], refused + came[1]
        if time.monotonic() - said_at > 1:
            said_at = time.monotonic()
            progress(rows)
    for process in processes:
        process.join()
    seconds = time.monotonic() - began
    if any(process.exitcode for process in processes):
        raise HistoryRefused(f"a writing process ended early; {rows} rows are there, and what it said is above")
    return Written(rows, refused, seconds)


def check(conn: psycopg.Connection, *, others_too: bool) -> None:
    """May a history be put here? Raises: HistoryRefused."""
    if _one(conn, "has_history"):
        raise HistoryRefused("this database has a history already; `make reset YES=1` empties the one of `make up`")
    if not others_too and _one(conn, "has_other_rows"):
        raise HistoryRefused("this database has usage of organizations that are no demonstration: say --yes to mix them")


def _write_part(url: str, plan: Plan, number: int, told: Connection) -> None:
    """Every second unit. In a process of its own."""
    world = worlds.build(plan)
    with psycopg.connect(url, autocommit=True) as conn:
        # A power cut may take the last second of a demonstration.
        conn.execute("set synchronous_commit = off")
        conn.execute(QUERIES["create_sent_again"])
        for unit in _every(units(plan, world.hour_weights), number):
            told.send(write_unit(conn, world, unit))
    told.close()


def _every(found: Iterable[Unit], number: int) -> Iterable[Unit]:
    return (unit for place, unit in enumerate(found) if place % PROCESSES == number)


def write_unit(conn: psycopg.Connection, world: World, unit: Unit) -> tuple[int, int]:
    """(rows written, rows refused). Those that are sent again are sent in the transaction after their first."""
    rows = refused = 0
    opened: set[int] = set()
    for piece in unit.pieces:
        drawn = draw(world, piece)
        ahead = _first_of_days(drawn, world.plan, opened)
        if len(ahead):
            copy_rows(conn, "raw.usage_events", ENCODER.encode(drawn, ahead))
        copy_rows(conn, "raw.usage_events", ENCODER.encode(drawn, np.setdiff1d(np.arange(len(drawn["org_id"])), ahead)))
        rows += len(drawn["org_id"])
        again = _sent_again(drawn, world.plan)
        if len(again):
            refused += copy_again(conn, ENCODER.encode(drawn, again))
    return rows, refused


def _first_of_days(drawn: Rows, plan: Plan, opened: set[int]) -> NDArray[np.intp]:
    """Numbers of the first row of each day that this unit has not written to yet."""
    days = (drawn["started_at"].astype(np.int64) - microseconds(plan.starts_at)) // (HOURS_A_DAY * US_A_HOUR)
    found, first = np.unique(days, return_index=True)
    ahead = [at for day, at in zip(found.tolist(), first.tolist(), strict=True) if day not in opened]
    opened.update(found.tolist())
    return np.array(ahead, np.intp)


def _sent_again(drawn: Rows, plan: Plan) -> NDArray[np.intp]:
    """Which rows a router would have sent twice: by their request, as the answer of a commit is lost by chance."""
    chance = drawn["request_id_low"].astype(np.uint64) % np.uint64(_SHARE)
    return np.flatnonzero(chance < np.uint64(plan.twice_basis_points))


def copy_rows(conn: psycopg.Connection, table: str, rows: bytes) -> None:
    with conn.cursor() as cur, cur.copy(_COPY.format(Identifier(*table.split(".")), _COLUMNS)) as copy:
        copy.write(HEADER)
        copy.write(rows)
        copy.write(TRAILER)


def copy_again(conn: psycopg.Connection, rows: bytes) -> int:
    """Send rows that are there already, as a replay of a journal does; how many the index refused."""
    with conn.transaction(), conn.cursor() as cur:
        with cur.copy(_COPY.format(Identifier("sent_again"), _COLUMNS)) as copy:
            copy.write(HEADER)
            copy.write(rows)
            copy.write(TRAILER)
        sent = cur.rowcount
        cur.execute(QUERIES["insert_sent_again"])
        return sent - cur.rowcount


def put_world(conn: psycopg.Connection, world: World) -> None:
    """Organizations, people, keys, models and prices; the caller's transaction."""
    at = world.plan.starts_at
    for name, rows in (
        ("copy_organizations", _organizations(world)),
        ("copy_projects", _projects(world)),
        ("copy_users", ((FIRST_ID + n, f"user_demo{n:012d}", f"person-{n}@demo.example", f"Person {n}")
                        for n in range(len(world.user_org)))),
        ("copy_members", ((FIRST_ID + org, FIRST_ID + n, "member") for n, org in enumerate(world.user_org.tolist()))),
        ("copy_service_accounts", ((FIRST_ID + n, f"svc_demo{n:012d}", FIRST_ID + org, FIRST_ID + project, f"Job {n}")
                                   for n, (org, project) in enumerate(zip(world.account_org.tolist(),
                                                                          world.account_project.tolist(), strict=True)))),
        ("copy_models", ((FIRST_ID + n, model.name, 131_072, 16_384, world.plan.ends_at) for n, model in enumerate(MODELS))),
        ("copy_prices", _prices(world)),
        ("copy_engines", ((FIRST_ID + n, f"demo-engine-{n + 1}", "simulated", "http://127.0.0.1:9",
                           FIRST_ID + n // worlds.ENGINES_A_MODEL, False)
                          for n in range(len(MODELS) * worlds.ENGINES_A_MODEL))),
        ("copy_api_keys", _api_keys(world)),
    ):  # fmt: skip
        with conn.cursor() as cur, cur.copy(QUERIES[name]) as copy:
            for row in rows:
                copy.write_row((*row, at))


def _organizations(world: World) -> Iterable[tuple[Any, ...]]:
    for number, zone in enumerate(world.zone):
        yield FIRST_ID + number, f"org_demo{number:012d}", f"Demo {number + 1}", zone


def _projects(world: World) -> Iterable[tuple[Any, ...]]:
    for number, org in enumerate(world.project_org.tolist()):
        yield FIRST_ID + number, f"proj_demo{number:012d}", FIRST_ID + org, f"Project {number}"


def _prices(world: World) -> Iterable[tuple[Any, ...]]:
    for number, (model, org, since, until, picousd) in enumerate(
        zip(
            world.price_model.tolist(), world.price_org.tolist(), world.price_from_us.tolist(), world.price_until_us.tolist(),
            world.price_picousd.tolist(), strict=True,
        )
    ):  # fmt: skip
        effective = f"[{_instant(since)},{'' if until < 0 else _instant(until)})"
        yield FIRST_ID + number, FIRST_ID + model, None if org < 0 else FIRST_ID + org, *picousd, effective, "demo history"


def _api_keys(world: World) -> Iterable[tuple[Any, ...]]:
    owners = zip(
        world.key_org.tolist(), world.key_project.tolist(), world.key_user.tolist(), world.key_account.tolist(), strict=True
    )
    for number, (org, project, user, account) in enumerate(owners):
        yield (
            FIRST_ID + number, f"demo{number:012d}", bytes(32), "inference", f"Key {number}", FIRST_ID + org, FIRST_ID + project,
            None if user < 0 else FIRST_ID + user, None if account < 0 else FIRST_ID + account,
        )  # fmt: skip


def _instant(us: int) -> str:
    return str(EPOCH + us * worlds.MICROSECOND)


def _one(conn: psycopg.Connection, query: str) -> Any:
    row = conn.execute(QUERIES[query]).fetchone()
    assert row is not None
    return row[0]
