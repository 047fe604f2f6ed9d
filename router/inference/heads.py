"""Heads that come again: a connection that is kept says the same before each message, but for the length of its body.

The parser reads a head the first time, with all that it refuses. The same bytes mean the same the next time, whatever they are:
nothing is read here but the digits of the length. That costs a tenth of what the parser does (decision 0067).
"""

import re

HEAD_BYTES_MAX = 4096  # of what is remembered for each connection; a longer head is parsed every time
DIGITS_MAX = 10
_FORWARDED = b"x-forwarded-for"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*(?=\r\n)", re.IGNORECASE)


def has_host(names: list[bytes], version: str) -> bool:
    """Whether a head has as many Host headers as RFC 9112 (3.2) wants: one, of which HTTP/1.0 knew nothing.

    Of several, a proxy in front and the router might go by different ones.
    """
    return names.count(b"host") == 1 or (version == "1.0" and b"host" not in names)


def by_name(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The last value of each name; but of X-Forwarded-For, to which each proxy may add a line of its own, all in their order."""
    named = dict(headers)
    if len(named) != len(headers) and _FORWARDED in named:
        named[_FORWARDED] = b", ".join(value for name, value in headers if name == _FORWARDED)
    return named


class KnownHead:
    """What stands before and after the digits of the length in a head that the parser has accepted."""

    __slots__ = ("_after", "_at", "_before", "_until")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before, self._after, self._at = before, after, len(before)
        self._until = self._at + DIGITS_MAX + len(after)
        """Where the head ends at the latest."""

    @classmethod
    def of(cls, message: bytes, body_bytes: int) -> "KnownHead | None":
        """Of a message that the parser has read whole. Args: body_bytes: as the parser found it.

        None: there is more than this one message, its length is not stated plainly and once, or its head is long.
        """
        end = message.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX) + 4
        stated = list(_LENGTH.finditer(message, 0, end))
        if len(stated) != 1 or not len(message) - end == body_bytes == int(stated[0][1]):
            return None
        return cls(message[: stated[0].start(1)], message[stated[0].end(1) : end])

    def body_of(self, message: bytes) -> bytes | None:
        """The body of a whole message with this head. None: it is anything else."""
        begin, length = self._body(message)
        return message[begin:] if len(message) - begin == length else None

    def is_begun_by(self, message: bytes, body_bytes_max: int) -> bool:
        """Whether this is the whole head and less than the whole body, as those send it who write the two one by one.

        Never of a body that says it is larger than `body_bytes_max`: who waits to be refused is not kept waiting.
        """
        begin, length = self._body(message)
        return len(message) - begin < length <= body_bytes_max

    def _body(self, message: bytes) -> tuple[int, int]:
        """Where the body begins and how long it is; a length of -1: the head is another one."""
        at, after = self._at, self._after
        end = message.find(after, at, self._until)
        digits = message[at:end]
        if end < 0 or not digits.isdigit() or not message.startswith(self._before):
            return 0, -1
        return end + len(after), int(digits)
