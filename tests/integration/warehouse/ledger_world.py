"""What a ledger should say, by a plain list of credits; and the calls of the real one."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

START = datetime(2026, 1, 1, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


@dataclass
class OracleCredit:
    name: str
    granted_at: datetime
    expires_at: datetime | None
    remaining: int


@dataclass
class Oracle:
    """Credits in the order of their grants, and for each draw what it took of which."""

    credits: list[OracleCredit] = field(default_factory=list)
    draws: dict[str, dict[str, int]] = field(default_factory=dict)
    given_back: set[str] = field(default_factory=set)

    def draw(self, reference: str, up_to: int, at: datetime) -> dict[str, int]:
        if reference in self.draws:
            return self.draws[reference]
        taken: dict[str, int] = {}
        for credit in sorted(self.credits, key=lambda one: (one.expires_at or FOREVER, one.granted_at)):  # stable: then by age
            open_ = credit.granted_at <= at and (credit.expires_at is None or credit.expires_at > at)
            share = min(credit.remaining, up_to - sum(taken.values())) if open_ else 0
            if share > 0:
                credit.remaining -= share
                taken[credit.name] = share
        self.draws[reference] = taken
        return taken

    def give_back(self, reference: str) -> int:
        taken = self.draws[reference]
        if reference not in self.given_back:
            self.given_back.add(reference)
            for credit in self.credits:
                credit.remaining += taken.get(credit.name, 0)
        return sum(taken.values())

    def expire(self, as_of: datetime) -> int:
        due = [one for one in self.credits if one.remaining and one.expires_at is not None and one.expires_at <= as_of]
        for credit in due:
            credit.remaining = 0
        return len(due)

    def void(self, name: str) -> int:
        (credit,) = [one for one in self.credits if one.name == name]
        rest, credit.remaining = credit.remaining, 0
        return rest


@dataclass
class Ledger:
    """The real one, for one organization; every call is committed."""

    db: psycopg.Connection
    org_id: int

    def grant(self, amount: int, reference: str, expires_at: datetime | None = None, at: datetime = START) -> str:
        said = self._call(
            "ledger.grant_credit(%s, %s, 'promotional', %s, 'a reason', 'user_1', %s, %s)",
            self.org_id, amount, expires_at, reference, at,
        )  # fmt: skip
        return str(said)

    def draw(self, up_to: int, reference: str, at: datetime = START) -> int:
        return self._number("ledger.draw(%s, %s, %s, %s)", self.org_id, up_to, reference, at)

    def give_back(self, reference: str) -> int:
        return self._number("ledger.give_back(%s)", reference)

    def expire(self, as_of: datetime) -> int:
        return self._number("ledger.expire_credits(%s)", as_of)

    def void(self, credit: str) -> int:
        return self._number("ledger.void_credit(%s, %s, 'a mistake', 'user_1')", self.org_id, credit)

    def balance(self) -> int:
        return self._number(
            "coalesce((select balance_picousd from ledger.accounts where org_id = %s and kind = 'wallet'), 0)", self.org_id
        )

    def remaining(self) -> dict[str, int]:
        rows = self.db.execute("select public_id, remaining_picousd from ledger.credits where org_id = %s", [self.org_id])
        found = {name: int(rest) for name, rest in rows}
        self.db.commit()
        return found

    def fundings(self, reference: str) -> dict[str, int]:
        """What a transaction took of which credit."""
        rows = self.db.execute(
            "select c.public_id, l.amount_picousd from ledger.allocations l join ledger.credits c on c.id = l.credit_id"
            " join ledger.entries e on e.id = l.entry_id join ledger.transactions t on t.id = e.transaction_id"
            " where t.reference = %s order by l.id",
            [reference],
        )
        found = {name: int(amount) for name, amount in rows}
        self.db.commit()
        return found

    def _call(self, call: str, *values: object) -> object:
        row = self.db.execute(f"select {call}".encode(), values).fetchone()
        self.db.commit()
        assert row is not None
        return row[0]

    def _number(self, call: str, *values: object) -> int:
        return int(str(self._call(call, *values)))


def what_does_not_add_up(db: psycopg.Connection) -> list[object]:
    """Transactions, accounts and credits of the whole ledger that are not the sum of what is written; none of them."""
    rows = db.execute(
        "select 'transaction ' || transaction_id from ledger.entries group by transaction_id having sum(amount_picousd) <> 0"
        " union all select 'account ' || a.id from ledger.accounts a where a.balance_picousd <>"
        " (select coalesce(sum(e.amount_picousd), 0) from ledger.entries e where e.account_id = a.id)"
        " union all select 'credit ' || c.id from ledger.credits c where c.amount_picousd - c.remaining_picousd <>"
        " (select coalesce(sum(l.amount_picousd), 0) from ledger.allocations l where l.credit_id = c.id)"
        " union all select 'wallet ' || a.id from ledger.accounts a where a.kind = 'wallet' and a.balance_picousd <>"
        " (select coalesce(sum(c.remaining_picousd), 0) from ledger.credits c where c.org_id = a.org_id)"
    ).fetchall()
    db.commit()
    return [row[0] for row in rows]
