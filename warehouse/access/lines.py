"""Lines to the database: a dead one is noticed within half a minute, for which TCP alone takes up to a quarter of an hour.

Source: PostgreSQL, libpq, connection parameters; seconds, but for `tcp_user_timeout`: milliseconds that sent bytes may go unread.
"""

import contextlib
from collections.abc import Iterator, Mapping

import psycopg

from warehouse.base.errors import InferhouseError

NOTICED: Mapping[str, str] = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}


class DatabaseFailed(InferhouseError):
    """The database of a command does not answer, or refuses who asks or what is asked. The message says what it said."""

    code = "database_failed"


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Around what a command does in the database. Raises: DatabaseFailed: in place of every error of the database."""
    try:
        yield
    except psycopg.Error as error:
        is_away = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
        what = "does not answer" if is_away else "says"
        raise DatabaseFailed(f"the database {what}: {' '.join(str(error).split())}") from error


def trouble(error: Exception) -> str:
    """What keeps a process from the database, without its address: for whoever asks whether the process is well."""
    if isinstance(error, psycopg.Error) and not isinstance(error, psycopg.OperationalError):
        return f"the database refuses what is asked of it ({type(error).__name__}): are this version's migrations applied?"
    return "the database cannot be reached"
