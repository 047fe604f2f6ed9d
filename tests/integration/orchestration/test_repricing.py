"""The past under a corrected price book: a difference for each line, written only when asked, and once."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import RestrictViolation

from orchestration.pricing.books import BookUnreadable
from orchestration.pricing.reprice import Repriced, RepricingRefused, Wish, main, months_between, reprice
from orchestration.programs import FAILED, UNREACHABLE, USAGE, run
from tests.factories import START, Tenant, add_model, add_tenant, copy_events, month_of_events, usage_event

MARCH = date(2026, 3, 1)


@pytest.fixture
def world(db: psycopg.Connection) -> list[Tenant]:
    """A month of rows at 100, 50 and 400 pico-dollars, with a volume tier and a discount."""
    tenants = [add_tenant(db, zone) for zone in ("UTC", "Asia/Kathmandu")]
    model = add_model(db, "m")
    copy_events(db, month_of_events(tenants, model, 500, seed=3))
    db.execute(
        "insert into control.volume_tiers (model_id, token_class, above_quantity, basis_points, months, reason)"
        " values (%s, 'output', 1000, 1234, '[2026-01-01,)', 'test')",
        [model[0]],
    )
    db.execute(
        "insert into control.discounts (org_id, basis_points, months, reason) values (%s, 500, '[2026-01-01,)', 'test')",
        [tenants[0].org_id],
    )
    db.commit()
    return tenants


@pytest.fixture
def conn(role_url: Callable[..., str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(role_url("inferhouse_transform"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def repriced(role_url: Callable[..., str]) -> Callable[..., Repriced]:
    """A run of its own connection."""

    def run(book: Path | None, *, apply: bool = True, unmetered: bool = False) -> Repriced:
        with psycopg.connect(role_url("inferhouse_transform"), autocommit=True) as connection:
            wish = Wish([MARCH], book, "a wrong price", "ann@example.org", unmetered)
            return reprice(connection, wish, apply=apply)[0]

    return run


@pytest.fixture
def again(repriced: Callable[..., Repriced]) -> Callable[..., int]:
    """Pico-dollars that were left to adjust."""

    def run(book: Path | None, *, apply: bool = False) -> int:
        return int(repriced(book, apply=apply).left["subtotal_picousd"].sum())

    return run


def _book(folder: Path, *others: dict[str, int], **prices: Any) -> Path:
    path = folder / f"book-{len(list(folder.iterdir()))}.json"
    path.write_text(
        json.dumps(
            [
                {"model": "m", "input_picousd": 100, "cached_input_picousd": 50, "output_picousd": 400} | prices,
                *({"model": "n", "cached_input_picousd": 0, "output_picousd": 0} | of_n for of_n in others),
            ]
        )
    )
    return path


def test_the_book_that_rows_were_billed_by_changes_nothing(
    world: list[Tenant], again: Callable[..., int], tmp_path: Path, db: psycopg.Connection
) -> None:
    assert again(None, apply=True) == 0
    assert again(_book(tmp_path), apply=True) == 0
    assert db.execute("select count(*) from findings.repricing_runs").fetchone() == (0,)


def test_differences_are_exact_applied_once_and_taken_back_by_the_next_correction(
    world: list[Tenant], again: Callable[..., int], tmp_path: Path, db: psycopg.Connection
) -> None:
    raw = "select sha256(string_agg(raw.row_digest(e), ''::bytea order by started_at, request_id)) from raw.usage_events as e"
    before = db.execute(raw).fetchone()
    db.commit()
    dearer = _book(tmp_path, output_picousd=410)
    expected = 0
    for tenant in world:
        row = db.execute(
            "select sum(output_tokens), round((sum(output_tokens) - 1000) * 400 * 0.1234),"
            " round((sum(output_tokens) - 1000) * 410 * 0.1234), sum(cost_picousd)"
            " from raw.usage_events as e inner join control.organizations as o on o.id = e.org_id"
            " where org_id = %s and date_trunc('month', started_at at time zone time_zone) = '2026-03-01'",
            [tenant.org_id],
        ).fetchone()
        assert row is not None
        tokens, off, more_off, cost = (int(value) for value in row)
        share = 500 if tenant is world[0] else 0
        old, new = cost - off, cost + 10 * tokens - more_off
        expected += (new - (new * share + 5000) // 10000) - (old - (old * share + 5000) // 10000)
    db.commit()
    assert again(dearer) == expected
    assert db.execute("select count(*) from findings.adjustments").fetchone() == (0,), "a look writes nothing"
    db.commit()
    assert again(dearer, apply=True) == expected
    assert again(dearer, apply=True) == 0
    kinds = db.execute("select distinct adjusts, period_month, reason, author from findings.adjustments order by 1").fetchall()
    assert kinds == [(kind, MARCH, "a wrong price", "ann@example.org") for kind in ("discount", "usage", "volume_discount")]
    assert db.execute(raw).fetchone() == before
    db.commit()
    assert again(None, apply=True) == -expected, "the correction was wrong: it is compensated, not removed"
    assert again(None) == 0
    with pytest.raises(RestrictViolation):
        db.execute("delete from findings.adjustments")
    db.rollback()


def test_a_row_without_a_price_is_billed_by_the_corrected_book(
    world: list[Tenant], again: Callable[..., int], db: psycopg.Connection
) -> None:
    model_id = db.execute("select id from control.models").fetchone()
    assert model_id is not None
    late = usage_event(world[1], 10**6, START + timedelta(days=2), model_id=model_id[0], input_tokens=7)
    copy_events(db, [late])
    assert again(None) == 700


@pytest.fixture
def priceless(db: psycopg.Connection) -> int:
    """Id of a model, n, that the price book has no price for."""
    row = db.execute(
        "insert into control.models (name, context_tokens_max, output_tokens_max) values ('n', 8192, 8192) returning id"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _change(found: Repriced) -> tuple[list[int], int, int, int]:
    """(changes of decisions, pico-dollars left, rows without a price, rows without counts)."""
    return found.decisions["change"].to_list(), int(found.left["subtotal_picousd"].sum()), found.priceless, found.unmetered


def _decided(db: psycopg.Connection) -> list[tuple[int, bool]]:
    """(number of the request, whether by its counts) of what is decided."""
    rows = db.execute(
        "select request_id, is_metered from findings.decided_rows where period_month = '2026-03-01'"
        " group by 1, 2 having sum(change) = 1 order by 1"
    ).fetchall()
    db.commit()
    return [(request_id.int & 0xFFFFFF, is_metered) for request_id, is_metered in rows]


def test_a_row_without_a_price_is_decided_once_and_no_longer_when_its_price_is_gone(
    world: list[Tenant], repriced: Callable[..., Repriced], db: psycopg.Connection, tmp_path: Path, priceless: int
) -> None:
    unknown = {"model_id": priceless, "input_tokens": 7}
    left_early = unknown | {"input_tokens": 0, "token_source": "none", "status": "client_closed"}
    # In Kathmandu it is April already.
    elsewhere = usage_event(world[1], 10**6 + 2, datetime(2026, 3, 31, 20, tzinfo=UTC), **unknown)
    copy_events(
        db, [usage_event(world[1], 10**6, START, **unknown), usage_event(world[1], 10**6 + 1, START, **left_early), elsewhere]
    )
    priced = _book(tmp_path, {"input_picousd": 3, "request_picousd": 5})
    assert _change(repriced(None)) == ([], 0, 2, 0)
    assert _change(repriced(priced, apply=False)) == ([1, 1], 31, 0, 0)
    assert _decided(db) == []
    assert _change(repriced(priced)) == ([1, 1], 31, 0, 0)
    assert _change(repriced(priced)) == ([], 0, 0, 0)
    assert _decided(db) == [(10**6, True), (10**6 + 1, True)]
    assert _change(repriced(None)) == ([-1, -1], -31, 2, 0)
    assert _decided(db) == []
    db.commit()
    assert _change(repriced(priced)) == ([1, 1], 31, 0, 0)
    with pytest.raises(RestrictViolation):
        db.execute("delete from findings.decided_rows")
    db.rollback()


def test_a_row_without_counts_is_billed_by_a_decision_only_and_stays_so(
    world: list[Tenant], repriced: Callable[..., Repriced], db: psycopg.Connection, tmp_path: Path, priceless: int
) -> None:
    uncounted = {"model_id": priceless, "token_source": "none"}
    copy_events(db, [usage_event(world[0], 10**6, START, **uncounted)])
    book = _book(tmp_path, {"input_picousd": 3, "request_picousd": 5})
    assert _change(repriced(book)) == ([], 0, 0, 1)
    assert _change(repriced(None, unmetered=True)) == ([], 0, 1, 0), "what a request costs is not known either"
    assert _change(repriced(book, unmetered=True)) == ([1], 5, 0, 0)
    assert _change(repriced(book, unmetered=True)) == _change(repriced(book)) == ([], 0, 0, 0)
    assert _decided(db) == [(10**6, False)]
    copy_events(db, [usage_event(world[0], 10**6 + 1, START, **uncounted)])
    assert _change(repriced(book)) == ([], 0, 0, 1), "nobody has decided about this one"


def test_counts_that_no_row_can_hold_the_cost_of_are_none(
    world: list[Tenant], repriced: Callable[..., Repriced], db: psycopg.Connection, tmp_path: Path, priceless: int
) -> None:
    copy_events(db, [usage_event(world[1], 10**6, START, model_id=priceless, input_tokens=2**31 - 1)])
    absurd = _book(tmp_path, {"input_picousd": 10**12, "request_picousd": 5})
    assert _change(repriced(absurd)) == ([], 0, 0, 1)
    assert _change(repriced(absurd, unmetered=True)) == ([1], 5, 0, 0)
    sane = _book(tmp_path, {"input_picousd": 1, "request_picousd": 5})
    assert _change(repriced(sane)) == ([-1, 1], 2**31 - 1, 0, 0)
    assert _decided(db) == [(10**6, True)]
    assert _change(repriced(absurd)) == ([-1], -(2**31 + 4), 0, 1), "only its counts were decided on"


def test_a_book_without_a_price_for_a_row_is_refused(world: list[Tenant], conn: psycopg.Connection, tmp_path: Path) -> None:
    book = _book(tmp_path, effective_from="2026-03-10T00:00:00Z")
    with pytest.raises(RepricingRefused, match="no price for"):
        reprice(conn, Wish([MARCH], book))


ABSURD: list[dict[str, Any]] = [
    {"model": "another"}, {"organization": "org_none"}, {"output_picousd": -1}, {"output_picousd": 10**13},
    {"effective_from": "2026-03-10T00:00:00"}, {"x": 1},
]  # fmt: skip


def test_a_month_with_days_that_are_only_in_the_archive_is_refused(
    db: psycopg.Connection, world: list[Tenant], conn: psycopg.Connection
) -> None:
    for day, wanted in ((date(2026, 4, 2), False), (date(2026, 3, 30), True)):
        db.execute(
            "insert into archive.files (day, version, path, usage_rows, bytes, sha256, row_set_digest, verified_at, dropped_at)"
            " values (%s, 1, 'a', 1, 1, %s, %s, now(), now())",
            [day, b"\0" * 32, b"\0" * 32],
        )
        db.commit()
        if wanted:
            with pytest.raises(RepricingRefused, match="inferhouse archive restore 2026-03-30 2026-03-30"):
                reprice(conn, Wish([MARCH]))
        else:
            reprice(conn, Wish([MARCH]))


def test_an_absurd_book_is_refused(db: psycopg.Connection, conn: psycopg.Connection, tmp_path: Path) -> None:
    add_model(db, "m")
    db.commit()
    for prices in ABSURD:
        with pytest.raises(BookUnreadable):
            reprice(conn, Wish([MARCH], _book(tmp_path, **prices)))


def test_only_months_that_are_over_everywhere_are_priced_anew() -> None:
    today = date(2026, 4, 2)
    assert months_between(date(2025, 12, 1), MARCH, today) == [date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1), MARCH]
    for first, last, day in (
        (MARCH, MARCH, date(2026, 4, 1)),
        (MARCH, date(2026, 4, 1), today),
        (MARCH, date(2026, 2, 1), today),
    ):
        with pytest.raises(RepricingRefused):
            months_between(first, last, day)


def test_the_command_prints_differences_in_exact_dollars(
    world: list[Tenant], role_url: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = role_url("inferhouse_transform")
    options = ["--from", "2026-03", "--book", str(_book(tmp_path, input_picousd=101)), "--database-url", url]
    assert run(main, options) == 0
    printed = capsys.readouterr()
    lines = list(csv.DictReader(io.StringIO(printed.out)))
    assert {line["organization"] for line in lines} == {tenant.organization for tenant in world}
    usage = [line for line in lines if line["adjusts"] == "usage"]
    assert [line["difference_usd"] for line in usage] == [f"{int(line['quantity']) / 10**12:.12f}" for line in usage]
    assert "nothing was written" in printed.err
    assert "of unknown cost" not in printed.err
    assert run(main, [*options, "--json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in as_json] == lines


def test_the_command_says_what_becomes_of_rows_of_unknown_cost(
    world: list[Tenant], role_url: Callable[..., str], db: psycopg.Connection, capsys: pytest.CaptureFixture[str], priceless: int
) -> None:
    model = db.execute("select model_id from raw.usage_events limit 1").fetchone()
    assert model is not None
    copy_events(
        db,
        [
            usage_event(world[0], 10**6, START, model_id=model[0], input_tokens=7),
            usage_event(world[0], 10**6 + 1, START, model_id=model[0], token_source="none"),
            usage_event(world[0], 10**6 + 2, START, model_id=priceless),
        ],
    )
    options = ["--from", "2026-03", "--database-url", role_url("inferhouse_transform")]
    assert run(main, options) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [
        "1 rows of unknown cost become billed, and let their month through the gate",
        "1 rows of unknown cost have no price in this book",
        "1 rows of unknown cost have no usable counts: --unmetered bills them with 0 tokens",
    ]
    why = ["--apply", "--reason", "known of", "--author", "ann@example.org"]
    assert run(main, [*options, *why, "--unmetered"]) == 0
    assert "2 rows of unknown cost become billed" in capsys.readouterr().err
    assert _decided(db) == [(10**6, True), (10**6 + 1, False)]
    db.execute("delete from raw.usage_events where request_id = (select request_id from findings.decided_rows limit 1)")
    db.commit()
    assert run(main, options) == 0
    assert "1 rows of unknown cost are no longer billed, and close the gate again" in capsys.readouterr().err


def test_the_command_says_what_stops_it(
    role_url: Callable[..., str], server_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = role_url("inferhouse_transform")
    march = ["--from", "2026-03", "--database-url"]
    for options, code, words in (
        ([*march, url, "--apply"], USAGE, "--reason and --author"),
        ([*march, ""], USAGE, "WAREHOUSE_DATABASE_URL"),
        (["--from", f"{datetime.now(UTC):%Y-%m}", "--database-url", url], FAILED, "repricing_refused"),
        ([*march, "postgresql://nobody@127.0.0.1:1/none"], UNREACHABLE, "does not answer"),
        ([*march, server_dsn], FAILED, "control.organizations"),
    ):
        assert run(main, options) == code
        assert words in capsys.readouterr().err
