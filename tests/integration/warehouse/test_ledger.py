"""Credits are written down twice and never changed: nothing is lost, taken twice or without a trace."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import CheckViolation, ForeignKeyViolation, RestrictViolation, UniqueViolation

from tests.factories import add_tenant
from tests.integration.warehouse.ledger_world import Ledger, Oracle, OracleCredit, day, what_does_not_add_up

TABLES = ("transactions", "entries", "allocations", "credits", "accounts")


@pytest.fixture
def ledger(db: psycopg.Connection) -> Iterator[Ledger]:
    made = Ledger(db, add_tenant(db).org_id)
    db.commit()
    yield made
    assert what_does_not_add_up(db) == []


def test_what_expires_first_is_taken_first_and_then_what_is_oldest(ledger: Ledger) -> None:
    last = ledger.grant(100, "never expires", at=day(-9))
    second = ledger.grant(100, "younger", expires_at=day(20), at=day(-1))
    first = ledger.grant(100, "older", expires_at=day(20), at=day(-2))
    assert ledger.draw(250, "invoice 1") == 250
    assert list(ledger.fundings("invoice 1").items()) == [(first, 100), (second, 100), (last, 50)]
    assert ledger.draw(250, "invoice 2") == 50
    assert ledger.draw(250, "invoice 3") == 0
    assert ledger.balance() == 0


def test_a_credit_counts_from_its_grant_until_its_expiry(ledger: Ledger) -> None:
    ledger.grant(100, "g", expires_at=day(10), at=day(5))
    assert ledger.draw(1, "too early", day(4)) == 0
    assert ledger.draw(1, "just begun", day(5)) == 1
    assert ledger.draw(100, "over", day(10)) == 0
    assert ledger.balance() == 99
    assert ledger.expire(day(9)) == 0
    assert ledger.expire(day(10)) == 1
    assert ledger.expire(day(10)) == 0
    assert ledger.balance() == 0


def test_the_same_reference_again_does_nothing(ledger: Ledger) -> None:
    credit = ledger.grant(100, "g")
    assert ledger.grant(100, "g") == credit
    assert ledger.draw(30, "i") == 30
    assert ledger.draw(30, "i") == 30
    assert ledger.draw(80, "nothing left of it") == 70
    assert ledger.draw(5, "none") == 0
    ledger.grant(100, "came later")
    assert ledger.draw(5, "none") == 0, "a draw that found nothing is answered as it was"
    assert ledger.give_back("i") == 30
    assert ledger.give_back("i") == 30
    assert ledger.balance() == 130


def test_a_reference_that_means_something_else_is_refused(ledger: Ledger, db: psycopg.Connection) -> None:
    ledger.grant(100, "g")
    ledger.draw(50, "i")
    other = Ledger(db, add_tenant(db).org_id)
    db.commit()
    calls = [
        lambda: ledger.draw(1, "g"),
        lambda: ledger.grant(1, "i"),
        lambda: other.draw(1, "i"),
        lambda: ledger.draw(49, "i"),  # it took more
    ]
    for call in calls:
        with pytest.raises(UniqueViolation):
            call()
        db.rollback()
    ledger.give_back("i")
    with pytest.raises(UniqueViolation, match="given back"):
        ledger.draw(50, "i")
    db.rollback()


def test_what_is_given_back_goes_to_the_credits_that_it_came_from(ledger: Ledger) -> None:
    first, second = ledger.grant(10, "a", expires_at=day(3)), ledger.grant(10, "b")
    ledger.draw(15, "i")
    ledger.draw(2, "j")
    assert ledger.give_back("i") == 15
    assert ledger.remaining() == {first: 10, second: 8}
    assert ledger.expire(day(4)) == 1
    assert ledger.remaining() == {first: 0, second: 8}


def test_the_unused_rest_of_a_credit_can_be_voided(ledger: Ledger) -> None:
    credit = ledger.grant(100, "g")
    ledger.draw(40, "i")
    assert ledger.void(credit) == 60
    assert ledger.void(credit) == 0
    ledger.give_back("i")
    assert ledger.void(credit) == 40


@pytest.mark.parametrize("amount", ["0", "-1", "0.5"])
def test_a_credit_of_nothing_less_or_a_part_is_refused(ledger: Ledger, amount: str) -> None:
    with pytest.raises(psycopg.DataError if "." in amount else CheckViolation):
        ledger.db.execute("select ledger.grant_credit(%s, %s::numeric, 'prepaid', null, 'r', 'a', 'g')", [ledger.org_id, amount])
    ledger.db.rollback()


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_updated_deleted_or_truncated(ledger: Ledger, table: str) -> None:
    ledger.grant(100, "g")
    ledger.draw(40, "i")
    column = {"credits": "remaining_picousd", "accounts": "balance_picousd"}.get(table, "org_id")
    for statement in (
        f"update ledger.{table} set {column} = {column}",
        f"delete from ledger.{table}",
        f"truncate ledger.{table} cascade",
    ):
        with pytest.raises(RestrictViolation):
            ledger.db.execute(statement.encode())
        ledger.db.rollback()


def test_entries_that_do_not_sum_to_zero_are_refused_at_commit(ledger: Ledger) -> None:
    ledger.grant(100, "g")
    _, source = _accounts(ledger)
    _write(ledger, ledger.org_id, {source: 1})
    with pytest.raises(CheckViolation, match="sum to 1"):
        ledger.db.commit()


def test_what_leaves_the_wallet_says_from_which_credits(ledger: Ledger) -> None:
    ledger.grant(100, "g")
    wallet, source = _accounts(ledger)
    _write(ledger, ledger.org_id, {wallet: -1, source: 1})
    with pytest.raises(CheckViolation, match="does not say which credits"):
        ledger.db.commit()


def test_an_entry_is_in_an_account_of_its_own_organization(ledger: Ledger) -> None:
    ledger.grant(100, "g")
    other = add_tenant(ledger.db).org_id
    ledger.db.commit()
    with pytest.raises(ForeignKeyViolation):
        _write(ledger, other, {_accounts(ledger)[0]: 1})
    ledger.db.rollback()


def _write(ledger: Ledger, org_id: int, amounts: dict[int, int]) -> None:
    """A transaction that no function of the ledger would write, as the owner of its tables might."""
    ledger.db.execute(
        "with t as (insert into ledger.transactions (org_id, kind, reference, reason, author, happened_at)"
        " values (%(org_id)s, 'void', 'x', 'r', 'a', now()) returning id)"
        " insert into ledger.entries (org_id, transaction_id, account_id, amount_picousd)"
        " select %(org_id)s, t.id, m.account_id, m.amount from t, unnest(%(accounts)s::bigint[], %(amounts)s::numeric[])"
        " as m (account_id, amount)",
        {"org_id": org_id, "accounts": list(amounts), "amounts": list(amounts.values())},
    )


def _accounts(ledger: Ledger) -> tuple[int, int]:
    """The wallet, and where its only grant came from."""
    row = ledger.db.execute(
        "select min(account_id) filter (where amount_picousd > 0), min(account_id) filter (where amount_picousd < 0)"
        " from ledger.entries"
    ).fetchone()
    assert row is not None
    return row


def test_draws_at_once_never_take_the_same_credit(ledger: Ledger, database_url: str) -> None:
    for number in range(5):
        ledger.grant(100, f"g{number}", expires_at=day(10 + number))
    threads, each = 6, 12
    together = Barrier(threads)

    def draw(thread: int) -> int:
        with psycopg.connect(database_url) as conn:
            own = Ledger(conn, ledger.org_id)
            together.wait()
            # Every third reference is one that all threads use: it is drawn once, and each is told the same of it.
            drawn = {n: own.draw(11, f"shared {n}" if n % 3 == 0 else f"own {thread} {n}") for n in range(each)}
            return sum(taken for n, taken in drawn.items() if n % 3)

    with ThreadPoolExecutor(threads) as pool:
        by_own = sum(pool.map(draw, range(threads)))
    shared = sum(sum(ledger.fundings(f"shared {n}").values()) for n in range(0, each, 3))
    assert by_own + shared == 500, "they wanted 572, and there were 500"
    assert ledger.balance() == 0


def test_the_same_draw_at_once_is_one(ledger: Ledger, database_url: str) -> None:
    ledger.grant(100, "g")
    together = Barrier(4)

    def draw(_: int) -> int:
        with psycopg.connect(database_url) as conn:
            together.wait()
            return Ledger(conn, ledger.org_id).draw(30, "invoice 1")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, range(4))) == [30, 30, 30, 30]
    assert ledger.balance() == 70


_AMOUNTS, _DAYS = st.integers(1, 60), st.integers(0, 12)
_STEPS = st.one_of(
    st.tuples(st.just("grant"), _AMOUNTS, st.one_of(st.none(), st.integers(1, 12)), _DAYS),
    st.tuples(st.just("draw"), st.integers(0, 90), st.integers(0, 9), _DAYS),
    st.tuples(st.just("give_back"), st.integers(0, 9)),
    st.tuples(st.just("expire"), _DAYS),
    st.tuples(st.just("void"), st.integers(0, 9)),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEPS, min_size=1, max_size=14))
def test_any_sequence_is_what_a_plain_list_of_credits_says(db: psycopg.Connection, steps: list[tuple[object, ...]]) -> None:
    ledger, oracle = Ledger(db, add_tenant(db).org_id), Oracle()
    for number, (kind, *values) in enumerate(steps):
        _step(ledger, oracle, number, str(kind), values)
        rest = {credit.name: credit.remaining for credit in oracle.credits}
        assert ledger.remaining() == rest
        assert ledger.balance() == sum(rest.values()) >= 0
    assert what_does_not_add_up(db) == []


def _step(ledger: Ledger, oracle: Oracle, number: int, kind: str, values: list[object]) -> None:
    """One step of both; what each of them says is the same."""
    mark = f"{ledger.org_id}/"
    match kind, values:
        case "grant", [int(amount), life, int(at)]:
            expires = day(at + life) if isinstance(life, int) else None
            name = ledger.grant(amount, f"{mark}grant {number}", expires, day(at))
            oracle.credits.append(OracleCredit(name, day(at), expires, amount))
        case "draw", [int(up_to), int(which), int(at)]:
            reference = f"{mark}draw {which}"
            if reference in oracle.given_back or sum(oracle.draws.get(reference, {}).values()) > up_to:
                return  # refused, as another test shows
            assert ledger.draw(up_to, reference, day(at)) == sum(oracle.draw(reference, up_to, day(at)).values())
            assert ledger.fundings(reference) == oracle.draws[reference]
        case "give_back", [int(which)]:
            if (reference := f"{mark}draw {which}") in oracle.draws:
                assert ledger.give_back(reference) == oracle.give_back(reference)
        case "expire", [int(at)]:
            assert ledger.expire(day(at)) >= oracle.expire(day(at)), "of every organization"
        case "void", [int(which)]:
            if oracle.credits:
                name = oracle.credits[which % len(oracle.credits)].name
                assert ledger.void(name) == oracle.void(name)
