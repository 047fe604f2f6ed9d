"""What-if prices and tried limits agree with an exact computation row by row, over raw rows and over the archive."""

import json
import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.rows import dict_row

from orchestration.archive import days
from orchestration.archive.files import ArchiveFiles
from orchestration.dry_run.__main__ import main
from orchestration.programs import USAGE, run
from tests.integration.archive.conftest import DAY, History, as_before, later

BOOK = """
[[prices]]
model = "m"
input_usd_per_million = "0.000123"
cached_input_usd_per_million = "0.000001"
output_usd_per_million = "1.5"
reasoning_usd_per_million = "2"
usd_per_request = "0.000000000007"

[[prices]]
model = "m"
priority = 5
input_tokens_from = 1000
input_usd_per_million = "3"
cached_input_usd_per_million = "0"
output_usd_per_million = "6"

[[prices]]
model = "m"
organization = "%s"
effective_from = 2026-03-02T00:00:00Z
input_usd_per_million = "0"
cached_input_usd_per_million = "0"
output_usd_per_million = "0.5"
"""


def _run(program: str, database_url: str, *arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", f"orchestration.{program}", "--json", "--database-url", database_url, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def _march(db: psycopg.Connection) -> list[dict[str, Any]]:
    """Rows of March in each organization's zone, in the order of time."""
    with db.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(
            "select event.*, o.public_id as organization, o.time_zone from raw.usage_events as event"
            " inner join control.organizations as o on event.org_id = o.id"
            " where to_char(started_at at time zone o.time_zone, 'YYYY-MM') = '2026-03' order by started_at, request_id, attempt"
        ).fetchall()
    db.commit()
    return rows


def test_a_month_without_rows_is_no_error_and_costs_nothing(history: History, database_url: str) -> None:
    assert _run("what_if", database_url, "--month", "2019-02", "--no-cache")[-1]["actual_picousd"] == 0
    tried = _run("dry_run", database_url, "--month", "2019-02", "--scope", "project", "--limit", "requests_per_minute=1")
    assert [(row["key"], row["requests"], row["blocked"]) for row in tried] == [("all", 0, 0)]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-1", "1e-13", "much"])
def test_a_tried_budget_is_an_amount_of_money(amount: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["--scope", "key", f"--budget-usd={amount}", "--database-url", "x"]) == USAGE
    assert amount in capsys.readouterr().err


@pytest.fixture(params=["raw", "archive", "archive of before"])
def places(request: pytest.FixtureRequest, transform: psycopg.Connection, files: ArchiveFiles) -> list[str]:
    """Options that say where rows are."""
    if request.param == "raw":
        return []
    for number in range(4):
        path = days.archive_day(transform, files, later(DAY, number)).path
        if request.param == "archive of before" and number % 2:
            as_before(files, path)
    return ["--archive-url", files.url]


def test_another_price_list_is_exact(
    db: psycopg.Connection, history: History, database_url: str, places: list[str], tmp_path: Path
) -> None:
    own = history.tenants[1].organization
    (tmp_path / "book.toml").write_text(BOOK % own)
    said = {row["organization"]: row for row in _run("what_if", database_url, "--month", "2026-03", "--prices",
                                                     str(tmp_path / "book.toml"), *places)}  # fmt: skip
    expected: Counter[str] = Counter()
    actual: Counter[str] = Counter()
    for row in _march(db):
        if row["charge_class"] != "charged" or row["model_id"] is None:
            continue
        if row["organization"] == own and row["started_at"].date() >= later(DAY, 1):
            prices = (Fraction(0), Fraction(0), Fraction(1, 2), Fraction(1, 2), 0)
        elif row["input_tokens"] >= 1000:
            prices = (Fraction(3), Fraction(0), Fraction(6), Fraction(6), 0)
        else:
            prices = (Fraction(123, 10**6), Fraction(1, 10**6), Fraction(3, 2), Fraction(2), 7)
        tokens = (
            row["input_tokens"] - row["cached_input_tokens"], row["cached_input_tokens"],
            row["output_tokens"] - row["reasoning_tokens"], row["reasoning_tokens"],
        )  # fmt: skip
        exact = sum(count * price * 10**6 for count, price in zip(tokens, prices[:4], strict=True)) + prices[4]
        assert exact == int(exact)
        expected[row["organization"]] += int(exact)
        actual[row["organization"]] += row["cost_picousd"] or 0
    assert {name: row["what_if_picousd"] for name, row in said.items() if name != "all"} == dict(expected)
    assert {name: row["actual_picousd"] for name, row in said.items() if name != "all"} == dict(actual)
    assert said["all"]["what_if_picousd"] == expected.total()


def test_without_cache_and_another_model_are_exact(db: psycopg.Connection, history: History, database_url: str) -> None:
    db.execute("insert into control.models (name, context_tokens_max, output_tokens_max) values ('other', 8192, 8192)")
    db.execute(
        "insert into control.prices (model_id, input_picousd, cached_input_picousd, output_picousd, effective, reason)"
        " select id, 7, 1, 11, tstzrange('2020-01-01+00', null), 'test' from control.models where name = 'other'"
    )
    db.commit()
    charged = [row for row in _march(db) if row["charge_class"] == "charged" and row["price_id"] is not None]
    uncached = _run("what_if", database_url, "--month", "2026-03", "--no-cache")[-1]
    assert uncached["what_if_picousd"] == sum(row["input_tokens"] * 100 + row["output_tokens"] * 400 for row in charged)
    everybody = [row for row in _march(db) if row["charge_class"] == "charged"]
    other = _run("what_if", database_url, "--month", "2026-03", "--model", "other")[-1]
    assert other["what_if_picousd"] == sum(
        (row["input_tokens"] - row["cached_input_tokens"]) * 7 + row["cached_input_tokens"] + row["output_tokens"] * 11
        for row in everybody
    )
    assert uncached["rows_unpriced"] == len(everybody) - len(charged), "a row without a price is counted, not called free"


def _requests(db: psycopg.Connection) -> list[dict[str, Any]]:
    """One entry per request, its attempts added up."""
    found: dict[Any, dict[str, Any]] = {}
    for row in _march(db):
        if row["status"] == "refused":
            continue
        one = found.setdefault(row["request_id"], {**row, "cost": 0, "tokens": 0})
        one["cost"] += row["cost_picousd"] or 0
        one["tokens"] += row["input_tokens"]
    return sorted(found.values(), key=lambda one: (one["started_at"], one["request_id"].bytes))


def test_a_tried_limit_blocks_what_a_bucket_of_fractions_blocks(
    db: psycopg.Connection, history: History, database_url: str, places: list[str]
) -> None:
    blocked: Counter[int] = Counter()
    level: dict[int, list[Fraction]] = {}
    last: dict[int, Any] = {}
    rates = (Fraction(1), Fraction(900))
    for one in _requests(db):
        project = one["project_id"]
        seconds = Fraction(str((one["started_at"] - last.get(project, one["started_at"])).total_seconds()))
        last[project] = one["started_at"]
        held = [max(was - rate * seconds / 60, Fraction(0)) for was, rate in zip(level.get(project, [Fraction(0)] * 2), rates,
                                                                                strict=True)]  # fmt: skip
        wanted = (1, one["tokens"])
        if all(has + want <= rate for has, want, rate in zip(held, wanted, rates, strict=True)):
            held = [has + want for has, want in zip(held, wanted, strict=True)]
        else:
            blocked[one["api_key_id"]] += 1
        level[project] = held
    said = _run("dry_run", database_url, "--month", "2026-03", "--scope", "project", "--limit", "requests_per_minute=1",
                "--limit", "input_tokens_per_minute=900", *places)  # fmt: skip
    assert said[-1]["blocked"] == blocked.total() > 100
    assert sorted(row["blocked"] for row in said[:-1]) == sorted(blocked.values())
    assert said[-1]["requests"] == len(_requests(db))


def test_a_tried_budget_blocks_by_the_day_of_the_organization(
    db: psycopg.Connection, history: History, database_url: str
) -> None:
    limit = 5_000_000
    spent: Counter[tuple[int, Any]] = Counter()
    blocked = 0
    for one in _requests(db):
        window = one["org_id"], one["started_at"].astimezone(ZoneInfo(one["time_zone"])).date()
        if spent[window] + one["cost"] <= limit:
            spent[window] += one["cost"]
        else:
            blocked += 1
    said = _run("dry_run", database_url, "--month", "2026-03", "--scope", "organization", "--budget-usd", "0.000005",
                "--window", "day")  # fmt: skip
    assert said[-1]["blocked"] == blocked > 100
