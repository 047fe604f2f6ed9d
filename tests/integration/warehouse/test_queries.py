"""Every named query fits the migrated schema."""

import re
from pathlib import Path

import psycopg
import pytest

from tests.services import ROOT
from warehouse.access.queries import parse_queries

FILES = [path for path in sorted((ROOT / "warehouse").rglob("*.sql")) if path.with_suffix(".py").is_file()]
_PARAMETER = re.compile(r"%\((\w+)\)s")


def _numbered(query: str) -> str:
    """The query with $1, $2 … in place of named parameters, as PREPARE has them."""
    names = list(dict.fromkeys(_PARAMETER.findall(query)))
    return _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", query).replace("%%", "%")


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_named_query_is_prepared(file: Path, db: psycopg.Connection) -> None:
    for name, query in parse_queries(file.read_text()).items():
        text = query.decode()
        if text.startswith("copy"):  # what COPY and CREATE say cannot be prepared: they are run, with nothing in them
            with db.cursor().copy(query):
                pass
        elif text.startswith("create"):
            db.execute(query)
        else:
            db.execute(f"prepare {name} as {_numbered(text)}".encode())


def test_there_are_query_files() -> None:
    assert {path.stem for path in FILES} >= {"api_keys", "catalogue", "people", "usage_events", "seed"}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_named_query_is_used(file: Path) -> None:
    module = file.with_suffix(".py").read_text()
    assert [name for name in parse_queries(file.read_text()) if f'"{name}"' not in module] == []


@pytest.mark.parametrize("text", ["select 1", "-- name: a\nselect 1\n-- name: a\nselect 2", "select 0\n-- name: a\nselect 1"])
def test_a_file_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="each name once"):
        parse_queries(text)
