"""The engines' own account beside the raw rows."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from tests.bench.faults.world import World

SETTLED_S_MAX = 20.0
IN_ROWS = ("input_tokens", "cached_input_tokens", "output_tokens")
AT_ENGINE = ("prompt_tokens", "cached_tokens", "completion_tokens")
ROWS = """
select request_id, attempt, status::text, input_tokens, cached_input_tokens, output_tokens, cost_picousd
from raw.usage_events where started_at >= %s and attempt > 0
"""


def compare(world: World, since: datetime, answered: Sequence[str]) -> tuple[int, list[str]]:
    """(rows, mismatches) of what started at `since` or later. Waits until engines and journal are done."""
    entries = [entry for engine in world.engines for entry in engine.entries()]
    deadline = time.monotonic() + SETTLED_S_MAX
    while True:
        rows = _rows(world, since)
        found = mismatches(entries, rows, answered)
        if not found or time.monotonic() > deadline:
            return len(rows), found
        time.sleep(0.1)


def _rows(world: World, since: datetime) -> list[dict[str, Any]]:
    with world.db.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(ROWS, [since]).fetchall()
    world.db.commit()
    return rows


def mismatches(entries: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], answered: Sequence[str]) -> list[str]:
    """What the two accounts, and the clients, do not agree on; nothing is right.

    An attempt that broke before the engine took it has a row and no call: then nothing was counted and nothing is charged.
    """
    calls: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    attempts: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        calls[UUID(entry["request_id"])].append(entry)
    for row in rows:
        attempts[row["request_id"]].append(row)
    found = [
        f"{id_} was called {len(called)} times and has {len(attempts[id_])} rows"
        for id_, called in list(calls.items())
        if len(called) > len(attempts[id_])
    ]
    doubled = Counter((row["request_id"], row["attempt"]) for row in rows)
    found += [f"{key} has {count} rows" for key, count in doubled.items() if count > 1]
    for id_, made in attempts.items():
        found += _of_one(id_, made, calls.get(id_, []))
    for id_ in map(UUID, answered):
        if [row["status"] for row in attempts.get(id_, [])].count("completed") != 1:
            found.append(f"{id_} was answered and its rows say {[row['status'] for row in attempts.get(id_, [])]}")
    return found


def _of_one(id_: UUID, rows: Sequence[dict[str, Any]], calls: Sequence[dict[str, Any]]) -> list[str]:
    """A completed row has exactly what an engine counted; any other at most that, in sum."""
    finished = [tuple(_counted(call, name) for name in AT_ENGINE) for call in calls if call["state"] == "finished"]
    found = []
    completed = [tuple(row[name] for name in IN_ROWS) for row in rows if row["status"] == "completed"]
    if len(completed) > 1:
        found.append(f"{id_} completed {len(completed)} times")
    found += [f"{id_}: {counted} in its row, {finished} at the engines" for counted in completed if counted not in finished]
    for name, at_engine in zip(IN_ROWS, AT_ENGINE, strict=True):
        ours, theirs = sum(row[name] or 0 for row in rows), sum(_counted(call, at_engine) for call in calls)
        charged = any(row["cost_picousd"] for row in rows)
        if charged and ours > theirs:
            found.append(f"{id_}: {ours} {name} in rows, {theirs} at the engines")
    if not calls and any(row["cost_picousd"] for row in rows):
        found.append(f"{id_} is charged and no engine saw it")
    return found


def _counted(call: dict[str, Any], name: str) -> int:
    """What an engine has counted; tokenize and detokenize count without the model, in a field of their own."""
    return int(call[name] or (call["counted_tokens"] if name == "prompt_tokens" else 0))
