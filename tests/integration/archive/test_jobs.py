"""The archive's assets and jobs in real Dagster runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from orchestration.archive import catalogue
from orchestration.defs.archive.jobs import archive_definitions
from orchestration.resources import Warehouse
from orchestration.settings import OrchestrationSettings
from tests.dbt_runs import Dbt
from tests.factories import START, copy_events
from tests.integration.archive.conftest import DAY, History, later
from warehouse.base.errors import SettingsError


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def defs(role_url: Callable[..., str], tmp_path: Path) -> dg.Definitions:
    own = dg.Definitions(resources={"warehouse": Warehouse(database_url=role_url("inferhouse_transform"))})
    return dg.Definitions.merge(own, archive_definitions(f"file://{tmp_path}/archive", "{}", 60))


def _due(defs: dg.Definitions, instance: dg.DagsterInstance, warehouse_url: str) -> list[str | None]:
    schedule = defs.resolve_schedule_def("archive_complete_days")
    context = dg.build_schedule_context(
        instance=instance,
        resources={"warehouse": Warehouse(database_url=warehouse_url)},
        repository_def=defs.get_repository_def(),
    )
    return [request.partition_key for request in schedule.evaluate_tick(context).run_requests or []]


def test_days_are_chained_archived_dropped_and_brought_back_by_the_jobs(
    db: psycopg.Connection, history: History, dbt: Dbt, defs: dg.Definitions, instance: dg.DagsterInstance,
    transform: psycopg.Connection, role_url: Callable[..., str],
) -> None:  # fmt: skip
    url = role_url("inferhouse_transform")
    days = [later(DAY, number) for number in range(4)]
    assert _due(defs, instance, url) == [], "a day is archived when the chain has it"
    assert defs.resolve_job_def("chain_days").execute_in_process(instance=instance).success
    assert _due(defs, instance, url) == [day.isoformat() for day in days]
    archive = defs.resolve_job_def("archive_days")
    for day in days:
        assert archive.execute_in_process(instance=instance, partition_key=day.isoformat()).success
    assert _due(defs, instance, url) == []
    drop = {"ops": {"drop_old_days": {"config": {"days_kept": 60}}}}
    assert defs.resolve_job_def("drop_archived_days").execute_in_process(instance=instance, run_config=drop).success
    assert {day for day, file in catalogue.archived_days(transform).items() if file.dropped_at} == set(days)
    copy_events(db, [history.row(1, START)])
    again = defs.resolve_job_def("drop_archived_days").execute_in_process(instance=instance, run_config=drop)
    assert again.success, "a day that may not go yet is no failure"
    assert {day for day, file in catalogue.archived_days(transform).items() if file.dropped_at is None} == {DAY}


def test_a_run_that_archives_a_day_leaves_the_files_of_other_days_to_the_daily_check(
    history: History, dbt: Dbt, defs: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert defs.resolve_job_def("chain_days").execute_in_process(instance=instance).success
    archived = defs.resolve_job_def("archive_days").execute_in_process(instance=instance, partition_key=DAY.isoformat())
    assert archived.success
    assert archived.get_asset_check_evaluations() == []
    checked = defs.resolve_job_def("check_archive").execute_in_process(instance=instance)
    assert [found.passed for found in checked.get_asset_check_evaluations()] == [True]


def test_days_of_imported_years_are_archived_too(
    db: psycopg.Connection, defs: dg.Definitions, instance: dg.DagsterInstance, role_url: Callable[..., str]
) -> None:
    db.execute("select archive.add_daily_digest('2016-02-29', 1, %s, '3')", [bytes(32)])
    db.commit()
    assert _due(defs, instance, role_url("inferhouse_transform")) == ["2016-02-29"]


def test_young_days_cannot_be_set_to_be_dropped() -> None:
    env = {"ORCHESTRATION_DATABASE_URL": "x", "ORCHESTRATION_DAGSTER_DATABASE_URL": "x", "ORCHESTRATION_RAW_DAYS_KEPT": "30"}
    with pytest.raises(SettingsError, match="at least 45"):
        OrchestrationSettings.from_env(env)
