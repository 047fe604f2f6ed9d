"""A month closed: drafts of every organization, the gate, and final invoices of those that passed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import psycopg
from psycopg.errors import ObjectNotInPrerequisiteState

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
AUTHOR = "close_month"


@dataclass(frozen=True, slots=True)
class Closed:
    """`refused`: {invoice: why}, of those that may not be final; the others are."""

    finalized: tuple[str, ...]
    refused: Mapping[str, str]


def draft(conn: psycopg.Connection, month: date) -> Mapping[str, str]:
    """{invoice: organization} of the drafts, made anew, of all whose month is not final."""
    return dict(conn.execute(QUERIES["draft"], {"month": month, "author": AUTHOR}).fetchall())


def drafts_of(conn: psycopg.Connection, month: date) -> list[str]:
    """The drafts of a month."""
    return [invoice for (invoice,) in conn.execute(QUERIES["drafts_of_month"], {"month": month})]


def months_to_close(conn: psycopg.Connection, grace_days: int) -> list[date]:
    """Months that ended so many days ago and are not final for everybody, the oldest first."""
    return [month for (month,) in conn.execute(QUERIES["months_to_close"], {"grace_days": grace_days})]


def uncertified(conn: psycopg.Connection, again_s: int) -> list[str]:
    """Drafts that the gate has not looked at, or has refused longer ago than that."""
    return [invoice for (invoice,) in conn.execute(QUERIES["uncertified"], {"again_s": again_s})]


def finalize(conn: psycopg.Connection, invoices: Sequence[str]) -> Closed:
    """Make final what has passed, each in a transaction of its own: one that cannot be does not stop the others."""
    finalized, refused = [], {}
    passed = conn.execute(QUERIES["passed"], {"invoices": list(invoices)}).fetchall()
    conn.commit()
    for (invoice,) in passed:
        try:
            with conn.transaction():
                conn.execute(QUERIES["finalize"], {"invoice": invoice, "author": AUTHOR})
        except ObjectNotInPrerequisiteState as error:
            refused[invoice] = error.diag.message_primary or str(error)
        else:
            finalized.append(invoice)
    return Closed(tuple(finalized), refused)
