"""The files of this repository, as git lists them."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("warehouse", "engines", "router", "orchestration", "dashboards", "deploy")


def files(*patterns: str) -> list[Path]:
    """Files that are tracked, or new and not ignored; below ROOT, in order."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [path for name in sorted(set(listed.split("\0")) - {""}) if (path := ROOT / name).is_file()]


def named(path: Path) -> str:
    """The path as people write it."""
    return path.relative_to(ROOT).as_posix()


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """(path, syntax tree) of the Python files of folders; of all folders of the product when none is named."""
    for path in files(*(f"{folder}/*.py" for folder in folders or FOLDERS)):
        yield named(path), ast.parse(path.read_text())
