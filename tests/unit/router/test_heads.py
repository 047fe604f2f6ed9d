"""A head that comes again: only the same bytes count as the same, and only whole messages as whole."""

import pytest

from router.inference.heads import HEAD_BYTES_MAX, KnownHead

BODY_BYTES_MAX = 1000
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nAuthorization: Bearer x\r\n\r\n"


def _message(body: bytes, head: bytes = HEAD) -> bytes:
    return head % len(body) + body


def _known(body: bytes = b"{}", head: bytes = HEAD) -> KnownHead | None:
    return KnownHead.of(_message(body, head), len(body))


@pytest.mark.parametrize("body", [b"{}", b"x" * 10, b"x" * 123_456, b"\r\n\r\ncontent-length: 5\r\n\r\n"])
def test_the_body_of_another_length_is_found(body: bytes) -> None:
    known = _known()
    assert known is not None
    assert known.body_of(_message(body)) == body


def test_what_differs_by_a_byte_is_not_the_same_head() -> None:
    known, message = _known(), _message(b'{"a": 1}')
    assert known is not None
    begin = message.index(b"\r\n\r\n") + 4
    for at in range(begin):
        digits = message[at : at + 1].isdigit() and message[:at].endswith(b"Content-Length: ")
        other = message[:at] + (b"x" if digits else bytes([message[at] ^ 1])) + message[at + 1 :]
        assert known.body_of(other) is None
        assert not known.is_begun_by(other, BODY_BYTES_MAX)


@pytest.mark.parametrize(
    "length",
    [b"", b"+2", b"-2", b" 2", b"2 ", b"2,2", b"0x2", b"2_0", b"\xb2", b"12345678901", b"2\r\ntransfer-encoding: chunked"],
)
def test_a_length_that_is_not_plain_digits_is_left_to_the_parser(length: bytes) -> None:
    known = _known()
    assert known is not None
    message = HEAD.replace(b"%d", length) + b"{}"
    assert known.body_of(message) is None
    assert not known.is_begun_by(message, BODY_BYTES_MAX)


def test_more_or_less_than_one_whole_message_is_not_one() -> None:
    known, message = _known(), _message(b'{"a": 1}')
    assert known is not None
    assert known.body_of(message + message) is None
    assert not known.is_begun_by(message + b"x", BODY_BYTES_MAX)
    begin = message.index(b"\r\n\r\n") + 4
    for end in range(len(message)):
        assert known.body_of(message[:end]) is None
        assert known.is_begun_by(message[:end], BODY_BYTES_MAX) is (end >= begin)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nX: content-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES_MAX + b"\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
    ],
    ids=["no length", "two lengths", "a length in another header", "too long", "two heads"],
)
def test_a_head_without_one_plain_length_is_not_remembered(head: bytes) -> None:
    assert KnownHead.of(head + b"{}", 2) is None


def test_a_message_is_not_remembered_where_the_parser_found_another_body() -> None:
    message = _message(b"{}")
    assert KnownHead.of(message, 0) is None
    assert KnownHead.of(message + message, 2) is None


def test_a_body_that_says_it_is_too_large_is_not_waited_for() -> None:
    known = _known()
    assert known is not None
    assert known.is_begun_by(HEAD % BODY_BYTES_MAX, BODY_BYTES_MAX)
    assert not known.is_begun_by(HEAD % (BODY_BYTES_MAX + 1), BODY_BYTES_MAX)
