"""Lines to the database: a dead one is noticed within half a minute, for which TCP alone takes up to a quarter of an hour.

Source: PostgreSQL, libpq, connection parameters; seconds, but for `tcp_user_timeout`: milliseconds that sent bytes may go unread.
"""

from collections.abc import Mapping

NOTICED: Mapping[str, str] = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
