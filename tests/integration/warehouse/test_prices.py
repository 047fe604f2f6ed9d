"""The price book: at every instant one list price, and overrides beside it. Years to come: the router reads no past ones."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.errors import CheckViolation, ExclusionViolation

from router.inference.catalogue import Catalogue
from tests.integration.warehouse.conftest import Control

CHANGE = datetime(2040, 7, 1, tzinfo=UTC)
Put = Callable[..., None]


@pytest.fixture
def put(db: psycopg.Connection, control: Control) -> Put:
    """`put("[2040-07-01,)", org_id=…)`: one more version; at commit the book must be right."""

    def add(effective: str, *, org_id: int | None = None, output_picousd: int = 300, model_id: int = control.model_id) -> None:
        db.execute(
            "insert into control.prices"
            " (model_id, org_id, input_picousd, cached_input_picousd, output_picousd, effective, reason)"
            " values (%s, %s, 100, 50, %s, %s, 'test')",
            [model_id, org_id, output_picousd, effective],
        )

    return add


def _end_first(db: psycopg.Connection, control: Control, at: str) -> None:
    db.execute("update control.prices set effective = tstzrange(lower(effective), %s) where id = %s", [at, control.price_id])


def _price(role_url: Callable[..., str], control: Control, org_id: int, at: datetime) -> int | None:
    """Output price that the router finds at this instant."""

    async def read() -> int | None:
        async with await AsyncConnection.connect(role_url("inferhouse_router")) as conn:
            prices = (await Catalogue.load(conn)).prices_for(control.model_id, org_id, at, "chat.completions", None)
            return prices[0].output_picousd if prices else None

    return asyncio.run(read())


def test_a_second_price_for_the_same_time_is_refused(put: Put) -> None:
    with pytest.raises(ExclusionViolation, match="prices_no_overlap"):
        put("[2040-01-01 00:00+00,)")


def test_an_overlap_of_one_instant_is_refused(db: psycopg.Connection, control: Control, put: Put) -> None:
    _end_first(db, control, "2040-07-01 00:00:00.000001+00")
    with pytest.raises(ExclusionViolation, match="prices_no_overlap"):
        put("[2040-07-01 00:00+00,)")


def test_a_change_is_one_transaction(db: psycopg.Connection, control: Control, put: Put) -> None:
    _end_first(db, control, "2040-07-01 00:00+00")
    put("[2040-07-01 00:00+00,)")
    db.commit()


def test_a_gap_is_refused_at_commit(db: psycopg.Connection, control: Control, put: Put) -> None:
    _end_first(db, control, "2040-07-01 00:00+00")
    put("[2040-07-01 00:00:00.000001+00,)")
    with pytest.raises(ExclusionViolation, match="nothing is in force from"):
        db.commit()


def test_taking_a_version_out_of_the_middle_is_refused(db: psycopg.Connection, control: Control, put: Put) -> None:
    _end_first(db, control, "2040-07-01 00:00+00")
    put("[2040-07-01 00:00+00,2040-08-01 00:00+00)", output_picousd=1)
    put("[2040-08-01 00:00+00,)")
    db.commit()
    db.execute("delete from control.prices where output_picousd = 1")
    with pytest.raises(ExclusionViolation, match="price gap"):
        db.commit()


def test_a_version_with_a_condition_may_begin_and_end_as_it_likes(db: psycopg.Connection, control: Control) -> None:
    _condition(db, control, "[2040-01-01 00:00+00,2040-02-01 00:00+00)")
    _condition(db, control, "[2040-03-01 00:00+00,2040-04-01 00:00+00)")
    db.commit()


def test_a_version_without_a_condition_is_still_needed_below_one(db: psycopg.Connection, control: Control, put: Put) -> None:
    _end_first(db, control, "2040-07-01 00:00+00")
    put("[2040-08-01 00:00+00,)")
    _condition(db, control, "[2040-06-01 00:00+00,2040-09-01 00:00+00)")
    with pytest.raises(ExclusionViolation, match="nothing is in force from"):
        db.commit()


def test_of_conditions_of_one_priority_at_most_one_holds(db: psycopg.Connection, control: Control) -> None:
    _condition(db, control, "[2040-01-01 00:00+00,)", input_tokens="[0,100)")
    _condition(db, control, "[2040-01-01 00:00+00,)", input_tokens="[100,)")
    _condition(db, control, "[2040-01-01 00:00+00,)", input_tokens="[0,)", priority=2)
    with pytest.raises(ExclusionViolation, match="prices_no_overlap"):
        _condition(db, control, "[2041-01-01 00:00+00,)", input_tokens="[99,101)")


@pytest.mark.parametrize(
    "columns",
    ["priority = 1", "endpoint = 'rerank'", "input_tokens_range = '[1,)'", "tags = '{\"batch\": \"true\"}'",
     "priority = -1, endpoint = 'rerank'", "priority = 1, input_tokens_range = 'empty'",
     "priority = 1, input_tokens_range = '[-1,5)'", "priority = 1, tags = '[]'",
     "priority = 1, tags = '{\"a\": {\"b\": \"c\"}}'", "request_picousd = -1",
     "reasoning_picousd = -1", "request_picousd = 1000000000000001", "reasoning_picousd = 1000000000001"],
)  # fmt: skip
def test_conditions_and_priority_go_together_and_have_bounds(db: psycopg.Connection, control: Control, columns: str) -> None:
    with pytest.raises(CheckViolation):
        db.execute(f"update control.prices set {columns} where id = %s".encode(), [control.price_id])


def _condition(
    db: psycopg.Connection, control: Control, effective: str, *, input_tokens: str = "[0,)", priority: int = 1
) -> None:
    db.execute(
        "insert into control.prices (model_id, input_picousd, cached_input_picousd, output_picousd, effective, reason, priority,"
        " endpoint, input_tokens_range) values (%s, 1, 1, 1, %s, 'test', %s, 'embeddings', %s)",
        [control.model_id, effective, priority, input_tokens],
    )


def test_moving_a_version_to_another_model_is_refused_where_it_leaves_a_gap(
    db: psycopg.Connection, control: Control, put: Put
) -> None:
    _end_first(db, control, "2040-07-01 00:00+00")
    put("[2040-07-01 00:00+00,2040-08-01 00:00+00)", output_picousd=1)
    put("[2040-08-01 00:00+00,)")
    db.execute("insert into control.models (name, context_tokens_max, output_tokens_max) values ('other', 1, 1)")
    db.commit()
    db.execute(
        "update control.prices set model_id = (select id from control.models where name = 'other') where output_picousd = 1"
    )
    with pytest.raises(ExclusionViolation, match="price gap"):
        db.commit()


def test_an_override_stands_beside_the_list_price(
    db: psycopg.Connection, control: Control, put: Put, role_url: Callable[..., str]
) -> None:
    put("[2040-07-01 00:00+00,2040-08-01 00:00+00)", org_id=control.first.org_id, output_picousd=7)
    put("[2041-01-01 00:00+00,)", org_id=control.first.org_id, output_picousd=8)  # with a gap: the list price is there
    db.commit()
    assert _price(role_url, control, control.first.org_id, CHANGE) == 7
    assert _price(role_url, control, control.first.org_id, CHANGE + timedelta(days=31)) == 200
    assert _price(role_url, control, control.second.org_id, CHANGE) == 200


def test_overrides_of_one_organization_do_not_overlap(control: Control, put: Put) -> None:
    put("[2040-07-01 00:00+00,)", org_id=control.first.org_id)
    put("[2040-07-01 00:00+00,)", org_id=control.second.org_id)
    with pytest.raises(ExclusionViolation, match="prices_no_overlap"):
        put("[2040-08-01 00:00+00,)", org_id=control.first.org_id)


def test_the_new_price_holds_from_its_first_instant(
    db: psycopg.Connection, control: Control, put: Put, role_url: Callable[..., str]
) -> None:
    _end_first(db, control, str(CHANGE))
    put(f"[{CHANGE},)")
    db.commit()
    org_id = control.first.org_id
    assert _price(role_url, control, org_id, CHANGE - timedelta(microseconds=1)) == 200
    assert _price(role_url, control, org_id, CHANGE) == 300
    assert _price(role_url, control, org_id, datetime(2019, 12, 31, tzinfo=UTC)) is None


@pytest.mark.parametrize("effective", ["empty", "(2040-07-01,)", "[2040-07-01,2040-08-01]", "(,2040-01-01)"])
def test_a_range_of_another_form_is_refused(control: Control, put: Put, effective: str) -> None:
    with pytest.raises(CheckViolation):
        put(effective, org_id=control.first.org_id)


@pytest.mark.parametrize("output_picousd", [-1, 10**12 + 1])
def test_a_price_outside_of_the_bounds_is_refused(control: Control, put: Put, output_picousd: int) -> None:
    with pytest.raises(CheckViolation):
        put("[2040-07-01,)", org_id=control.first.org_id, output_picousd=output_picousd)
