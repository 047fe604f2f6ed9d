"""Headers of answers, and of errors what they say to programs."""

from collections.abc import Iterable

from router.inference.retries import NOT_IMPLEMENTED
from warehouse.base import requests
from warehouse.base.errors import InferhouseError

Header = tuple[bytes, bytes]

NO_RETRY = (b"x-should-retry", b"false")  # which OpenAI's SDKs obey
_PATIENCE_S = 60  # OpenAI's SDKs wait for no longer Retry-After: they would try again at once


def header_lines(headers: Iterable[Header]) -> bytes:
    """Headers as they go over the wire."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def may_retry(status: int, retry_after_s: float | None) -> bool:
    """Whether an SDK may try again by itself: not at once, and not what will be no different."""
    if status in (409, 429):
        return retry_after_s is not None and retry_after_s <= _PATIENCE_S
    return status != NOT_IMPLEMENTED


def id_header(request_id: str) -> Header:
    """Which request an answer is of."""
    return requests.HEADER.encode(), request_id.encode()


def error_headers(error: InferhouseError) -> list[Header]:
    """Retry-After where there is a time after which to try again, and what else an error says to programs."""
    headers: list[Header] = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if error.retry_after_ms is not None:
        headers.append((b"retry-after-ms", b"%d" % error.retry_after_ms))  # which OpenAI's SDKs wait for
    if not may_retry(error.status, error.retry_after_s):
        headers.append(NO_RETRY)
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
