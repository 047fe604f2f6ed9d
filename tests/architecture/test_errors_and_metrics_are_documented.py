"""Every error code and every metric is explained, and nothing is explained that is not there."""

import ast

from router.management.webhooks import EVENT_TYPES
from tests.architecture.documents import listed
from tests.architecture.tree import files, modules

IMITATION = "engines/simulated/"  # says what vLLM says


def _codes() -> set[str]:
    """`code` of every class: `code = "x"`, or `status, code, type = 404, "x", …`."""
    codes = set()
    for path, tree in modules("warehouse", "router", "engines", "deploy", "orchestration", "dashboards"):
        if path.startswith(IMITATION):
            continue
        for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for node in owner.body:
                codes |= {value for name, value in _assigned(node) if name == "code"}
    return codes


def _assigned(node: ast.stmt) -> list[tuple[str, str]]:
    """(name, text) of what a statement assigns."""
    targets: list[ast.expr]
    values: list[ast.expr | None]
    if isinstance(node, ast.AnnAssign):
        targets, values = [node.target], [node.value]
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
        targets, values = list(node.targets[0].elts), list(node.value.elts)
    elif isinstance(node, ast.Assign):
        targets, values = list(node.targets), [node.value]
    else:
        return []
    return [
        (target.id, value.value)
        for target, value in zip(targets, values, strict=True)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str)
    ]


def _metrics() -> dict[str, list[str]]:
    """{name as Prometheus shows it: labels} of the families that the router makes."""
    found = {}
    for _, tree in modules("router", "orchestration", "dashboards"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("MetricFamily"):
                name = ast.literal_eval(node.args[0])
                labels = [ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg == "labels"]
                found[f"{name}_total" if node.func.id.startswith("Counter") else name] = labels[0] if labels else []
    return found


def test_every_error_code_is_explained() -> None:
    written = listed("errors.md", below="Answers") | listed("errors.md", below="Commands")
    assert sorted(name for name in written if not name.startswith("http_")) == sorted(_codes())


def test_codes_that_only_rows_have_are_in_the_router() -> None:
    source = "".join(path.read_text() for path in files("router/*.py"))
    for code in listed("errors.md", below="Only in rows"):
        assert code.partition("<")[0] in source, code


def test_every_metric_is_explained_with_its_labels() -> None:
    written = listed("metrics.md")
    metrics = _metrics()
    assert sorted(written) == sorted(metrics)
    for name, labels in metrics.items():
        assert [label for label in labels if f"`{label}`" not in written[name]] == [], name


def test_webhooks_know_the_events_that_are_documented() -> None:
    assert tuple(sorted(listed("alerts.md", below="Events"))) == EVENT_TYPES
