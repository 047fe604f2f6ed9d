"""Asks a running instance with a real vLLM behind it, and settles the account."""

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import UUID

import httpx
import psycopg

from engines.load import EngineLoad, parse_load
from tests.bench.vllm_parity.account import Account, Counted, Row
from tests.bench.vllm_parity.asking import ask
from tests.bench.vllm_parity.plans import EMBEDDINGS, GENERATING, TEXTS, Plan, drawn

AT_ONCE = 8
ROWS_S_MAX = 30.0
SEED = 7
ROWS = """
select request_id, endpoint::text, status::text, token_source::text, input_tokens, output_tokens, cost_picousd
from raw.usage_events where started_at >= %s
"""


def settled(stack: Mapping[str, str], requests: int, *, seed: int = SEED, seconds_max: float = math.inf) -> Account:
    """The account of that many requests, or of those that could be asked in that time.

    Args: stack: what a running instance says of itself.
    """
    model, server = stack["INFERHOUSE_MODEL"], stack["INFERHOUSE_BASE_URL"].removesuffix("/v1")
    with psycopg.connect(stack["INFERHOUSE_DATABASE_URL"], autocommit=True) as db, httpx.Client() as engine:
        row = db.execute("select base_url from control.engines where kind = 'vllm' and enabled").fetchone()
        assert row is not None, "there is no vLLM on this machine, and parity needs it"
        paths = _served(engine, row[0], model)
        prompts = {
            (path, text): _prompt_tokens(engine, row[0], model, Plan(path, text, 8, stream=False))
            for path in paths
            for text in TEXTS
        }
        since = db.execute("select now()").fetchone()
        assert since is not None
        before, plans = _idle(engine, row[0]), drawn(requests, seed, paths)
        headers = {"authorization": f"Bearer {stack['INFERHOUSE_API_KEY']}"}
        limits = httpx.Limits(max_connections=2 * AT_ONCE)
        with httpx.Client(headers=headers, limits=limits) as client, ThreadPoolExecutor(AT_ONCE) as pool:
            until_s = time.monotonic() + seconds_max
            asked = pool.map(lambda plan: ask(client, server, model, plan) if time.monotonic() < until_s else None, plans)
            seen = [one for one in asked if one is not None]
        after = _idle(engine, row[0])
        counted = Counted(after.prompt_tokens - before.prompt_tokens, after.generation_tokens - before.generation_tokens)
        return Account(seen, _rows(db, since[0], len(seen)), counted, prompts)


def _served(engine: httpx.Client, url: str, model: str) -> Sequence[str]:
    """What runs this model: one that generates has no embeddings."""
    embeds = engine.post(url + EMBEDDINGS, json=Plan(EMBEDDINGS, TEXTS[0], 8, stream=False).body(model)).status_code == 200
    return (*GENERATING, EMBEDDINGS) if embeds else GENERATING


def _prompt_tokens(engine: httpx.Client, url: str, model: str, plan: Plan) -> int:
    usage = ask(engine, url, model, plan).usage
    assert usage is not None
    return usage[0]


def _rows(db: psycopg.Connection, since: datetime, count: int) -> dict[UUID, Row]:
    """By request, once they are all there."""
    deadline = time.monotonic() + ROWS_S_MAX
    while True:
        rows = {id_: Row(*values) for id_, *values in db.execute(ROWS, [since]).fetchall()}
        if len(rows) >= count or time.monotonic() > deadline:
            return rows
        time.sleep(0.2)


def _idle(engine: httpx.Client, url: str) -> EngineLoad:
    """vLLM's counters when it does nothing any more."""
    last = None
    while True:
        load = parse_load(engine.get(f"{url}/metrics").text)
        if not load.running and not load.waiting and load == last:
            return load
        last = load
        time.sleep(0.3)
