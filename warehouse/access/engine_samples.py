"""What engines say of themselves, as it was read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from psycopg import Connection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Target:
    """An engine that has counters; what its GPUs cost is kept with each sample, so that a change does not change the past."""

    id: int
    name: str
    base_url: str
    gpus: int
    gpu_hour_picousd: int


@dataclass(frozen=True, slots=True)
class EngineSample:
    """One reading; counters count from `started_at`, the start of the engine's process."""

    engine_id: int
    sampled_at: datetime
    started_at: datetime | None
    prompt_tokens: int
    cached_tokens: int
    generation_tokens: int
    prefix_cache_queries: int
    prefix_cache_hits: int
    requests_finished: int
    requests_aborted: int
    preemptions: int
    queue_us: int
    request_us: int
    running: int
    waiting: int
    kv_cache_usage: Decimal
    gpus: int
    gpu_hour_picousd: int


def targets(conn: Connection, *, rows_max: int) -> list[Target]:
    """Engines to read, hosted providers left out."""
    with conn.cursor(row_factory=class_row(Target)) as cur:
        return cur.execute(QUERIES["targets"], {"rows_max": rows_max}).fetchall()


def add(conn: Connection, samples: Sequence[EngineSample]) -> None:
    """Keep readings; the same one twice is one."""
    with conn.cursor() as cur:
        cur.executemany(QUERIES["add"], [asdict(sample) for sample in samples])


def drop_old(conn: Connection, *, kept_days: int) -> int:
    """Drop chunks whose samples are all older; how many."""
    row = conn.execute(QUERIES["drop_old"], {"kept_days": kept_days}).fetchone()
    assert row is not None
    return int(row[0])
