"""One POST to somebody else's address: bounded in time and size, to the internet only, no redirect followed."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from warehouse.access.outbox import Tried
from warehouse.identity.networks import Network, parse_address, within
from warehouse.identity.webhooks import check_url, may_go_to

TRY_S_MAX = 10.0  # name, connection, TLS, answer: all of it
HEAD_BYTES_MAX = 16 * 1024  # of the answer; what comes after its head is not read
INTERIM_MAX = 3  # answers such as 103 before the one that counts
ADDRESSES_MAX = 3  # of one name that are tried
_GONE = 410


class Refused(Exception):
    """It may not be sent there."""


async def post(url: str, headers: Mapping[str, str], body: bytes, *, networks: Sequence[Network], tls: ssl.SSLContext) -> Tried:
    """Send a body; what came of it. Never raises for what the other side does.

    Args: networks: where it may go beside the internet, and in plain HTTP.
    """
    try:
        async with asyncio.timeout(TRY_S_MAX):
            status = await _status(urlsplit(check_url(url)), headers, body, networks, tls)
    except TimeoutError:
        return Tried(f"no answer within {TRY_S_MAX:g} s")
    except ssl.SSLError as error:  # first: one of them is a ValueError, too
        return Tried(f"TLS failed: {error.reason or 'unknown'}")
    except (Refused, ValueError) as error:
        return Tried(str(error))
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        return Tried(f"the connection failed: {type(error).__name__}")
    return _tried(status)


def _tried(status: int) -> Tried:
    if 200 <= status < 300:
        return Tried(None, status)
    why = ": redirects are not followed" if 300 <= status < 400 else ""
    return Tried(f"answered {status}{why}", status, final=status == _GONE)


async def _status(
    parts: SplitResult, headers: Mapping[str, str], body: bytes, networks: Sequence[Network], tls: ssl.SSLContext
) -> int:
    secure = parts.scheme == "https"
    reader, writer = await _connect(parts, networks, tls if secure else None)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fixed = {"host": parts.netloc, "content-length": str(len(body)), "connection": "close"}
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in {**fixed, **headers}.items())]
        writer.write("\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body)
        await writer.drain()
        for _ in range(INTERIM_MAX + 1):
            status = _status_of(await reader.readuntil(b"\r\n\r\n"))
            if status >= 200:
                return status
        raise ValueError("answered with interim answers only")
    finally:
        writer.transport.abort()


def _status_of(head: bytes) -> int:
    """Raises: ValueError: it is no HTTP/1 answer."""
    version, _, rest = head.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise ValueError("answered with something that is no HTTP/1")
    return int(rest[:3])


async def _connect(
    parts: SplitResult, networks: Sequence[Network], tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to an address that was looked at: the name is not resolved a second time, when it might say another."""
    host = parts.hostname or ""
    port = parts.port or (443 if tls else 80)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, proto=6)
    addresses = {address: str(name[0]) for *_, name in found if (address := parse_address(f"[{name[0]}]")) is not None}
    # One wrong address among good ones refuses the name: which of them is used must not be a matter of luck.
    if not addresses or not all(may_go_to(address, networks) for address in addresses):
        raise Refused("its address is not one of the internet, and the operator has not allowed its network")
    if tls is None and not all(within(address, networks) for address in addresses):
        raise Refused("plain http:// goes to networks that the operator has allowed only: use https://")
    problem: OSError | None = None
    for text in list(addresses.values())[:ADDRESSES_MAX]:
        try:
            return await asyncio.open_connection(text, port, ssl=tls, server_hostname=host if tls else None, limit=HEAD_BYTES_MAX)
        except ssl.SSLError:
            raise
        except OSError as error:
            problem = error
    assert problem is not None
    raise problem
