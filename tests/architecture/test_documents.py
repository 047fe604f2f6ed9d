"""What the documents point at exists."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, files, named

DOCUMENTS = files("*.md")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_PATH = re.compile(r"`((?:tests|warehouse|router|engines|deploy|dbt|orchestration|dashboards|docs|requirements)/[\w./*{},-]*)`")
_TARGET = re.compile(r"`make ([a-z-]+)")


def _expanded(pattern: str) -> list[str]:
    """`a/{b,c}.md` -> both."""
    match = re.fullmatch(r"(.*)\{(.*)\}(.*)", pattern)
    return [match[1] + part + match[3] for part in match[2].split(",")] if match else [pattern]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_a_document_points_at_what_is_there(document: Path) -> None:
    text = document.read_text()
    links = [target for target in _LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in links if not (document.parent / target).exists()] == []
    paths = [part for path in _PATH.findall(text) for part in _expanded(path.rstrip("/"))]
    assert [path for path in paths if not list(ROOT.glob(path))] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_a_document_names_targets_of_the_makefile(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(_TARGET.findall(document.read_text())) <= targets


def test_decisions_are_numbered_once_and_say_what_enforces_them() -> None:
    decisions = files("docs/decisions/*.md")
    numbers = [path.name[:4] for path in decisions]
    assert len(set(numbers)) == len(numbers)
    for path in decisions:
        text = path.read_text()
        assert text.startswith(f"# {path.name[:4]}: "), path.name
        assert [part for part in ("Context", "Decision", "Consequences", "Enforced by") if part not in text] == [], path.name


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
