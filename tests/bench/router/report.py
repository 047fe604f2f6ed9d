"""The tables: printed, and kept between two marks of a document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "bench-router"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: a title, one table, and what holds for all of it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure to reach."""

    name: str
    measured: str
    wanted: str
    reached: bool


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown whose columns line up; the first to the left, the others to the right."""
    rows = [tuple(columns), *map(tuple, rows)]
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"rows of other lengths than {len(columns)}")
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    rule = "|" + "|".join("-" * (width + 2) if not at else "-" * (width + 1) + ":" for at, width in enumerate(widths)) + "|"
    return "\n".join([line(rows[0]), rule, *(line(row) for row in rows[1:])])


def written(
    machine: str, command: str, date: str, sections: Sequence[Section], bars: Sequence[Bar], remarks: Sequence[str] = ()
) -> str:
    """The whole report."""
    blocks = [f"{date}, `{command}`: {machine}."]
    blocks += [f"{remark}." for remark in remarks]
    for section in sections:
        blocks += [f"### {section.title}", table(section.columns, section.rows), *section.notes]
    if bars:
        judged = [(bar.name, bar.measured, bar.wanted, "yes" if bar.reached else "no") for bar in bars]
        blocks += ["### Figures to reach", table(("figure", "measured", "wanted", "reached"), judged)]
    return "\n\n".join(blocks) + "\n"


def marks(name: str = MARK) -> tuple[str, str]:
    """Between which a report of that name lies."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def put_between_marks(document: Path, text: str, name: str = MARK) -> None:
    """Replace what is between the marks. Raises: ValueError: the document does not have both, once each and in order."""
    whole = document.read_text()
    begin, end = marks(name)
    if whole.count(begin) != 1 or whole.count(end) != 1 or whole.index(begin) > whole.index(end):
        raise ValueError(f"{document} needs `{begin}` and, after it, `{end}`")
    before, _, rest = whole.partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{text}{end}{after}")
