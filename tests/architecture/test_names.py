"""Three traps of the folder names: each was walked into once, and nothing but a name gives it away."""

import sys
from importlib.metadata import packages_distributions

from tests.architecture.tree import FOLDERS, ROOT, files, named


def test_dbt_is_sql_and_yaml_and_hides_no_package() -> None:
    """`dbt/__init__.py`, or a `dbt.py` on the path, would take dbt-core's place."""
    assert [named(path) for path in files("dbt/*.py")] == []
    assert [named(path) for path in files("*.py") if path.stem == "dbt"] == []


def test_no_folder_of_tests_is_a_package() -> None:
    """`tests/unit/router/__init__.py` would take the place of `router`."""
    assert [named(path) for path in files("tests/*") if path.name == "__init__.py"] == []


def test_nothing_in_dashboards_is_named_like_a_package() -> None:
    """Streamlit puts dashboards/ first on the path: a `dashboards/polars.py` would take the place of Polars."""
    taken = sys.stdlib_module_names | set(packages_distributions())
    inside = {path.relative_to(ROOT / "dashboards").parts[0].removesuffix(".py") for path in files("dashboards/*.py")}
    assert inside, "dashboards/ is empty"
    assert inside & taken == set()


def test_no_folder_of_ours_is_named_like_a_package() -> None:
    """The root is on the path of every `python -m`: it holds folders of ours, and no module."""
    taken = sys.stdlib_module_names | set(packages_distributions())
    assert set(FOLDERS) & taken == set()
    assert [named(path) for path in files("*.py") if path.parent == ROOT] == []
