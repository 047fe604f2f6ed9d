"""Columns are followed through what the models are written in."""

import pytest
import sqlglot
from sqlglot.errors import SqlglotError

from orchestration.defs.transform.lineage import Reader

TABLES = {
    "usage": {name: {("usage", name)} for name in ("org_id", "at", "tokens", "cost")},
    "names": {name: {("names", name)} for name in ("org_id", "name")},
}


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("select tokens as t, 1 as one from usage", {"t": {"usage.tokens"}, "one": set()}),
        ("select u.*, n.name from usage as u join names as n on true",
         {name: {f"usage.{name}"} for name in ("org_id", "at", "tokens", "cost")} | {"name": {"names.name"}}),
        ("with a as (select tokens + cost as x from usage), b as (select * from a) select sum(x) as y from b",
         {"y": {"usage.tokens", "usage.cost"}}),
        ("select s.* from names as n cross join lateral (select sum(u.cost) as c from usage as u where u.org_id = n.org_id) as s",
         {"c": {"usage.cost"}}),
        ("select v.what, v.much from usage as u cross join lateral (values ('t', u.tokens), ('c', u.cost)) as v (what, much)",
         {"what": set(), "much": {"usage.tokens", "usage.cost"}}),
        ("select tokens as x from usage union all select cost from usage", {"x": {"usage.tokens", "usage.cost"}}),
        ("select (select max(n.name) from names as n where n.org_id = u.org_id) as top from usage as u", {"top": {"names.name"}}),
        ("select max(tokens) filter (where at > now()) over (partition by org_id) as m from usage",
         {"m": {"usage.tokens", "usage.at", "usage.org_id"}}),
    ],
)  # fmt: skip
def test_columns_lead_to_those_they_are_made_of(sql: str, columns: dict[str, set[str]]) -> None:
    told = Reader(TABLES).outputs(sqlglot.parse_one(sql, dialect="postgres"), {}, {})
    assert {name: {".".join(each) for each in of} for name, of in told.items()} == columns


def test_what_stands_for_a_query_and_is_none_is_told() -> None:
    with pytest.raises(SqlglotError, match="'TRUE' stands where a query is to be"):
        Reader(TABLES).outputs(sqlglot.parse_one("with a as (true) select * from a", dialect="postgres"), {}, {})
