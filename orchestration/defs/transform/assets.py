"""dbt models as assets; dbt tests arrive as asset checks."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets

from orchestration.defs.transform.lineage import Origins, lineage_of

# Models that hold rows. Views are made anew only when the models change: making one waits for whoever is reading it, and
# everybody after waits behind, which is no way to spend every few seconds.
TABLE = "inferhouse/table"
COLUMN_LINEAGE = "dagster/column_lineage"
OWNERS = {"billing": "team:finance", "findings": "team:finance"}
OWNER = "team:data"
# A table that has not been built for this long is late: the sensor builds every 15 minutes even when nothing has come.
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=2), warn_window=timedelta(minutes=30))


class Translator(DagsterDbtTranslator):
    """Groups by area; an owner and the lineage of its columns for every model; freshness for every table."""

    def __init__(self, lineage: Mapping[str, Origins]) -> None:
        super().__init__()
        self.lineage = lineage

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        layer, *area = node["fqn"][1:-1]
        spec = spec.replace_attributes(group_name=layer, owners=[OWNERS.get(area[0] if area else "", OWNER)])
        origins = self.lineage.get(unique_id, {})
        columns = {name: [self._column(manifest, *each) for each in of] for name, of in origins.items()}
        spec = spec.merge_attributes(metadata={COLUMN_LINEAGE: dg.TableColumnLineage(deps_by_column=columns)})
        if node["config"].get("materialized") == "incremental":
            spec = spec.merge_attributes(tags={TABLE: ""}).replace_attributes(freshness_policy=FRESH)
        return spec

    def _column(self, manifest: Mapping[str, Any], unique_id: str, column: str) -> dg.TableColumnDep:
        return dg.TableColumnDep(asset_key=self.get_asset_key(self.get_resource_props(manifest, unique_id)), column_name=column)


def dbt_models(project: DbtProject) -> dg.AssetsDefinition:
    """Every model of the project but those of service."""
    return _models(project, name="models", select="fqn:*", exclude="tag:service", folder="run")


def dbt_service_models(project: DbtProject) -> dg.AssetsDefinition:
    """The models of service: built beside the others, which nobody wants to wait for them."""
    return _models(project, name="service_models", select="tag:service", exclude="", folder="service-run")


def _models(project: DbtProject, *, name: str, select: str, exclude: str, folder: str) -> dg.AssetsDefinition:
    @dbt_assets(
        manifest=project.manifest_path,
        project=project,
        dagster_dbt_translator=Translator(lineage_of(project.manifest_path)),
        name=name,
        select=select,
        exclude=exclude,
    )
    def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        # One folder for all runs: a folder a run would never be removed. Runs of one set of models are one at a time.
        yield from dbt.cli(["build"], context=context, target_path=project.target_path / folder).stream()

    return models


def tables_of(models: dg.AssetsDefinition) -> list[dg.AssetKey]:
    """The models that hold rows."""
    return [spec.key for spec in models.specs if TABLE in spec.tags]
