"""Imports point down, and the router stays lean, in what is written and in what is loaded."""

import subprocess
import sys

import pytest

from tests.architecture.tree import ROOT

HEAVY = (
    "dagster", "dbt", "streamlit", "plotly", "pandas", "polars", "duckdb", "great_expectations", "vllm", "torch", "pyarrow",
    "sqlalchemy", "httpx",
)  # fmt: skip


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["router.app", "router.__main__"])
def test_a_fresh_router_has_loaded_nothing_heavy(module: str) -> None:
    """Static analysis does not see imports inside of functions and of what we depend on."""
    program = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_what_every_run_of_dagster_loads_is_without_data_packages() -> None:
    """Each run is a process that waits for these imports; those that need a package import it inside."""
    slow = ("polars", "pyarrow", "duckdb", "great_expectations", "pandas", "numpy", "fsspec")
    program = f"import sys, orchestration.assembly; print(*(name for name in {slow!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", ["warehouse.base.settings", "warehouse.identity.keys", "engines.launch", "engines.catalog"])
def test_what_is_pure_loads_no_driver(module: str) -> None:
    program = f"import sys, {module}; print(*(name for name in ('psycopg', 'redis', 'fastapi') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
