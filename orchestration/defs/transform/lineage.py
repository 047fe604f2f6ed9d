"""From which columns a column of a model is made, read from the SQL of the models: no database is asked.

dagster-dbt can say so too, but only of compiled SQL and after a run, with a connection for each model. Here macros that give
a value stand for a constant: whatever they say, they are of no column. Macros that are a query of columns are put in.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

QUERIES = ("days_to_reconcile", "engine_deltas", "touched_events")
"""Macros that models select from."""
Origins = dict[str, list[tuple[str, str]]]
"""{column: (unique id of the model or source, its column) that it is made from}."""
Outputs = dict[str, set[tuple[str, str]]]


def lineage_of(manifest_path: Path) -> dict[str, Origins]:
    """{unique id of a model: its columns' origins}; read from a file beside the manifest if that was made for it.

    A model that cannot be read is left out: its lineage is missing, and nothing else is.
    """
    kept = manifest_path.with_name("lineage.json")
    if kept.exists() and kept.stat().st_mtime_ns >= manifest_path.stat().st_mtime_ns:
        read: dict[str, Origins] = json.loads(kept.read_text())
        return read
    found = _read(json.loads(manifest_path.read_text()))
    unfinished = kept.with_suffix(".new")  # the web server and the daemon load the code at the same moment
    unfinished.write_text(json.dumps(found))
    unfinished.rename(kept)
    return found


def _read(manifest: Mapping[str, Any]) -> dict[str, Origins]:
    # A second that only the first load after a change of the models has to wait for.
    found: dict[str, Origins] = {}
    queries = "".join(
        macro["macro_sql"]
        for macro in manifest.get("macros", {}).values()
        if macro["package_name"] == manifest["metadata"]["project_name"] and macro["name"] in QUERIES
    )
    for unique_id in _in_order(manifest):
        node = manifest["nodes"][unique_id]
        names = _upstream_names(manifest, node)
        try:
            tree = sqlglot.parse_one(_rendered(queries + node["raw_code"]), dialect="postgres")
            if not isinstance(tree, exp.Query):
                continue  # all of it is a macro
            tables = {
                name: {column: {(upstream, column)} for column in found.get(upstream) or _mentioned(tree)}
                for name, upstream in names.items()
            }
            told = Reader(tables).outputs(tree, {}, {})
        except (SqlglotError, RecursionError) as error:
            logging.getLogger(__name__).warning("no column lineage of %s: %s", unique_id, error)
            continue
        found[unique_id] = {column: sorted(origins) for column, origins in told.items()}
    return found


def _in_order(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Models, each after those that it is made from."""
    done: set[str] = set()

    def visit(unique_id: str) -> Iterator[str]:
        if unique_id in done or unique_id not in manifest["nodes"]:
            return
        done.add(unique_id)
        for upstream in manifest["nodes"][unique_id]["depends_on"]["nodes"]:
            yield from visit(upstream)
        if manifest["nodes"][unique_id]["resource_type"] == "model":
            yield unique_id

    for unique_id in manifest["nodes"]:
        if manifest["nodes"][unique_id]["resource_type"] == "model":
            yield from visit(unique_id)


def _upstream_names(manifest: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, str]:
    """{name in the rendered SQL: unique id}."""
    names = {}
    for unique_id in node["depends_on"]["nodes"]:
        of = manifest["nodes"].get(unique_id) or manifest["sources"][unique_id]
        names[f"{of['source_name']}__{of['name']}" if unique_id in manifest["sources"] else of["name"]] = unique_id
    return names


def _rendered(raw_code: str) -> str:
    class Constant(jinja2.ChainableUndefined):
        def __call__(self, *_: object, **__: object) -> str:
            return "true"

        def __str__(self) -> str:
            return "true"

    # It makes SQL that is only read, so nothing is to be escaped.
    environment = jinja2.Environment(undefined=Constant, autoescape=False)  # noqa: S701
    given = {
        "ref": lambda name: name,
        "source": lambda schema, name: f"{schema}__{name}",
        "config": lambda **_: "",
        "is_incremental": lambda: False,
        "this": "this_model",
    }
    return environment.from_string(raw_code).render(given)


def _mentioned(tree: Any) -> list[str]:
    """Columns of a source: whatever names its staging model uses, since nothing else is read there."""
    return sorted({column.name for column in tree.find_all(exp.Column) if column.name != "*"})


class Reader:
    """Follows columns through common table expressions, subqueries, laterals and unions of one model."""

    def __init__(self, tables: Mapping[str, Outputs]) -> None:
        self.tables = tables

    def outputs(self, query: Any, ctes: Mapping[str, Outputs], outer: Mapping[str, Outputs]) -> Outputs:
        """{column of the query: origins}. `outer`: sources of the queries around it, which laterals may name.

        Raises: SqlglotError: it is none, as where a macro stands for one that is not among QUERIES.
        """
        if not isinstance(query, (exp.Query, exp.Subquery)):
            raise SqlglotError(f"{query.sql()!r} stands where a query is to be")
        ctes = dict(ctes)
        for cte in query.ctes:
            ctes[cte.alias] = self.outputs(cte.this, ctes, outer)
        if isinstance(query, exp.Subquery):
            return self.outputs(query.this, ctes, outer)
        if isinstance(query, exp.SetOperation):
            left, right = (self.outputs(side, ctes, outer) for side in (query.left, query.right))
            return {name: of | other for (name, of), other in zip(left.items(), right.values(), strict=False)}
        sources = dict(outer)
        own: list[str] = []
        for part in self._parts(query):
            sources[part.alias_or_name] = self._source(part, ctes, sources)
            own.append(part.alias_or_name)
        found: Outputs = {}
        for projection in query.expressions:
            star = projection.this if isinstance(projection, exp.Column) else projection
            if isinstance(star, exp.Star):
                named = [projection.table] if isinstance(projection, exp.Column) else own
                for name in named:
                    found |= sources.get(name, {})
            else:
                found[projection.alias_or_name] = self._origins(projection, ctes, sources)
        return found

    def _parts(self, query: Any) -> Iterator[Any]:
        beginning = query.args.get("from") or query.args.get("from_")
        if beginning is not None:
            yield beginning.this
        yield from (join.this for join in query.args.get("joins") or [])
        yield from query.args.get("laterals") or []

    def _source(self, part: Any, ctes: Mapping[str, Outputs], outer: Mapping[str, Outputs]) -> Outputs:
        inner = part.this if isinstance(part, exp.Lateral) else part
        if isinstance(inner, exp.Table):
            return ctes.get(inner.name) or self.tables.get(inner.name, {})
        values = inner if isinstance(inner, exp.Values) else inner.this if isinstance(inner, exp.Subquery) else None
        names = [column.name for column in part.args["alias"].columns] if part.args.get("alias") else []
        if isinstance(values, exp.Values):
            columns = zip(*(row.expressions for row in values.expressions), strict=False)
            found = [set().union(*(self._origins(cell, ctes, outer) for cell in column)) for column in columns]
            return dict(zip(names, found, strict=False))
        if isinstance(inner, exp.Query):
            told = self.outputs(inner, ctes, outer)
            return dict(zip(names, told.values(), strict=False)) if names else told
        return dict.fromkeys(names, self._origins(inner, ctes, outer))  # a function: whatever it is given

    def _origins(self, expression: Any, ctes: Mapping[str, Outputs], sources: Mapping[str, Outputs]) -> set[tuple[str, str]]:
        if isinstance(expression, exp.Query):
            return set().union(*self.outputs(expression, ctes, sources).values())
        if isinstance(expression, exp.Column):
            if expression.table:
                return sources.get(expression.table, {}).get(expression.name, set())
            return next((of[expression.name] for of in reversed(sources.values()) if expression.name in of), set())
        return set().union(*(self._origins(each, ctes, sources) for each in expression.iter_expressions()))
