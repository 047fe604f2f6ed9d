"""What is in the repository works on another machine, and gets its packages from where that machine gets them."""

import re
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, files, named

# Written so that this file does not contain what it looks for.
REGISTRIES = re.compile(
    r"(deb|security)[.]debian[.]org|pypi[.]org|files[.]pythonhosted|registry[.]npmjs|download[.]pytorch[.]org|proxy[.]golang[.]org"
)
LOCKS = files("requirements/*.txt")
PATHS_OF_A_MACHINE = re.compile(rf"{re.escape(str(ROOT))}(?![\w-])|(?<![\w./-])/(root|home/[a-z]\w*)/\w")


def _lines(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{named(path)}: {line.strip()}" for line in text.splitlines() if pattern.search(line)]
    return found


def test_no_file_names_a_package_registry() -> None:
    assert _lines(REGISTRIES) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert _lines(PATHS_OF_A_MACHINE) == []


def test_there_are_locks() -> None:
    assert {path.name for path in LOCKS} >= {"app.txt", "dev.txt", "engine-cpu.txt"}


@pytest.mark.parametrize("lock", [path for path in LOCKS if "override" not in path.name], ids=lambda path: path.name)
def test_every_locked_package_has_a_hash_and_no_address(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    assert "://" not in text
    packages = [line for line in text.splitlines() if line.strip()]
    assert packages
    assert [line for line in packages if line.startswith("-")] == []
    assert [line.split()[0] for line in packages if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []
