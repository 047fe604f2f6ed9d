"""Changes in JSON by cutting bytes: what is not changed stays as it was sent, numbers, spaces and duplicates included."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

# Possessive, so that a text of megabytes needs neither stack nor memory.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]', re.DOTALL)
_BRACKETS = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[{]++|[\]}]++)', re.DOTALL)
_FIELD = re.compile(rb'(?:[^":]++|"(?:[^"\\]++|\\.)*+")*+:', re.DOTALL)
# Left to right, so that what follows an escaped backslash is text.
_SURROGATES = re.compile(
    rb"(?:\\\\)++|(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})++|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_OPENERS, _CLOSERS = frozenset(b"{["), frozenset(b"}]")
_SPACE = b" \t\r\n"
_NAME = msgspec.json.Decoder(str)
_COLON, _COMMA = b":,"


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


def with_whole_characters(text: bytes) -> bytes:
    """JSON with U+FFFD for each half of a surrogate pair, in as many bytes: every place in it stays where it was.

    Python's json writes such a half where an engine has cut an emoji in two, and msgspec reads none.
    """
    return _SURROGATES.sub(lambda found: b"\\ufffd" if found[1] else found[0], text)


def read(decoder: "msgspec.json.Decoder[Any]", text: bytes) -> Any:
    """What an engine wrote, decoded; half of a surrogate pair is no fault in it. Raises: msgspec.DecodeError."""
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return decoder.decode(with_whole_characters(text))


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


def has_more_fields(text: bytes, fields_max: int) -> bool:
    """Whether the objects in the JSON have more fields than that, all together. One count where they cannot."""
    if text.count(b":") <= fields_max:
        return False
    found = at = 0
    while found <= fields_max and (colon := _FIELD.match(text, at)) is not None:
        at = colon.end()
        found += 1
    return found > fields_max


def _spans(text: bytes) -> Iterator[tuple[str, int, int, int]]:
    """(name, begin of the name, begin and end of the value) of each field."""
    name, start, begin, at = "", 0, -1, text.index(b"{") + 1
    while (token := _TOKEN.search(text, at)) is not None:
        found, at = token.start(), token.end()
        byte = text[found]
        if byte in _OPENERS:
            at = _after(text, at)
        elif byte in _CLOSERS:
            if begin >= 0:
                yield name, start, *_trimmed(text, begin, found)
            return
        elif byte == _COMMA:
            yield name, start, *_trimmed(text, begin, found)
            begin = -1
        elif byte == _COLON:
            begin = at
        elif begin < 0:
            start = found
            try:
                name = _NAME.decode(token.group())
            except msgspec.DecodeError:
                name = _NAME.decode(with_whole_characters(token.group()))


def _after(text: bytes, at: int) -> int:
    """Behind the array or object that was opened before this. Its commas and texts take no step each: there may be millions."""
    depth = 1
    while (run := _BRACKETS.match(text, at)) is not None:
        at = run.end()
        size = at - run.start(1)
        if text[at - 1] in _OPENERS:
            depth += size
        elif size < depth:
            depth -= size
        else:  # others around it end right behind it
            return run.start(1) + depth
    return at


def _trimmed(text: bytes, begin: int, end: int) -> tuple[int, int]:
    value = text[begin:end].lstrip(_SPACE)
    begin = end - len(value)
    return begin, begin + len(value.rstrip(_SPACE))
