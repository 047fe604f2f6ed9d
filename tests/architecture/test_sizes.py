"""A function fits a screen, a module is one noun. The bounds only go down; exceptions are listed with their reason."""

import ast

from tests.architecture.tree import FOLDERS, files, modules, named

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 600
EXCEPTIONS: dict[str, str] = {}
"""`path` or `path::function` -> why it may be longer."""


def _too_long() -> dict[str, int]:
    """Lines of every function and module above its bound."""
    functions = {
        f"{path}::{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in modules(*FOLDERS, "tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    whole = {named(path): len(path.read_text().splitlines()) for path in files("*.py")}
    return {name: lines for name, lines in functions.items() if lines > FUNCTION_LINES_MAX} | {
        name: lines for name, lines in whole.items() if lines > MODULE_LINES_MAX
    }


def test_functions_and_modules_keep_to_their_size() -> None:
    """Longer than that without a reason, or with a reason that is no longer needed."""
    assert set(_too_long()) == set(EXCEPTIONS)
