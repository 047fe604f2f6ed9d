"""What a mart's table is beside what its contract says; dbt itself compares names of types and not their precision."""

import json

import psycopg

from tests.dbt_runs import Dbt

COLUMNS = """
select mart.relname, field.attname, format_type(field.atttypid, field.atttypmod), field.attnotnull
from pg_attribute as field
inner join pg_class as mart on mart.oid = field.attrelid
where mart.relnamespace = 'marts'::regnamespace and mart.relkind = 'r' and field.attnum > 0 and not field.attisdropped
"""


def test_each_column_of_a_mart_has_the_type_and_the_constraint_of_its_contract(db: psycopg.Connection, dbt: Dbt) -> None:
    dbt.run("run")
    nodes = json.loads((dbt.target / "manifest.json").read_text())["nodes"].values()
    agreed = {
        (node["name"], name): (column["data_type"], any(each["type"] == "not_null" for each in column["constraints"]))
        for node in nodes
        if node["resource_type"] == "model" and node["config"]["contract"]["enforced"]
        for name, column in node["columns"].items()
    }
    built = {
        (mart, name): (kind.replace("timestamp with time zone", "timestamptz"), required)
        for mart, name, kind, required in db.execute(COLUMNS)
    }
    of_contracts = {key: found for key, found in built.items() if key in agreed}
    assert len(of_contracts) > 150
    assert of_contracts == {key: agreed[key] for key in of_contracts}
