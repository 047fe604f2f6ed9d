"""Marts that are behind are told of once, with the reason; those on time are not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest

from orchestration.defs.findings.lateness import BUILT_WITHIN, ROWS_WITHIN, State, lateness_sensor
from orchestration.resources import Warehouse
from tests.dbt_runs import Dbt
from tests.factories import START, add_model, add_tenant, copy_events, usage_event

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("built", "finished", "waiting", "late"),
    [
        (BUILT_WITHIN, BUILT_WITHIN, None, False),
        (BUILT_WITHIN + timedelta(seconds=1), timedelta(0), None, True),
        (timedelta(0), BUILT_WITHIN + timedelta(seconds=1), None, True),  # a run that did not come to its end
        (timedelta(0), timedelta(0), ROWS_WITHIN, False),
        (timedelta(0), timedelta(0), ROWS_WITHIN + timedelta(seconds=1), True),
    ],
)
def test_what_is_late(built: timedelta, finished: timedelta, waiting: timedelta | None, late: bool) -> None:
    state = State(NOW - built, NOW - finished, None if waiting is None else NOW - waiting)
    assert (state.lateness(NOW) is not None) is late


def test_late_marts_are_told_of_once_and_why(db: psycopg.Connection, role_url: Callable[..., str], dbt: Dbt) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    copy_events(db, [usage_event(tenant, 1, START, model_id=model[0], price_id=model[1], cost_picousd=0)])
    warehouse = Warehouse(database_url=role_url("inferhouse_transform"))

    @dg.op
    def fails() -> None:
        raise RuntimeError("the disk is full")

    with dg.DagsterInstance.ephemeral() as instance:
        dg.JobDefinition(
            graph_def=dg.GraphDefinition(name="refresh_marts", node_defs=[fails]), name="refresh_marts"
        ).execute_in_process(instance=instance, raise_on_error=False)

        def tick() -> str:
            with dg.build_sensor_context(instance=instance, resources={"warehouse": warehouse}) as context:
                return str(lateness_sensor(tenant.organization).evaluate_tick(context).skip_message)

        assert tick() == "the marts have never been built"
        dbt.run("run", "--select", "+completeness")
        assert tick() == "the marts are on time"
        db.execute("update intermediate.int_usage_horizon set taken_at = taken_at - interval '1 hour'")
        db.commit()
        said = tick()
        assert said.startswith("the marts were last built at ")
        assert said.endswith("is FAILURE: RuntimeError: the disk is full")
        tick()
    events = db.execute("select event_type, data ->> 'why' from control.outbox_events").fetchall()
    assert [event[0] for event in events] == ["marts.late"]
    assert "the disk is full" in events[0][1]
