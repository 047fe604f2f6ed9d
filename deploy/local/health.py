"""Is it well? One question for each kind of process, asked over the protocol that its users speak."""

import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import psycopg
import redis

CHECK_SECONDS_MAX = 5.0


def complaint(url: str, sql: str = "") -> str | None:
    """What is wrong with the process that answers at `url`, or None. An empty url is always well.

    postgresql: `sql` is true; redis: PING; http: status 200; tcp: takes a connection. Each within CHECK_SECONDS_MAX.
    """
    parts = urlsplit(url)
    if parts.scheme == "postgresql":
        return _postgres(url, sql)
    if parts.scheme in {"redis", "rediss"}:
        return _redis(url)
    if parts.scheme == "tcp":
        return _tcp(str(parts.hostname), int(parts.port or 0))
    return _http(url) if parts.scheme else None


def _postgres(url: str, sql: str) -> str | None:
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=int(CHECK_SECONDS_MAX)) as conn:
            row = conn.execute((sql or "select true").encode()).fetchone()
    except psycopg.Error as error:
        return str(error).strip().splitlines()[-1]
    return None if row and row[0] else "the database has no sign of life of it"


def _tcp(host: str, port: int) -> str | None:
    try:
        socket.create_connection((host, port), timeout=CHECK_SECONDS_MAX).close()
    except OSError as error:
        return str(error)
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
