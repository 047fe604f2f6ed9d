"""Is it well? One question for each kind of process, asked over the protocol that its users speak."""

import urllib.error
import urllib.request
from urllib.parse import urlsplit

import psycopg
import redis

CHECK_SECONDS_MAX = 5.0


def complaint(url: str) -> str | None:
    """What is wrong with the process that answers at `url`, or None. An empty url is always well.

    postgresql: a query; redis: PING; http: status 200 within CHECK_SECONDS_MAX.
    """
    scheme = urlsplit(url).scheme
    if scheme == "postgresql":
        return _postgres(url)
    if scheme in {"redis", "rediss"}:
        return _redis(url)
    return _http(url) if scheme else None


def _postgres(url: str) -> str | None:
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=int(CHECK_SECONDS_MAX)) as conn:
            conn.execute("select true")
    except psycopg.Error as error:
        return str(error).strip().splitlines()[-1]
    return None


def _redis(url: str) -> str | None:
    try:
        with redis.Redis.from_url(url, socket_timeout=CHECK_SECONDS_MAX, socket_connect_timeout=CHECK_SECONDS_MAX) as client:
            client.ping()
    except redis.RedisError as error:
        return str(error)
    return None


def _http(url: str) -> str | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no way to this machine's loopback
    try:
        with opener.open(url, timeout=CHECK_SECONDS_MAX):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"HTTP {error.code} {error.read(300).decode(errors='replace')}".strip()
    except OSError as error:
        return str(error)
