"""What the command prints: tables for people, JSON and CSV for programs. Only results go to stdout."""

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

SECRETS = ("value", "api_key", "password", "token", "url", "secret", "uri", "recovery_codes")
_INSTANTS = ("_at", "_from", "_until", "_time")
_UNTOLD = frozenset({"object"})
_FIRST_INSTANT = 86_400 * 365  # a smaller number that is called so is a count, not an instant
WIDTH_OF_PIPES = 2000
_C1 = re.compile("[\x7f-\x9f]")
_COMMANDS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all of them but the tab and the ends of lines
_ONCE = "Shown once: keep it now."


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def rows(found: Iterable[Mapping[str, Any]], columns: Sequence[str], form: Format) -> None:
    """A list."""
    listed = list(found)
    if form is Format.JSON:
        _json(listed)
        return
    names = list(columns) or _columns(listed)
    if form is Format.CSV:
        _csv(names if columns else _columns(listed), listed)
    elif not listed:
        note("Nothing found.")
    else:
        _table(names, listed)


def one(found: Mapping[str, Any], form: Format) -> None:
    """A single thing, with a note where it has a secret that is shown once."""
    if form is Format.JSON:
        _json(found)
    elif form is Format.CSV:
        _csv([name for name in found if name not in _UNTOLD], [found])
    else:
        _pairs(found)
    if any(found.get(name) for name in SECRETS):
        note(_ONCE)


def note(text: str) -> None:
    """Something for the person, not a result: to stderr."""
    sys.stderr.write(f"{text}\n")


def line(text_: str) -> None:
    """A line of a result."""
    sys.stdout.write(_line(text_) + "\n")


def ask(question: str) -> str:
    """An answer that is typed, on one line."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def instant(seconds: float) -> str:
    """Unix seconds as people read them, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"


def text(name: str, value: Any) -> str:
    """A value in a table or a CSV file."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, int) and name.endswith(_INSTANTS) and value > _FIRST_INSTANT:
        return instant(value)
    if isinstance(value, list):
        return " ".join(text("", part) for part in value)
    if isinstance(value, Mapping):
        return _short(value)
    return str(value)


def _short(value: Mapping[str, Any]) -> str:
    """Of a nested thing the part that people know it by."""
    for name in ("email", "name", "id"):
        if isinstance(value.get(name), str):
            return str(value[name])
    inner = [part for part in value.values() if isinstance(part, Mapping)]
    return _short(inner[0]) if inner else json.dumps(value, sort_keys=True)


def _columns(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in found for name in row if name not in _UNTOLD))


def _json(value: Any) -> None:
    said = json.dumps(value, indent=2, ensure_ascii=False, default=_exact)
    # Below a space JSON has none; of those behind the letters (C1) terminals take some for commands.
    sys.stdout.write(_C1.sub(lambda found: f"\\u{ord(found[0]):04x}", said) + "\n")


def _exact(value: Any) -> str:
    """Money, as text: a JSON number would become a float again where it is read."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(type(value).__name__)


def _csv(names: Sequence[str], found: Iterable[Mapping[str, Any]]) -> None:
    if not names:  # a report of nothing does not know its columns
        return
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_safe(text(name, row.get(name))) for name in names] for row in found)
    sys.stdout.write(written.getvalue())


def _safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, and no terminal for commands. Source: OWASP, CSV Injection."""
    cell = _COMMANDS.sub(" ", cell)
    return f"'{cell}" if cell.startswith(("=", "@", "\t", "\r")) or (cell[:1] in "+-" and not _is_number(cell)) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == ""
    return True


def _table(names: Sequence[str], found: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that JSON and CSV do not wait for
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        numbers = all(isinstance(row.get(name), int) and not name.endswith(_INSTANTS) for row in found)
        table.add_column(name.replace("_", " "), justify="right" if numbers else "left", overflow="fold")
    for row in found:
        table.add_row(*(_plain(text(name, row.get(name))) for name in names))
    # Into a pipe a row is a line, however long.
    Console(width=None if sys.stdout.isatty() else WIDTH_OF_PIPES).print(table)


def _pairs(found: Mapping[str, Any]) -> None:
    width = max((len(name) for name in found), default=0)
    for name, value in found.items():
        if name not in _UNTOLD:
            sys.stdout.write(f"{name.replace('_', ' '):{width}}  {_line(text(name, value))}".rstrip() + "\n")


def _line(cell: str) -> str:
    """Without characters that move a terminal's cursor."""
    return "".join(character if character.isprintable() else " " for character in cell)


def _plain(cell: str) -> Any:
    from rich.text import Text  # noqa: PLC0415 - as above

    return Text(_line(cell))  # a name like [red] is a name, and no markup
