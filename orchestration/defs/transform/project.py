"""The dbt project as Dagster sees it: a manifest that is as new as the models."""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from dagster_dbt import DbtCliResource, DbtProject
from packaging.version import Version

from orchestration.settings import DBT_PROJECT, OrchestrationSettings

DBT = Path(sys.executable).with_name("dbt")


class QuickDbt(DbtCliResource):
    """dbt without what dagster-dbt does before each run and we do not use: 5 s of the 27 s from a row to the marts.

    It starts `dbt --version`, and it loads a database adapter to fetch row counts and columns with. Both are private parts of
    dagster-dbt, which the lock holds still; if they go, runs are slower and still right.
    """

    @property
    def _cli_version(self) -> Version:  # type: ignore[override]
        return Version(version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:  # type: ignore[override]  # noqa: ARG002
        return None


def dbt_project(settings: OrchestrationSettings) -> DbtProject:
    """The project, with its manifest parsed if the models have changed since.

    Raises: RuntimeError: the project cannot be parsed; says what dbt said.
    """
    target = settings.dbt_target_dir
    target.mkdir(parents=True, exist_ok=True)
    stamp, digest = target / "manifest.sha256", version_of_models()
    with (target / "manifest.lock").open("w") as lock:
        # The web server and the daemon load the code at the same moment.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / "manifest.json").exists() or not stamp.exists() or stamp.read_text() != digest:
            _parse(settings, target)
            stamp.write_text(digest)
    return DbtProject(project_dir=DBT_PROJECT, target_path=target, profiles_dir=DBT_PROJECT)


def version_of_models() -> str:
    """A digest of all SQL and YAML of the project: another one means other models."""
    digest = hashlib.sha256()
    for path in sorted(DBT_PROJECT.rglob("*")):
        if path.suffix in {".sql", ".yml"} and "target" not in path.parts:
            digest.update(str(path.relative_to(DBT_PROJECT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _parse(settings: OrchestrationSettings, target: Path) -> None:
    places = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--target-path", str(target)]
    done = subprocess.run(
        [str(DBT), "--quiet", "parse", *places],
        env={**os.environ, **settings.dbt_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"dbt cannot parse the project:\n{done.stdout}{done.stderr}")
