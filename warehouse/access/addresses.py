"""Where database and Redis are, as settings say it: what can be no address stops the start, and none of it is repeated.

libpq and urllib tell a wrong address by its parts, and a character too special makes a part of the password one of them.
"""

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import unquote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, SecretStr

_PERCENT = "and what is neither letter nor digit in the password as %40 for @, %2F for /, %25 for %"
DATABASE_WORDS = f"write it as postgresql://user:password@host:5432/database, {_PERCENT}"
_REDIS_WORDS = f"write it as redis://user:password@host:6379/0 (rediss:// for TLS) or unix:///path, {_PERCENT}"


def is_database_url(url: str) -> bool:
    """Whether it can be the connection string of a database, in either of libpq's forms."""
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        return False
    ports = str(parts.get("port") or "").split(",")  # of several hosts
    return "@" not in str(parts.get("host") or "") and all(not port or port.isdecimal() for port in ports)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, and who asks."""

    host: str
    port: int
    path: str
    encrypted: bool
    user: str
    password: str = field(repr=False)
    database: int

    @classmethod
    def of(cls, url: str) -> "RedisAddress":
        """`redis://`, `rediss://` (TLS) or `unix://`, as [user:password@]host[:port][/database] or a path.

        Raises: ValueError: it is none of them.
        """
        try:
            parts = urlsplit(url)
            is_path = parts.scheme == "unix"
            port, database = parts.port or 6379, int((not is_path and parts.path.strip("/")) or 0)
        except ValueError:
            raise ValueError(_REDIS_WORDS) from None
        if parts.scheme not in {"redis", "rediss", "unix"} or (is_path and not parts.path):
            raise ValueError(_REDIS_WORDS)
        return cls(
            host=parts.hostname or "localhost",
            port=port,
            path=parts.path if is_path else "",
            encrypted=parts.scheme == "rediss",
            user=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=database,
        )


def _check_database(url: SecretStr) -> SecretStr:
    if not is_database_url(url.get_secret_value()):
        raise ValueError(DATABASE_WORDS)
    return url


def _check_redis(url: SecretStr) -> SecretStr:
    RedisAddress.of(url.get_secret_value())
    return url


DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_database)]
"""Of a setting; an empty one is libpq's own default."""
RedisUrl = Annotated[SecretStr, AfterValidator(_check_redis)]
