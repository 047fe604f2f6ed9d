"""Every setting and every bound is written down where people look for it, with its true default; nothing else is."""

import ast
import re
from types import UnionType
from typing import get_args

from pydantic.fields import FieldInfo

from deploy.local.preflight import settings_classes
from deploy.local.settings import LocalSettings
from tests.architecture.documents import listed
from tests.architecture.tree import ROOT, modules
from warehouse.base.settings import Settings

ELSEWHERE = {"SeedInputSettings": "one command of docker-compose.yml, which sets all of it (deploy/images/new_env.py)"}
CLASSES: list[type[Settings]] = [LocalSettings, *settings_classes().values()]
FIELDS: dict[str, FieldInfo] = {
    f"{settings.PREFIX}{name.upper()}": field for settings in CLASSES for name, field in settings.model_fields.items()
}
_NUMBERS = (int, float)
_VARIABLE = re.compile(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)
_BOUND = re.compile(r"[A-Z][A-Z0-9_]*_MAX(_[A-Z]+)?")
IMITATION = "engines/simulated/"  # stands for a real engine in tests and demonstrations; its bounds protect nobody


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required() or value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _is_bound(field: FieldInfo) -> bool:
    types = get_args(field.annotation) if isinstance(field.annotation, UnionType) else (field.annotation,)
    return any(kind in _NUMBERS for kind in types)


def test_every_settings_class_is_looked_at() -> None:
    found = {
        node.name
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", None) == "Settings" for base in node.bases)
    }
    assert found == {settings.__name__ for settings in CLASSES} | set(ELSEWHERE)


def test_env_example_has_every_setting_with_its_default_and_nothing_else() -> None:
    written = dict(_VARIABLE.findall((ROOT / ".env.example").read_text()))
    assert sorted(written) == sorted(FIELDS)
    secret = {name for name, field in FIELDS.items() if "Secret" in str(field.annotation)}
    assert {name: written[name] for name in secret if written[name]} == {}
    wrong = {name: written[name] for name in FIELDS if name not in secret and written[name] != _default(FIELDS[name])}
    assert {name: (value, _default(FIELDS[name])) for name, value in wrong.items()} == {}


def test_limits_lists_every_setting_that_is_a_bound_with_its_default() -> None:
    bounds = {name for name, field in FIELDS.items() if _is_bound(field) and not name.endswith("_PORT")}
    simulated = {name for name in bounds if name.startswith("SIMULATED_")}
    written = {name: row for name, row in listed("limits.md").items() if "." not in name}
    assert sorted(written) == sorted(bounds - simulated)
    for name, row in written.items():
        default = row.split("|")[0].strip().split(" ")[0].replace(",", "")
        assert default == _default(FIELDS[name]), f"{name} is {_default(FIELDS[name])}"


def test_limits_lists_every_fixed_bound() -> None:
    """Constants named ..._MAX at the top of a module: written as `module.NAME`."""
    found = {
        f"{path.removesuffix('.py').replace('/', '.')}.{target.id}"
        for path, tree in modules("warehouse", "router", "engines", "orchestration", "dashboards")
        if not path.startswith(IMITATION)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and _BOUND.fullmatch(target.id)
    }
    assert sorted(name for name in listed("limits.md") if "." in name) == sorted(found)
