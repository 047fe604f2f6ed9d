"""Every named query fits the migrated schema."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.dbt_runs import Dbt
from tests.services import ROOT
from warehouse.access.queries import parse_queries

FOLDERS = ("warehouse", "router", "engines", "orchestration", "dashboards")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.sql")) if path.with_suffix(".py").is_file()]
ON_MARTS = [path for path in FILES if not path.is_relative_to(ROOT / "warehouse") or path.stem.endswith("_marts")]
ON_TABLES = [path for path in FILES if path not in ON_MARTS]
# Names of tables and columns that psycopg puts in: such a query is no SQL before, and is run by the tests of its program.
_PART = re.compile(r"\{\w+\}")
_PARAMETER = re.compile(r"%\((\w+)\)s")


def _numbered(query: str) -> str:
    """The query with $1, $2 … in place of named parameters, as PREPARE has them."""
    names = list(dict.fromkeys(_PARAMETER.findall(query)))
    return _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", query).replace("%%", "%")


def _prepare_all(db: psycopg.Connection, file: Path) -> None:
    db.execute("deallocate all", prepare=False)  # another file may have a query of the same name
    for name, query in parse_queries(file.read_text()).items():
        text = query.decode()
        if _PART.search(text):
            continue
        if text.startswith("copy"):  # which cannot be prepared, nor can those below: they are run, with nothing in them
            with db.cursor().copy(query, dict.fromkeys(_PARAMETER.findall(text)) or None) as copy:
                while "to stdout" in text and copy.read():
                    pass
        elif text.startswith(("create", "drop", "listen")):
            db.execute(query)
        else:
            db.execute(f"prepare {name} as {_numbered(text)}".encode())


@pytest.mark.parametrize("file", ON_TABLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_named_query_is_prepared(file: Path, db: psycopg.Connection) -> None:
    _prepare_all(db, file)


def test_every_named_query_on_marts_is_prepared(db: psycopg.Connection, role_url: Callable[..., str], dbt: Dbt) -> None:
    dbt.run("run")
    for file in ON_MARTS:
        _prepare_all(db, file)


def test_there_are_query_files() -> None:
    assert {path.stem for path in ON_TABLES} >= {"api_keys", "catalogue", "people", "usage_events", "seed"}
    assert {path.stem for path in ON_MARTS} >= {"resources", "loaders", "usage_marts"}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_named_query_is_used(file: Path) -> None:
    folder = ROOT / file.relative_to(ROOT).parts[0]
    source = "".join(path.read_text() for path in folder.rglob("*.py"))
    assert [name for name in parse_queries(file.read_text()) if f'"{name}"' not in source] == []


@pytest.mark.parametrize("text", ["select 1", "-- name: a\nselect 1\n-- name: a\nselect 2", "select 0\n-- name: a\nselect 1"])
def test_a_file_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="each name once"):
        parse_queries(text)
