"""Changes in JSON by cutting bytes: what is not changed stays as it was sent, numbers, spaces and duplicates included."""

import re
from collections.abc import Callable, Iterator

import msgspec

# Possessive, so that a text of megabytes needs neither stack nor memory.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]', re.DOTALL)
_BRACKETS = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[{]++|[\]}]++)', re.DOTALL)
_OPENERS, _CLOSERS = frozenset(b"{["), frozenset(b"}]")
_SPACE = b" \t\r\n"
_COLON, _COMMA, _QUOTE = b':,"'


def fields(text: bytes) -> Iterator[tuple[str, int, int]]:
    """(name, begin and end of the value) of each field of an object that is valid JSON, duplicates as often as they come."""
    return ((name, begin, end) for name, _, begin, end in _spans(text))


def with_field(text: bytes, name: str, change: Callable[[bytes | None], bytes]) -> bytes:
    """The object with each value of `name` put through `change`, or with one appended, from `change(None)`."""
    parts, last = [], 0
    for found, begin, end in fields(text):
        if found == name:
            parts += [text[last:begin], change(text[begin:end])]
            last = end
    if not parts:
        return with_tail(text, b',"%b":%b' % (name.encode(), change(None)))
    return b"".join(parts) + text[last:]


def with_tail(text: bytes, tail: bytes) -> bytes:
    """The object with further fields, which begin with a comma, before its end."""
    end = text.rindex(b"}")
    if text[:end].rstrip(_SPACE).endswith(b"{"):  # nothing in it; a `{` can end nothing else that is valid there
        tail = tail[1:]
    return text[:end] + tail + text[end:]


def without_field(text: bytes, name: str) -> bytes:
    """The object without a field, duplicates included, and without the commas that belonged to it."""
    for found, start, _, end in reversed(list(_spans(text))):
        if found != name:
            continue
        after = _trimmed(text, end, len(text))[0]
        if text[after] == _COMMA:
            text = text[:start] + text[after + 1 :].lstrip(_SPACE)
        else:
            text = text[:start].rstrip(_SPACE).removesuffix(b",") + text[end:]
    return text


def is_over(text: bytes, *, depth_max: int, values_max: int) -> str | None:
    """Why the JSON is too much: nested too deeply, or too many arrays and objects. Two counts where there are few of them.

    Texts are skipped by the regular expression itself, so that a body of megabytes costs milliseconds. Each match begins where
    the one before has ended: a search would begin anew at every byte of what follows the last bracket.
    """
    if text.count(b"[") + text.count(b"{") <= depth_max:
        return None
    depth = values = at = 0
    while (run := _BRACKETS.match(text, at)) is not None:
        at = run.end()
        size = run.end(1) - run.start(1)
        if text[run.start(1)] in _OPENERS:
            depth += size
            values += size
            if depth > depth_max:
                return f"nested deeper than {depth_max} levels"
            if values > values_max:
                return f"of more than {values_max} arrays and objects"
        else:
            depth -= size
    return None


def _spans(text: bytes) -> Iterator[tuple[str, int, int, int]]:
    """(name, begin of the name, begin and end of the value) of each field."""
    depth, name, start, begin = 0, "", 0, -1
    for token in _TOKEN.finditer(text):
        at = token.start()
        byte = text[at]
        if byte in _OPENERS:
            depth += 1
        elif byte in _CLOSERS:
            depth -= 1
            if depth == 0:
                if begin >= 0:
                    yield name, start, *_trimmed(text, begin, at)
                return
        elif depth == 1:
            if byte == _COMMA:
                yield name, start, *_trimmed(text, begin, at)
                begin = -1
            elif byte == _COLON:
                begin = at + 1
            elif begin < 0:
                name, start = msgspec.json.decode(token.group(), type=str), at


def _trimmed(text: bytes, begin: int, end: int) -> tuple[int, int]:
    value = text[begin:end].lstrip(_SPACE)
    begin = end - len(value)
    return begin, begin + len(value.rstrip(_SPACE))
